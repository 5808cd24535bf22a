"""A run as plain values: what is told to whom after each event, and that nothing follows a step that did not end well."""

from dataclasses import replace

import numpy as np
import pytest

from opsconsole.core import run as run_room
from opsconsole.core.advance import advance, begin
from opsconsole.core.events import Lost
from opsconsole.core.fleet import CONNECTING, UNREACHABLE
from opsconsole.core.fold import fold
from opsconsole.core.run import ENDED, RUN_MOVES, STEP_MOVES, Begun, NodeBack, NodeSaid, NotSent, RouterSaid, Ticked, Told, run_to, step_to
from opsconsole.core.steps import Drain, Plan, Step
from tests.telemetry import fleet_of, sampled, tick, worker_fields

LAUNCH = Step("start new on n2", "n2", "new", {"op": "launch", "worker": "new", "model": "demo", "engine": "jax", "gpus": [0]})
AFTER_IT = Step("drain old on n1", "n1", "old", {"op": "drain", "worker": "old", "deadline_s": 60, "on_deadline": "hold"}, (0,))
DRAIN = replace(AFTER_IT, after=())
BESIDE = Step("drain two on n1", "n1", "two", {"op": "drain", "worker": "two", "deadline_s": 60, "on_deadline": "hold"})
OLD = worker_fields("old", generation=7)
FLEET = fleet_of({"n1": [OLD], "n3": [worker_fields("third")]})


class Script:
    """A run that is told one event after the other; `said`: (to, id, op) of every order so far."""

    def __init__(self, *steps, fleet=FLEET):
        self.run = begin(Plan(Drain(()), "a plan", steps), "r1", [f"o{number}" for number in range(len(steps))], 1000.0)
        self.fleet, self.orders = fleet, []
        self(Begun(1000.0))

    def __call__(self, event):
        self.run, orders = advance(self.run, event)
        self.orders += orders
        return self

    def tick(self, at=1000.0, **changes):
        return self(Ticked(at, self.fleet, **changes))

    def answer(self, order_id, ok, done, text="", at=1001.0, **detail):
        return self(NodeSaid(order_id, ok, done, text, detail, at))

    def routed(self, order_id="o0", ok=True, text=""):
        return self(RouterSaid(order_id, ok, text, 1000.5))

    @property
    def said(self):
        return [(order.to, order.order_id, order.order.get("op", "")) for order in self.orders]

    @property
    def states(self):
        return [one.state for one in self.run.steps]


def lost(fleet, node="n1"):
    return fold(fleet, [Lost(node, 101.0, UNREACHABLE, "cut"), tick(101.0)])


def showing(*workers):
    return fold(FLEET, [sampled("n2", 103.0, workers=workers), tick(103.0)])


def test_the_router_takes_the_worker_out_before_its_node_hears_of_the_drain():
    script = Script(DRAIN).tick()
    assert script.said == [("router", "o0", "")] and script.states == ["ROUTING"]
    script.routed()
    assert script.said[1:] == [("node", "o0", "drain")] and script.orders[1].order["generation"] == 7
    script.answer("o0", True, False, "3 in flight", in_flight=3)
    assert script.run.steps[0].detail == {"in_flight": 3} and script.run.state == "OPEN"
    script.answer("o0", True, True, "stopped", at=1009.0)
    assert script.states == ["DONE"] and (script.run.state, script.run.ended_at) == ("DONE", 1009.0)


def test_a_router_that_cannot_promise_it_fails_the_step_and_nothing_is_sent():
    script = Script(DRAIN).tick().routed(ok=False, text="its socket does not answer")
    assert script.said == [("router", "o0", "")] and script.run.state == "FAILED"
    assert script.run.text == "nothing was sent: the router does not take it out: its socket does not answer"


def test_a_launch_that_fails_never_starts_the_drain_that_depends_on_it():
    script = Script(LAUNCH, AFTER_IT).tick()
    assert script.said == [("node", "o0", "launch")] and script.orders[0].order["generation"] is None
    script.answer("o0", False, True, "out of memory").tick(1002.0)
    assert script.states == ["FAILED", "SKIPPED"] and script.run.state == "FAILED" and len(script.orders) == 1
    assert script.run.steps[1].text == "not begun: step 1 did not end well" and script.run.text == "out of memory"


def test_the_drain_waits_until_the_fleet_shows_what_was_launched():
    script = Script(LAUNCH, AFTER_IT).tick().answer("o0", True, True, "READY").tick(1002.0)
    assert script.states == ["DONE", "WAITING"]
    script.fleet = showing(worker_fields("new"))
    assert script.tick(1003.0).states == ["DONE", "ROUTING"]


def test_a_launched_worker_that_has_died_meanwhile_takes_nobodys_place():
    script = Script(LAUNCH, AFTER_IT).tick().answer("o0", True, True, "READY")
    script.fleet = showing(worker_fields("new", "FAILED"))
    assert script.tick(1003.0).states == ["DONE", "WAITING"]
    assert script.tick(1012.0).states == ["DONE", "FAILED"] and "new, which takes the place of old, is FAILED" in script.run.text


def test_the_guard_is_asked_again_at_the_start_and_counts_what_has_begun():
    fleet = fleet_of({"n1": [OLD, worker_fields("two", gpus=[1])]})
    script = Script(DRAIN, BESIDE, fleet=fleet).tick()
    assert script.states == ["ROUTING", "FAILED"] and "minimum is 1" in script.run.steps[1].text
    script.routed().answer("o0", True, True, "stopped")
    assert script.states == ["DONE", "FAILED"] and script.run.state == "FAILED", "a step that was sent goes on to its end"


def test_nothing_begins_before_every_node_was_heard_or_found_lost():
    """A console that has just started would count the workers of half a fleet."""
    young = replace(FLEET, reach=np.where(np.arange(len(FLEET.reach)) == 2, CONNECTING, FLEET.reach))
    script = Script(DRAIN, fleet=young).tick()
    assert script.said == [] and script.states == ["WAITING"]
    script.fleet = FLEET
    assert script.tick().states == ["ROUTING"]
    script(Told("let go", 1002.0))(Told("resume", 1003.0))
    script.fleet = young
    assert script.tick(1004.0).states == ["UNSURE"] and len(script.said) == 1
    script.fleet = FLEET
    assert script.tick(1005.0).states == ["ROUTING"]


def test_another_run_at_the_same_worker_is_a_conflict():
    script = Script(DRAIN).tick(others=(BESIDE, DRAIN))
    assert script.run.steps[0].detail == {"conflict": True} and not script.orders


def test_a_drain_under_way_is_no_conflict_for_who_takes_the_worker_back():
    undrain = Step("let old serve", "n1", "old", {"op": "undrain", "worker": "old"})
    assert Script(undrain).tick(others=(DRAIN,)).states == ["SENT"]
    assert Script(undrain).tick(others=(DRAIN, replace(DRAIN, order={"op": "stop", "worker": "old"}))).states == ["FAILED"]


def test_silence_is_unsure_holds_what_follows_and_is_asked_with_the_same_id():
    undrain = Step("let third serve", "n3", "third", {"op": "undrain", "worker": "third"}, (0,))
    script = Script(LAUNCH, undrain).tick().tick(1016.0)
    assert script.states == ["UNSURE", "WAITING"] and script.run.steps[0].text.startswith("UNSURE: n2 has not answered for 16 s")
    script.tick(1017.0)
    assert script.said == [("node", "o0", "launch")] * 2 and script.states == ["SENT", "WAITING"] and script.run.steps[0].asked == 2
    script.answer("o0", True, False, "phase load", at=1018.0).tick(1500.0)
    assert script.states[0] == "SENT", "a launch that has begun may be silent for long"


def test_a_lost_node_is_unsure_at_once_and_asked_when_it_is_back():
    script = Script(DRAIN).tick().routed()
    script.fleet = lost(FLEET)
    script.tick(1001.0).tick(1002.0)
    assert script.states == ["UNSURE"] and script.run.steps[0].text.startswith("UNSURE: n1 is UNREACHABLE")
    assert len(script(NodeBack("n2", 1003.0)).orders) == 2
    script(NodeBack("n1", 1003.0))
    assert script.said[2:] == [("node", "o0", "drain")] and script.states == ["SENT"]


def test_what_could_not_be_sent_is_a_failure_only_when_it_never_left():
    script = Script(DRAIN).tick().routed()(NotSent("o0", "n1 cannot be reached, nothing was sent", 1001.0))
    assert script.run.state == "FAILED" and script.run.text == "n1 cannot be reached, nothing was sent"
    again = Script(DRAIN).tick().routed()(NodeBack("n1", 1001.0))(NotSent("o0", "n1 cannot be reached", 1001.0))
    assert again.states == ["UNSURE"] and again.run.state == "OPEN"


def test_a_held_drain_ends_the_run_held_and_what_follows_is_skipped():
    script = Script(DRAIN, replace(LAUNCH, after=(0,))).tick().routed().answer("o0", False, True, "deadline: 2 in flight; held", held=True)
    assert script.states == ["HELD", "SKIPPED"] and script.run.state == "HELD" and script.run.text == "deadline: 2 in flight; held"


@pytest.mark.parametrize("was_sent, resumed", [(False, ("router", "o0", "")), (True, ("node", "o0", "drain"))])
def test_a_run_that_was_let_go_is_resumed_where_it_was(was_sent, resumed):
    script = Script(DRAIN).tick()
    if was_sent:
        script.routed()
    script(Told("let go", 1002.0)).tick(1003.0).answer("o0", True, True, "stopped")
    assert (script.run.state, script.states) == ("INTERRUPTED", ["UNSURE"])
    count = len(script.orders)
    script(Told("resume", 1100.0)).tick(1100.0)
    assert script.run.state == "OPEN" and script.said[count:] == [resumed]


def test_a_launch_is_cancelled_and_never_asked_for_again():
    script = Script(LAUNCH, AFTER_IT).tick()(Told("cancel", 1001.0))
    assert script.said[1:] == [("node", "o0-cancel", "cancel")] and script.states == ["SENT", "SKIPPED"]
    assert script(NodeBack("n2", 1002.0)).said[2:] == [("node", "o0-cancel", "cancel")]
    script.answer("o0-cancel", True, True, "ended")
    assert script.states[0] == "FAILED" and (script.run.state, script.run.text) == ("FAILED", "taken back")


@pytest.mark.parametrize("shown, state", [([], "FAILED"), ([worker_fields("new")], "DONE"), ([worker_fields("new", "STARTING")], "UNSURE")])
def test_a_launch_that_would_not_be_cancelled_is_judged_by_what_its_node_shows(shown, state):
    script = Script(LAUNCH).tick()(Told("cancel", 1001.0)).answer("o0-cancel", False, True, "no worker new")
    script.fleet = showing(*shown)
    script.tick(1003.0).tick(1004.0)
    assert script.states == [state] and len(script.orders) == 2


def test_a_drain_is_taken_back_and_what_was_not_sent_never_is():
    script = Script(DRAIN).tick()(Told("cancel", 1001.0)).routed()
    assert script.states == ["FAILED"] and len(script.orders) == 1
    script = Script(DRAIN).tick().routed()(Told("let go", 1001.0))(Told("cancel", 1002.0))
    assert script.said[2:] == [("node", "o0-cancel", "undrain")] and script.run.state == "OPEN"
    script.answer("o0-cancel", True, True, "admits requests again")
    assert script.run.state == "FAILED" and script.run.steps[0].detail == {"taken_back": True}


def test_the_tables_are_closed_and_nothing_else_moves():
    for moves in (STEP_MOVES, RUN_MOVES):
        assert {state for following in moves.values() for state in following} <= set(moves)
    run = Script(DRAIN).run
    with pytest.raises(AssertionError, match="WAITING cannot become DONE"):
        step_to(run.steps[0], "DONE")
    with pytest.raises(AssertionError):
        run_to(replace(run, state="DONE"), "OPEN")
    assert ENDED == {"DONE", "HELD", "FAILED", "SKIPPED"}


def test_the_diagram_is_that_of_the_tables():
    for caption, moves in (("A step", STEP_MOVES), ("A run", RUN_MOVES)):
        drawn = run_room.__doc__.split(f"{caption}:\n")[1].split("\n\n")[0].rstrip().splitlines()
        assert drawn == [f"    {state:11} -> {' '.join(following)}" for state, following in moves.items() if following]


def test_late_and_unknown_words_change_nothing():
    script = Script(DRAIN).tick().answer("o0", True, True, "too early").answer("who", True, True).routed("who")
    assert script.states == ["ROUTING"]
    script.routed().answer("o0", True, True, "stopped")
    ended = script.run
    assert script.answer("o0", False, True, "again").tick(2000.0)(NodeBack("n1", 2000.0))(Told("cancel", 2000.0)).run == ended


def test_a_plan_of_nothing_is_done_at_once():
    assert Script().run.state == "DONE"
