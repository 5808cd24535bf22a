"""The commands about alarms: what is listed, what is said, and what the rules would have done in the past."""

import json
import time
from dataclasses import replace

import pytest

from opsconsole.core.fleet import Model
from opsconsole.history.samples import Recorder
from tests.cli.standin import StandIn
from tests.core.alarm_world import World
from tests.tui import fleets


def test_each_alarm_with_its_id_cause_and_the_command_that_mends_it(opsconsole):
    code, out, _ = opsconsole("alarms", session=StandIn(fleets.taken()))
    assert code == 0 and out.startswith("3 alarms wait for a person, 1 taken, 2 silenced")
    assert "mend: opsconsole launch --reason" in out and "taken by anna@laptop 25 min ago" in out
    assert "silenced: throttle until" in out and "shift note" in out and "remote hands are called" in out


def test_json_has_what_scripts_need(opsconsole):
    fleet = fleets.taken()
    said = json.loads(opsconsole("alarms", "--json", session=StandIn(fleet))[1])
    assert [one["id"] for one in said["alarms"]] == [alarm.id for alarm in fleet.alarms]
    last, taken = said["alarms"][-1], next(one for one in said["alarms"] if one["acked_by"])
    assert last["silenced_by"] == "bert" and taken["acked_at"] and said["silences"][0]["what"] == "throttle"
    assert said["alarms"][0]["mends"] == ["opsconsole doctor h100-010"] and said["shift_notes"][0]["actor"] == "bert"


def test_watch_is_one_object_a_line(opsconsole):
    code, out, _ = opsconsole("alarms", "--json", "--watch", session=StandIn(fleets.alarm(), fleets.calm(), interrupt=True))
    assert code == 130 and [len(json.loads(line)["alarms"]) for line in out.splitlines()] == [6, 0]


@pytest.mark.parametrize("words, said", [
    (("ack", "a42os", "--note", "mine"), ("ack", "a42os", "mine")),
    (("silence", "throttle", "--for", "2h", "--reason", "known"), ("silence", "throttle", "known")),
    (("note", "shift", "all", "is", "quiet"), ("note", "shift", "all is quiet")),
    (("note", "reach:h100-010", "call Joe"), ("note", "a42os", "call Joe")),
])
def test_what_is_typed_is_said(opsconsole, words, said):
    session = StandIn(fleets.alarm())
    code, out, _ = opsconsole("alarms", *words, session=session)
    assert code == 0 and "done" in out
    (one,) = session.said
    assert (one.word, one.what, one.text) == said and "@" in one.actor
    assert (one.until is None) == (said[0] != "silence")


@pytest.mark.parametrize("words, code, error", [
    (("ack", "nope"), 2, "no alarm 'nope' stands now"),
    (("silence", "throttle", "--for", "2h"), 2, "--reason"),
    (("silence", "throttle", "--reason", "x"), 2, "--for"),
    (("silence", "throttle", "--for", "tomorrow", "--reason", "x"), 2, "is no duration"),
    (("--json", "ack", "a42os"), 2, "are for the list: write them behind the command"),
    (("unsilence", "throttle"), 2, "is not silenced"),
])
def test_what_cannot_be_is_refused(opsconsole, words, code, error):
    session = StandIn(fleets.alarm())
    got, _, err = opsconsole("alarms", *words, session=session)
    assert (got, session.said) == (code, []) and error in err


@pytest.mark.parametrize("words", [("ack", "a42os"), ("silence", "reach", "--for", "1h", "--reason", "x"), ("note", "shift", "x")])
def test_read_only_says_nothing(opsconsole, words):
    session = StandIn(fleets.alarm())
    code, _, err = opsconsole("--read-only", "alarms", *words, session=session)
    assert (code, session.said) == (4, []) and "read-only" in err
    assert opsconsole("--read-only", "alarms", session=session)[0] == 0


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    """Two minutes of a fleet of which one node was hot for a minute and another lost twice."""
    home = tmp_path_factory.mktemp("past")
    home.chmod(0o700)
    world = World({"n1": {}, "n2": {}}, (Model("demo"),))
    recorder = Recorder(home / "history.db")
    recorder.start()

    def live(seconds, more=()):
        for number in range(seconds):
            fleet = world.seconds(1, more if not number else ())
            recorder.record(replace(fleet, alarms=()))
            while recorder.acknowledged != int(fleet.at):
                time.sleep(0.001)

    live(10)
    world.said["n1"] = {"all_gpus": {"temp_c": 80}}
    for _ in range(2):
        live(10, (world.lose("n2"),))
        world.find("n2")
        live(10)
    world.said["n1"] = {}
    live(20)
    recorder.close()
    return home


FLEET_FILE = """
[fleet]
name = "past"
[[nodes]]
hosts = "n[1-2]"
[[alarms]]
rule = "temperature"
limit = {limit}
for_s = 20
[[alarms]]
rule = "lots-of-power"
metric = "gpu.power_w"
above = 10
for_s = 0
"""


@pytest.mark.parametrize("limit, fired", [(75, 1), (90, 0)])
def test_rules_are_tried_on_the_past(opsconsole, past, limit, fired):
    config = past / "fleet.toml"
    config.write_text(FLEET_FILE.format(limit=limit))
    options = ("--config", str(config), "--state-dir", str(past), "alarms", "test", "--since", "2020-01-01T00:00")
    code, out, _ = opsconsole(*options, "--json")
    said = {one["rule"]: one for one in json.loads(out)["rules"]}
    assert code == 0 and said["temperature"]["fired"] == fired and said["reach"]["fired"] == 2
    assert said["reach"]["subjects"] == [{"subject": "n2", "times": 2}] and said["lots-of-power"]["fired"] == 2
    code, out, err = opsconsole(*options, "--rule", "reach", "--step", "2s")
    assert code == 0 and out.splitlines()[1].split()[:3] == ["reach", "critical", "2"] and "looked at every 2 s" in err


def test_a_past_that_is_not_there_is_said(opsconsole, past, tmp_path):
    config = past / "fleet.toml"
    config.write_text(FLEET_FILE.format(limit=75))
    for home, words, more in ((tmp_path, "there is no history", ()), (past, "holds nothing since", ("--since", "1s")),
                              (past, "there is no rule 'nope'", ("--rule", "nope"))):
        code, _, err = opsconsole("--config", str(config), "--state-dir", str(home), "alarms", "test", *more)
        assert code in (1, 2) and words in err


def test_rules_are_listed_as_the_file_has_them(opsconsole, tmp_path):
    config = tmp_path / "fleet.toml"
    config.write_text(FLEET_FILE.format(limit=75))
    code, out, _ = opsconsole("--config", str(config), "alarms", "rules", "--json")
    rules = {one["rule"]: one for one in json.loads(out)["rules"]}
    assert code == 0 and rules["temperature"]["limit"] == 75 and not rules["temperature"]["built_in"] and rules["reach"]["built_in"]
    assert "(fleet file)" in opsconsole("--config", str(config), "alarms", "rules")[1]
