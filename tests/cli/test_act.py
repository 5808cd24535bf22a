"""Acting from a script: the plan first, a yes, the receipt, and an exit code for every end."""

import json
from dataclasses import replace

import pytest

from opsconsole.core.plan import make_plan
from opsconsole.core.steps import Cap, Cordon, Drain, Rebalance, Rollout, Stop, Uncordon
from tests.cli.standin import StandIn, renamed, word
from tests.telemetry import fleet_of, worker_fields

SERVING = renamed(fleet_of({"n1": [worker_fields("w1"), worker_fields("w2")], "n2": [worker_fields("w3")]}), environment="lab")
PRODUCTION = renamed(SERVING, environment="production")
MODEL = SERVING.workers[0].model


@pytest.fixture
def keyboard(monkeypatch):
    """Types lines as a person at a terminal would."""
    def types(*lines):
        left = iter(lines)
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt="": next(left))
    return types


def test_plan_prints_and_stops(opsconsole):
    session = StandIn(SERVING)
    code, out, err = opsconsole("drain", "w1", "--plan", "--reason", "fan", session=session)
    assert (code, err, session.acted) == (0, "", [])
    for words in ("plan: drain w1", "1. drain w1 on n1", "deadline 600 s", "hold", "reason   fan", "changes  ready workers"):
        assert words in out


def test_plan_as_json(opsconsole):
    _, out, _ = opsconsole("launch", MODEL, "--plan", "--json", session=StandIn(SERVING))
    plan = json.loads(out)["plan"]
    assert plan["intent"]["kind"] == "launch" and plan["refusal"] is None and len(plan["steps"]) == 1


def test_done(opsconsole):
    answers = [word("w1", done=False, text="2 in flight"), word("w1", proof="port closed", finished=2)]
    session = StandIn(SERVING, answers=answers)
    code, out, err = opsconsole("drain", "w1", "--yes", "--deadline", "90s", "--on-deadline", "abort", session=session)
    (intent,) = session.acted
    assert (code, intent.targets, intent.deadline_s, intent.on_deadline, "@" in intent.actor) == (0, ("w1",), 90, "abort", True)
    assert "2 in flight" in err and "plan: drain w1" in err
    assert out == "[1/1] w1 on n1  done: stopped\n      proof: port closed\n      finished: 2\n"


@pytest.mark.parametrize("answers, code", [
    ([word("w1", ok=False, text="deadline: 3 in flight; held", held=True)], 5),
    ([word("w1", ok=False, text="UNSURE: n1 has not answered")], 1),
    ([word("w1", done=False, text="2 in flight")], 1),
    ([], 1),
    ([word("w1"), word("w2", ok=False, step=1, held=True)], 5),
    ([word("w1", ok=False), word("w2", ok=False, step=1, held=True)], 1),
], ids=range(6))
def test_how_it_ends(opsconsole, answers, code):
    targets = sorted({answer.worker for answer in answers} | {"w1"})
    assert opsconsole("drain", *targets, "--yes", session=StandIn(SERVING, answers=answers))[0] == code


def test_receipt_as_json(opsconsole):
    session = StandIn(SERVING, answers=[word("w1", ok=False, held=True, in_flight=3)])
    code, out, _ = opsconsole("drain", "w1", "--yes", "--json", session=session)
    (receipt,) = json.loads(out)["receipts"]
    assert (code, receipt["outcome"], receipt["detail"]) == (5, "held", {"held": True, "in_flight": 3})


def test_refused_with_the_numbers(opsconsole):
    session = StandIn(SERVING)
    code, out, err = opsconsole("launch", MODEL, "--count", "500", "--yes", session=session)
    assert (code, out, session.acted) == (4, "", []) and "500" in err and "REFUSED" in err
    code, out, _ = opsconsole("drain", "nobody", "--yes", "--json", session=session)
    assert code == 4 and "nobody" in json.loads(out)["plan"]["refusal"]


def test_refused_when_the_fleet_has_changed_since_the_plan(opsconsole):
    session = StandIn(SERVING)
    session.newest = fleet_of({})
    code, _, err = opsconsole("drain", "w1", "--yes", session=session)
    assert code == 4 and "there is no worker" in err


def test_nobody_to_ask(opsconsole):
    session = StandIn(SERVING)
    code, _, err = opsconsole("drain", "w1", session=session)
    assert (code, session.acted) == (2, []) and "--yes" in err


@pytest.mark.parametrize("fleet, typed, code", [
    (SERVING, "y", 0), (SERVING, "n", 1), (SERVING, "", 1), (PRODUCTION, "w1", 0), (PRODUCTION, "y", 1), (PRODUCTION, "", 1),
])
def test_a_person_is_asked_and_in_production_types_the_name(opsconsole, keyboard, fleet, typed, code):
    keyboard(typed)
    session = StandIn(fleet, answers=[word("w1")])
    assert opsconsole("drain", "w1", session=session)[0] == code
    assert len(session.acted) == (code == 0)


def test_launching_in_production_asks_but_needs_no_name(opsconsole, keyboard):
    keyboard("y")
    assert opsconsole("launch", MODEL, session=StandIn(PRODUCTION, answers=[word("m-1", text="ready")]))[0] == 0


def test_read_only_refuses_but_still_plans(opsconsole):
    session = StandIn(SERVING)
    code, _, err = opsconsole("--read-only", "drain", "w1", "--yes", session=session)
    assert (code, session.acted) == (4, []) and "read-only" in err
    assert opsconsole("--read-only", "drain", "w1", "--plan", session=session)[0] == 0


def test_no_wait_returns_once_it_is_under_way(opsconsole):
    session = StandIn(SERVING, answers=[word("w1", ok=False)])
    code, out, err = opsconsole("drain", "w1", "--yes", "--no-wait", session=session)
    assert (code, out, len(session.acted)) == (0, "", 1) and "goes on" in err


def test_ctrl_c_says_what_goes_on(opsconsole):
    session = StandIn(SERVING, answers=[word("w1", done=False, text="2 in flight")], interrupt=True)
    code, out, err = opsconsole("drain", "w1", "--yes", session=session)
    assert (code, out) == (130, "") and "goes on in the collector" in err


@pytest.mark.parametrize("arguments, words", [
    (("launch", MODEL, "--gpu", "0"), "--node"), (("launch", MODEL, "--node", "n1", "--gpu", "a"), "GPU numbers"),
    (("launch", MODEL, "--node", "n1", "--gpu", "1,1"), "each GPU once"), (("launch", MODEL, "--count", "0"), "--count"),
    (("drain",), "WORKER|NODE"), (("drain", "w1", "--deadline", "soon"), "15m"), (("drain", "w1", "--on-deadline", "kill"), "hold"),
])
def test_wrong_usage(opsconsole, arguments, words):
    code, _, err = opsconsole(*arguments, session=StandIn(SERVING))
    assert code == 2 and words in err


def test_hostile_words_from_a_node_are_cleaned(opsconsole):
    answers = [word("w1", text="\x1b[2Jgone\x07", proof="a\u202eb", **{"x\x1b]0;": ["\x9b31m"]})]
    _, out, err = opsconsole("drain", "w1", "--yes", session=StandIn(SERVING, answers=answers))
    assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(out + err)


def test_a_plan_whose_steps_have_changed_is_a_conflict(opsconsole):
    session = StandIn(SERVING)
    session.newest = fleet_of({"n2": [worker_fields("demo-1")]})
    code, _, err = opsconsole("launch", "demo", "--yes", session=session)
    assert code == 6 and "the fleet has changed since" in err


def test_a_worker_that_somebody_else_holds_is_a_conflict(opsconsole):
    session = StandIn(SERVING, answers=[word("w1", ok=False, text="held by order 17", conflict=True)])
    assert opsconsole("drain", "w1", "--yes", session=session)[0] == 6


def test_undrain_takes_a_held_worker_back(opsconsole):
    session = StandIn(fleet_of({"n1": [worker_fields("w1", state="DRAINING")]}), answers=[word("w1", text="takes requests again")])
    code, out, err = opsconsole("undrain", "w1", "--yes", session=session)
    assert code == 0 and "takes requests again" in out and "let w1 on n1 take requests again" in err


@pytest.mark.parametrize("arguments, intent", [
    (("stop", "w1"), Stop(("w1",))),
    (("cordon", "n1", "n2"), Cordon(("n1", "n2"))),
    (("uncordon", "n1"), Uncordon(("n1",))),
    (("rebalance",), Rebalance()),
    (("rebalance", "--model", MODEL, "--objective", "cost"), Rebalance(MODEL, "cost")),
    (("rollout", MODEL, "--to", "v2", "--deadline", "90s", "--on-deadline", "extend"), Rollout(MODEL, "v2", 90.0, "extend")),
    (("cap", "n1", "--watts", "300"), Cap("n1", 300.0)),
    (("cap", "ams1", "--restore"), Cap("ams1", None)),
    (("drain", "w1", "--on-deadline", "extend"), Drain(("w1",), 600.0, "extend")),
], ids=lambda value: value[0] if isinstance(value, tuple) else "")
def test_what_is_typed_is_what_is_planned(opsconsole, arguments, intent):
    session = StandIn(SERVING)
    asked = []
    session.plan = lambda typed: asked.append(typed) or make_plan(SERVING, typed)
    opsconsole(*arguments, "--plan", session=session)
    assert replace(asked[0], actor="") == intent


def test_a_plan_says_which_step_waits_for_which(opsconsole):
    two = renamed(fleet_of({"n1": [worker_fields("w1"), worker_fields("w2", gpus=[1])], "n2": [worker_fields("w3")]}))
    _, out, _ = opsconsole("drain", "n1", "--plan", session=StandIn(two))
    assert "2. drain w2 on n1, then stop it (after that)" in out
    _, out, _ = opsconsole("drain", "n1", "--plan", "--json", session=StandIn(two))
    plan = json.loads(out)["plan"]
    assert [step["after"] for step in plan["steps"]] == [[], [1]]
    assert plan["changes"][0] == {"what": f"ready workers of {MODEL}", "now": "3", "during": "1", "after": "1"}


def test_where_nothing_needs_to_move_nobody_is_asked(opsconsole):
    session = StandIn(PRODUCTION)
    code, out, err = opsconsole("rebalance", session=session)
    assert (code, out, session.acted) == (0, "", []) and "nothing needs to move" in err
    code, out, _ = opsconsole("rebalance", "--json", session=session)
    assert code == 0 and json.loads(out)["plan"]["steps"] == []


@pytest.mark.parametrize("typed, acted", [(MODEL, 1), ("y", 0)])
def test_a_rollout_in_production_asks_for_the_model(opsconsole, keyboard, typed, acted):
    keyboard(typed)
    session = StandIn(PRODUCTION)
    opsconsole("rollout", MODEL, "--to", "v2", session=session)
    assert len(session.acted) == acted


def test_a_cap_says_either_watts_or_restore(opsconsole):
    for arguments in (("cap", "n1"), ("cap", "n1", "--watts", "300", "--restore"), ("cap", "n1", "--watts", "0")):
        assert opsconsole(*arguments, session=StandIn(SERVING))[0] == 2
