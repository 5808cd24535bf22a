"""The listings at a past second: the same output from the same kind of value, honest about gaps and about what is not kept."""

import json
import signal
import subprocess
import sys

import pytest

from opsconsole.core.as_json import at_text, gpus_json, models_json, nodes_json, sites_json, status_json, workers_json
from opsconsole.core.headroom import MODEL_FIELDS, SITE_FIELDS
from tests.history.recorded import GAP_S

AS_JSON = {"nodes": nodes_json, "gpus": gpus_json, "workers": workers_json, "models": models_json, "sites": sites_json}


def close(one, other):
    """To the digits that history keeps: 1 W, 0.1 tokens/s, 1 °C and so on."""
    return one == other or isinstance(one, (int, float)) and abs(one - other) <= 0.5 + 1e-3 * abs(other)


@pytest.mark.parametrize("kind", AS_JSON)
def test_a_listing_of_a_past_second_is_that_of_its_fleet(opsconsole, recorded, kind):
    at = recorded.start + 45
    code, out, err = opsconsole(*recorded.options, kind, "--at", at_text(at), "--json")
    then = recorded.fleets[at]
    assert (code, err) == (0, f"opsconsole: as it was at {at_text(at)}\n")
    value = json.loads(out)
    assert value["at"] == at_text(at)
    for found, expected in zip(value[kind], json.loads(json.dumps(AS_JSON[kind](then))), strict=True):
        beside = {"models": MODEL_FIELDS, "sites": SITE_FIELDS}.get(kind, ())
        assert found.keys() == expected.keys() | set(beside)
        for name in set(expected) - {"energy_j", "age_s"}:
            assert close(found[name], expected[name]), (kind, name)


def test_capacity_of_a_past_second(opsconsole, recorded):
    at = recorded.start + 45
    code, out, err = opsconsole(*recorded.options, "capacity", "--at", at_text(at), "--json")
    value = json.loads(out)
    assert (code, value["at"]) == (0, at_text(at)) and "as it was at" in err
    assert value["learned"]["until"] is not None and value["gpus"]["total"] == len(recorded.fleets[at].roster.gpu_uuid)


def test_status_of_a_past_second(opsconsole, recorded):
    at = recorded.start + 115
    code, out, err = opsconsole(*recorded.options, "status", "--at", at_text(at), "--json")
    found, expected = json.loads(out), json.loads(json.dumps(status_json(recorded.fleets[at])))
    assert code == 3 and "1 of 3 nodes did not answer: n3 (UNREACHABLE)" in err
    assert (found["nodes_answering"], found["reach"], found["alarms"]) == (2, expected["reach"], expected["alarms"])


def test_alarms_of_a_past_second(opsconsole, recorded):
    at = recorded.start + 115
    code, out, err = opsconsole(*recorded.options, "alarms", "--at", at_text(at), "--json")
    assert code == 0 and "as it was at" in err
    assert [alarm["subject"] for alarm in json.loads(out)["alarms"]] == [alarm.subject for alarm in recorded.fleets[at].alarms] == ["n3"]
    assert "n3" in opsconsole(*recorded.options, "alarms", "--at", at_text(at))[1]
    assert opsconsole(*recorded.options, "alarms", "--at", "1m", "--watch")[0] == 2


def test_filters_and_the_table_for_people_work_in_the_past(opsconsole, recorded):
    at = at_text(recorded.start + 50)
    _, out, _ = opsconsole(*recorded.options, "gpus", "--at", at, "--filter", "temp_c>90")
    assert len(out.splitlines()) == 2 and "n2" in out and " 91 " in out
    _, out, _ = opsconsole(*recorded.options, "nodes", "--at", at, "--site", "fra2", "--json")
    assert {row["site"] for row in json.loads(out)["nodes"]} == {"fra2"}
    code, _, err = opsconsole(*recorded.options, "nodes", "--at", at, "--site", "zz")
    assert code == 2 and "there is no site 'zz'" in err


def test_in_a_gap_the_second_before_it_is_shown_and_said(opsconsole, recorded):
    last, first = recorded.gap
    code, out, err = opsconsole(*recorded.options, "nodes", "--at", at_text(last + 30), "--json")
    assert json.loads(out)["at"] == at_text(last)
    assert err.splitlines()[0] == (
        f"opsconsole: nobody recorded between {at_text(last)} and {at_text(first)}; this is the second {at_text(last)}, 30 s before"
    )


def test_after_the_end_it_is_said_since_when_nobody_records(opsconsole, recorded):
    _, out, err = opsconsole(*recorded.options, "nodes", "--at", "now", "--json")
    assert json.loads(out)["at"] == at_text(recorded.gap[1] + 59) and "nobody has recorded since" in err


@pytest.mark.parametrize("arguments, code, words", [
    (("--at", "2001-02-03"), 1, "nothing is kept of 2001-02-0"), (("--at", "2101-02-03"), 2, "lies in the future"),
    (("--at", "soon"), 2, "is no time"), (("--at", "1m", "--watch"), 2, "choose one"), (("--file", "x", "--watch"), 2, "choose one"),
])
def test_moments_that_cannot_be_shown(opsconsole, recorded, arguments, code, words):
    found, out, err = opsconsole(*recorded.options, "nodes", *arguments)
    assert (found, out) == (code, "") and words in err


def test_before_the_beginning_the_span_that_is_kept_is_told(opsconsole, recorded):
    err = opsconsole(*recorded.options, "nodes", "--at", "2001-02-03")[2]
    assert f"seconds are kept from {at_text(recorded.start)} to {at_text(recorded.gap[1] + 59)}" in err


def test_few_points_keep_the_peak(opsconsole, recorded):
    span = ("--since", at_text(recorded.start), "--until", at_text(recorded.start + 119))
    _, out, _ = opsconsole(*recorded.options, "history", "gpu.temp_c", "--node", "n2", "--gpu", "3", "--points", "6", "--json", *span)
    values = json.loads(out)["values"]
    assert len(values) <= 6 and max(values) == 91


def test_no_collector_is_started_for_the_past(opsconsole, recorded):
    before = sorted(path.name for path in recorded.file.parent.iterdir())
    opsconsole(*recorded.options, "nodes", "--at", at_text(recorded.start + 9))
    assert sorted(path.name for path in recorded.file.parent.iterdir()) == before
    assert not {"collector.sock", "collector.lock", "collector.log"} & set(before)
    assert recorded.gap[1] - recorded.gap[0] == GAP_S + 1


def test_a_query_without_an_end_is_ended_by_ctrl_c(recorded):
    numbers = "with recursive t(x) as (select 1 union all select x + 1 from t)"
    endless = f"select 1 as x union all select 2 union all select * from ({numbers} select x from t where x < 0)"
    command = [sys.executable, "-m", "opsconsole", *recorded.options, "history", "--json", "--sql", endless]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == '{"x":1}\n'
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[1].strip() == "opsconsole: interrupted" and process.returncode == 130
