"""Runs from a script: the list, every step of one, going on, letting go and taking back, each with its exit code."""

import json
from dataclasses import replace

import pytest

from opsconsole.core.plan import make_plan
from opsconsole.core.run import Run, StepRun
from opsconsole.core.steps import Drain, Plan, Step, Undo
from tests.cli.standin import StandIn, word
from tests.telemetry import fleet_of, worker_fields

FLEET = fleet_of({"n1": [worker_fields("w1"), worker_fields("w2")]})
PLAN = make_plan(FLEET, Drain(("w1",), actor="ana@desk", reason="fan \x1b[31m"))
STEP = StepRun(PLAN.steps[0], "o1", "UNSURE", "UNSURE: n1 is UNREACHABLE", {"in_flight": 3}, began_at=1_763_694_767.0)
RUN = Run("4f2a", PLAN, 1_763_694_767.0, (STEP,), "INTERRUPTED", text="its console let go of it")
DONE = replace(RUN, state="DONE", text="", steps=(replace(STEP, state="DONE", text="stopped", ended_at=1_763_694_779.0),))
BACK = Plan(Undo("4f2a"), "undo: drain w1", (Step("start w1 again", "n1", "w1", {"op": "launch"}),))


class Knowing(StandIn):
    def __init__(self, *runs, ended=None, back=BACK, **given):
        super().__init__(FLEET, **given)
        self.known, self.ended, self.back = list(runs), ended, back

    def plan(self, intent):
        assert isinstance(intent, Undo) and intent.run == "4f2a"
        self.reason = intent.reason
        return self.back

    def act(self, plan):
        self.acted.append(plan)
        yield replace(plan, run="r-78")
        yield word("w1", text="READY")


def test_the_list(opsconsole):
    code, out, _ = opsconsole("runs", session=Knowing(DONE, RUN))
    lines = out.splitlines()
    assert code == 0 and lines[0].split() == ["ID", "STATE", "BEGAN", "STEPS", "TITLE"] and len(lines) == 3
    assert lines[1].split() == ["4f2a", "DONE", "2025-11-21T03:12:47.000Z", "1/1", "drain", "w1"]
    assert opsconsole("runs", session=Knowing())[1] == "no runs yet\n"


def test_one_step_by_step(opsconsole):
    code, out, _ = opsconsole("runs", "4f", session=Knowing(RUN))
    assert code == 0 and "\x1b" not in out
    for words in ("run 4f2a  INTERRUPTED  drain w1", "by ana@desk: fan", "1. UNSURE", "in flight 3", "n1 is UNREACHABLE",
                  "opsconsole resume 4f2a --back"):
        assert words in out
    assert "[in flight 3, 12 s]" in opsconsole("runs", "4f", session=Knowing(DONE))[1]


def test_json(opsconsole):
    (run,) = json.loads(opsconsole("runs", "--json", session=Knowing(DONE))[1])["runs"]
    assert (run["id"], run["state"], run["steps_done"], run["steps_total"], run["actor"]) == ("4f2a", "DONE", 1, 1, "ana@desk")
    assert run["steps"][0]["elapsed_s"] == 12.0 and run["steps"][0]["state"] == "DONE" and run["steps"][0]["detail"] == {"in_flight": 3}


def test_an_unknown_run_is_one_sentence(opsconsole):
    code, out, err = opsconsole("runs", "zzz", session=Knowing(RUN))
    assert (code, out) == (2, "") and "there is no run 'zzz'" in err


@pytest.mark.parametrize("ended, code", [(DONE, 0), (replace(DONE, state="HELD"), 5), (replace(DONE, state="FAILED"), 1), (
    replace(DONE, state="FAILED", steps=(replace(STEP, state="FAILED", detail={"conflict": True}),)), 6)])
def test_resume_follows_it_to_its_end(opsconsole, ended, code):
    session = Knowing(RUN, ended=ended, answers=[word("w1", done=False, text="2 in flight"), word("w1")])
    found, out, err = opsconsole("resume", "4f2a", session=session)
    assert found == code and session.told == [("4f2a", "resume", True)] and "2 in flight" in err and ended.state in out
    assert json.loads(opsconsole("resume", "4f2a", "--json", session=Knowing(RUN, ended=ended))[1])["state"] == ended.state


def test_ctrl_c_leaves_it_to_the_collector(opsconsole):
    code, _, err = opsconsole("resume", "4f2a", session=Knowing(RUN, interrupt=True))
    assert code == 130 and "opsconsole runs 4f2a" in err


def test_taking_back_ends_the_run_and_then_undoes_it_as_a_plan(opsconsole):
    session = Knowing(RUN)
    assert opsconsole("resume", "4f2a", "--back", session=session)[0] == 2, "nobody to ask"
    assert session.told == [("4f2a", "cancel", True)] and not session.acted
    code, out, err = opsconsole("resume", "4f2a", "--back", "--yes", session=session)
    assert code == 0 and session.acted == [BACK] and "plan: undo: drain w1" in err and "READY" in out
    assert session.reason == "takes back drain w1"


def test_taking_back_has_a_reason_of_its_own(opsconsole):
    session = Knowing(RUN)
    assert opsconsole("resume", "4f2a", "--back", "--yes", "--reason", "wrong\x1bnode", session=session)[0] == 0
    assert session.reason.startswith("wrong") and "\x1b" not in session.reason
    assert opsconsole("resume", "4f2a", "--reason", "x", session=session)[0] == 2


def test_taking_back_can_be_looked_at_first(opsconsole):
    session = Knowing(RUN)
    code, out, _ = opsconsole("resume", "4f2a", "--back", "--plan", session=session)
    assert code == 0 and "1. start w1 again" in out and not session.told and not session.acted
    assert opsconsole("resume", "4f2a", "--plan", session=session)[0] == 2
    refused = Knowing(RUN, back=replace(BACK, refusal="no GPU is free"))
    assert opsconsole("resume", "4f2a", "--back", "--yes", session=refused)[0] == 4


def test_letting_go(opsconsole):
    session = Knowing(RUN)
    assert opsconsole("runs", "4f2a", "--let-go", session=session)[0] == 0 and session.told == [("4f2a", "let go", True)]
    assert opsconsole("runs", "--let-go", session=session)[0] == 2


@pytest.mark.parametrize("words", [("resume", "4f2a"), ("resume", "4f2a", "--back", "--yes"), ("runs", "4f2a", "--let-go")])
def test_read_only_changes_nothing(opsconsole, words):
    session = Knowing(RUN)
    assert opsconsole("--read-only", *words, session=session)[0] == 4 and not session.told
