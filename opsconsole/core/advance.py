"""What to say next: a run and one event give the run as it is after it, and the orders that follow; without a clock or a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from opsconsole.core.fleet import CONNECTING, REACH_WORDS, STALE, Fleet
from opsconsole.core.readiness import OUT_OF_ROUTER, shows, start_refusal, worker_of
from opsconsole.core.run import (
    ENDED,
    UNDER_WAY,
    Begun,
    NodeBack,
    NodeSaid,
    NotSent,
    RouterSaid,
    Run,
    RunEvent,
    RunOrder,
    StepRun,
    Ticked,
    Told,
    run_to,
    step_to,
)
from opsconsole.core.steps import Plan

ANSWER_LIMIT_S = 15.0
"""A node that has said nothing about an order for so long leaves its step unsure."""
LAUNCH_LIMIT_S = 900.0
"""As above, once a launch has begun: a large model may load and compile for long without a word."""
BACK_BY = {"launch": "cancel", "drain": "undrain"}
"""The order that takes back one that is under way; others are short and go on to their end."""
CANCEL = "-cancel"
"""What the id of an order ends with that takes back another."""


def begin(plan: Plan, run_id: str, order_ids: Sequence[str], at: float) -> Run:
    """The run of a confirmed plan, before its first event."""
    steps = tuple(StepRun(step, order_id) for step, order_id in zip(plan.steps, order_ids, strict=True))
    return Run(run_id, replace(plan, run=run_id), at, steps)


def stillborn(run: Run, text: str, at: float) -> Run:
    """A run that must not begin, because what has to be written down first cannot be."""
    steps = tuple(step_to(one, "FAILED", text=text, ended_at=at) for one in run.steps)
    return run_to(replace(run, steps=steps), "FAILED", text=text, ended_at=at)


def advance(run: Run, event: RunEvent) -> tuple[Run, tuple[RunOrder, ...]]:
    """The run after the event, and what to tell router and nodes because of it, in that order. Nothing moves a run that has ended."""
    is_deaf = run.state != "OPEN" and not (run.state == "INTERRUPTED" and isinstance(event, Told))
    if is_deaf:
        return run, ()
    draft = _Draft(run)
    _MOVES[type(event)](draft, event)
    draft.close(event.at)
    return draft.run, tuple(draft.orders)


class _Draft:
    """A run while one event is worked into it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.orders: list[RunOrder] = []

    @property
    def steps(self) -> tuple[StepRun, ...]:
        return self.run.steps

    def put(self, number: int, one: StepRun) -> None:
        self.run = replace(self.run, steps=(*self.steps[:number], one, *self.steps[number + 1:]))

    def move(self, number: int, state: str, **changes: Any) -> None:
        self.put(number, step_to(self.steps[number], state, **changes))

    def end(self, number: int, state: str, text: str, at: float, **changes: Any) -> None:
        self.move(number, state, text=text, ended_at=at, heard_at=None, **changes)

    def in_states(self, *states: str) -> list[int]:
        return [number for number, one in enumerate(self.steps) if one.state in states]

    def number_of(self, order_id: str) -> int | None:
        return next((number for number, one in enumerate(self.steps) if one.order_id == order_id), None)

    def ask(self, number: int, at: float) -> None:
        """The step's order leaves: for the first time, or with the same id to learn what has become of it."""
        one = self.steps[number]
        self.move(number, "SENT", asked=one.asked + 1, heard_at=at, text="")
        self.orders.append(RunOrder("node", *_message(one)))

    def close(self, at: float) -> None:
        """A run in which a step did not end well begins no further step; one whose steps have all ended has ended."""
        bad = self.in_states("FAILED", "HELD")
        if bad:
            for number in self.in_states("WAITING"):
                self.end(number, "SKIPPED", f"not begun: step {bad[0] + 1} did not end well", at)
        if self.run.state != "OPEN" or not all(one.state in ENDED for one in self.steps):
            return
        failed = self.in_states("FAILED", "SKIPPED")
        state = "FAILED" if self.in_states("FAILED") else "HELD" if bad else "FAILED" if failed else "DONE"
        text = self.run.text or next((self.steps[number].text for number in [*bad, *failed]), "")
        self.run = run_to(self.run, state, ended_at=at, text="" if state == "DONE" else text)


def _message(one: StepRun) -> tuple[str, str, str, dict[str, Any]]:
    """(id, node, worker, what is sent): the step's order, or, once that is to be taken back, the order that does so."""
    step, order_id = one.step, one.order_id
    if one.cancel:
        order_id += CANCEL
        back = {"op": BACK_BY[step.order["op"]], "worker": step.worker, "id": order_id}
        if step.order["op"] == "drain" and one.generation is not None:
            back["generation"] = one.generation + 1  # of this very drain: one that another console began since is not ours to take back
        return order_id, step.node, step.worker, back
    fence = {"generation": one.generation} if step.worker else {}
    return order_id, step.node, step.worker, {**step.order, **fence, "id": order_id}


def _begun(draft: _Draft, event: Begun) -> None:
    """Steps begin with the next tick, which brings the newest fleet."""


def _ticked(draft: _Draft, event: Ticked) -> None:
    unsure_before = draft.in_states("UNSURE")
    for number in draft.in_states("SENT"):
        _hear_silence(draft, number, event)
    for number in unsure_before:
        _reconcile(draft, number, event)
    if unsure_before or draft.in_states("UNSURE", "FAILED", "HELD", "SKIPPED") or _is_young(event.fleet):
        return
    for number in draft.in_states("WAITING"):
        before = [draft.steps[other] for other in draft.steps[number].step.after]
        ready = all(other.state == "DONE" and shows(event.fleet, other, event.at) for other in before)
        if ready and not _start(draft, number, event):
            return


def _hear_silence(draft: _Draft, number: int, event: Ticked) -> None:
    one = draft.steps[number]
    row = event.fleet.roster.node_row.get(one.step.node)
    silent_s = event.at - (one.heard_at if one.heard_at is not None else event.at)
    limit_s = LAUNCH_LIMIT_S if one.step.order["op"] == "launch" and one.text else ANSWER_LIMIT_S
    if row is not None and not event.fleet.answering[row] and event.fleet.reach[row] != STALE:
        why = f"{one.step.node} is {REACH_WORDS[event.fleet.reach[row]]}"
    elif silent_s > limit_s:
        why = f"{one.step.node} has not answered for {silent_s:.0f} s"
    else:
        return
    draft.move(number, "UNSURE", text=f"UNSURE: {why}; it is asked again as soon as it can be", heard_at=None)


def _reconcile(draft: _Draft, number: int, event: Ticked) -> None:
    """Ask the node what has become of an order whose answer is not known, once it can be asked."""
    one = draft.steps[number]
    row = event.fleet.roster.node_row.get(one.step.node)
    if row is None or not event.fleet.answering[row]:
        return
    if one.cancel == "refused":
        _judge_by_fleet(draft, number, event)
    elif one.asked:
        draft.ask(number, event.at)
    elif not _is_young(event.fleet):
        _start(draft, number, event)


def _is_young(fleet: Fleet) -> bool:
    """Whether a node is still to be heard for the first time: a console that has just started must not judge by half a fleet."""
    return bool((fleet.reach == CONNECTING).any())


def _judge_by_fleet(draft: _Draft, number: int, event: Ticked) -> None:
    """A step that should have been taken back is never asked for again, for that could begin it anew: what its node shows decides."""
    one = draft.steps[number]
    worker = worker_of(event.fleet, one.step)
    state = worker.state if worker else "not there"
    has_gone = worker is None or state in ("STOPPED", "FAILED")
    text = f"{one.step.worker} is {state}"
    if one.step.order["op"] == "launch":
        if has_gone or state not in ("PENDING", "STARTING"):
            draft.end(number, "FAILED" if has_gone else "DONE", text, event.at)
    elif has_gone or state == "READY":
        draft.end(number, "DONE" if has_gone else "FAILED", text, event.at)
    else:  # it drains, so its node has the order and knows it again
        draft.put(number, replace(one, cancel=""))
        draft.ask(number, event.at)


def _start(draft: _Draft, number: int, event: Ticked) -> bool:
    """Whether the step began; it failed when its guard does not hold."""
    step = draft.steps[number].step
    refusal, conflict = start_refusal(draft.run, number, event)
    if refusal:
        draft.end(number, "FAILED", f"nothing was sent: {refusal}", event.at, detail={"conflict": True} if conflict else {})
        return False
    worker = worker_of(event.fleet, step)
    seen = replace(draft.steps[number], began_at=event.at, generation=worker.generation if worker else None)
    draft.put(number, seen)
    if step.order["op"] in OUT_OF_ROUTER:
        draft.move(number, "ROUTING", text="")
        draft.orders.append(RunOrder("router", seen.order_id, step.node, step.worker))
    else:
        draft.ask(number, event.at)
    return True


def _router_said(draft: _Draft, event: RouterSaid) -> None:
    number = draft.number_of(event.order_id)
    if number is None or draft.steps[number].state != "ROUTING":
        return
    if event.ok:
        draft.ask(number, event.at)
    else:
        draft.end(number, "FAILED", f"nothing was sent: the router does not take it out: {event.text}", event.at)


def _node_said(draft: _Draft, event: NodeSaid) -> None:
    if event.order_id.endswith(CANCEL):
        _cancel_said(draft, event)
        return
    number = draft.number_of(event.order_id)
    if number is None or draft.steps[number].state not in ("SENT", "UNSURE"):
        return
    if event.done:
        state = "DONE" if event.ok else "HELD" if event.detail.get("held") else "FAILED"
        draft.end(number, state, event.text, event.at, detail=event.detail)
        return
    if draft.steps[number].state == "UNSURE":
        draft.move(number, "SENT")
    draft.put(number, replace(draft.steps[number], text=event.text, detail=event.detail, heard_at=event.at))


def _cancel_said(draft: _Draft, event: NodeSaid) -> None:
    number = draft.number_of(event.order_id.removesuffix(CANCEL))
    if number is None or not event.done or draft.steps[number].state not in ("SENT", "UNSURE") or not draft.steps[number].cancel:
        return
    if event.ok:
        draft.end(number, "FAILED", f"taken back: {event.text}", event.at, detail={"taken_back": True})
        return
    if draft.steps[number].state == "SENT":
        draft.move(number, "UNSURE")
    draft.put(number, replace(draft.steps[number], cancel="refused", text=f"not taken back: {event.text}", heard_at=None))


def _not_sent(draft: _Draft, event: NotSent) -> None:
    number = draft.number_of(event.order_id.removesuffix(CANCEL))
    if number is None or draft.steps[number].state not in ("SENT", "ROUTING"):
        return
    if draft.steps[number].asked > 1:
        draft.move(number, "UNSURE", text=f"UNSURE: {event.text}", heard_at=None)
    else:
        draft.end(number, "FAILED", event.text, event.at)


def _node_back(draft: _Draft, event: NodeBack) -> None:
    """What a node has said while it could not be heard is lost, so it is asked again at once."""
    for number in draft.in_states("SENT", "UNSURE"):
        one = draft.steps[number]
        if one.step.node == event.node and one.asked and one.cancel != "refused":
            if one.state == "SENT":
                draft.move(number, "UNSURE")
            draft.ask(number, event.at)


def _told(draft: _Draft, event: Told) -> None:
    if event.word == "let go":
        _let_go(draft)
        return
    if draft.run.state == "INTERRUPTED":
        draft.run = run_to(draft.run, "OPEN", text="")
    if event.word == "cancel":
        _cancel(draft, event.at)


def _let_go(draft: _Draft) -> None:
    if draft.run.state != "OPEN":
        return
    for number in draft.in_states("SENT", "ROUTING"):
        draft.move(number, "UNSURE", heard_at=None)
    draft.run = run_to(draft.run, "INTERRUPTED", text="its console let go of it")


def _cancel(draft: _Draft, at: float) -> None:
    draft.run = replace(draft.run, text="taken back")
    for number, one in enumerate(draft.steps):
        if one.state == "WAITING":
            draft.end(number, "SKIPPED", "not begun: the run was taken back", at)
        elif one.state in UNDER_WAY and not one.asked:
            draft.end(number, "FAILED", "nothing was sent: the run was taken back", at)
        elif one.state in UNDER_WAY and one.step.order["op"] in BACK_BY and not one.cancel:
            if one.state == "SENT":
                draft.move(number, "UNSURE")
            draft.put(number, replace(draft.steps[number], cancel="asked"))
            draft.ask(number, at)


_MOVES = {
    Begun: _begun, Ticked: _ticked, RouterSaid: _router_said, NodeSaid: _node_said, NotSent: _not_sent, NodeBack: _node_back, Told: _told,
}
