"""Whether a step of a run may begin now: its guard against the newest fleet, and what the steps before it have done."""

from __future__ import annotations

from opsconsole.core.fleet import REACH_WORDS, Fleet, Worker
from opsconsole.core.guards import step_refusal
from opsconsole.core.run import UNDER_WAY, Run, StepRun, Ticked
from opsconsole.core.steps import Step

OUT_OF_ROUTER = frozenset(("drain", "stop"))
"""Orders before which the router must give their worker no more requests."""
LETS_GO = {"undrain": {"drain"}}
"""What another run may be doing to the same worker: a drain lets go of it when asked."""
SHOWN_LIMIT_S = 10.0
"""How long what a step has done may take to show in the fleet before the next step is judged without it."""


def start_refusal(run: Run, number: int, now: Ticked) -> tuple[str, bool]:
    """(why the step must not begin, "" when it may; whether that is because somebody else is at it)."""
    step = run.steps[number].step
    at_it = {other.order["op"] for other in now.others if step.worker and other.worker == step.worker}
    if at_it - LETS_GO.get(step.order["op"], set()):
        return f"another run is at work on {step.worker}", True
    begun = [one.step for other, one in enumerate(run.steps) if other != number and one.state in UNDER_WAY]
    done = [one.step for one in run.steps if one.state == "DONE"]
    return _exchange_refusal(run, step, now.fleet) or step_refusal(now.fleet, step, [*now.others, *now.left, *begun], done), False


def _exchange_refusal(run: Run, step: Step, fleet: Fleet) -> str:
    """A worker that is taken out after another was launched is taken out in exchange: the other must still be READY."""
    if step.order["op"] not in OUT_OF_ROUTER:
        return ""
    for launched in (run.steps[other].step for other in step.after):
        if launched.order["op"] == "launch" and (state := _state_of(fleet, launched)) != "READY":
            return f"{launched.worker}, which takes the place of {step.worker}, is {state}"
    return ""


def _state_of(fleet: Fleet, step: Step) -> str:
    """That of the step's worker, in words: what a silent node last told of it is not known to hold."""
    worker, row = worker_of(fleet, step), fleet.roster.node_row.get(step.node)
    if worker is None or row is None:
        return "not there"
    return worker.state if fleet.answering[row] else f"on {step.node}, which is {REACH_WORDS[fleet.reach[row]]}"


def shows(fleet: Fleet, done: StepRun, at: float) -> bool:
    """Whether the fleet already shows what a step has done, or has had time enough to."""
    ended_at = at if done.ended_at is None else done.ended_at
    if at - ended_at > SHOWN_LIMIT_S:
        return True
    if done.step.order["op"] == "launch":
        return _state_of(fleet, done.step) == "READY"
    row = fleet.roster.node_row.get(done.step.node)
    return row is None or fleet.at - float(fleet.age_s[row]) > ended_at


def worker_of(fleet: Fleet, step: Step) -> Worker | None:
    """The step's worker as its node last told of it."""
    return next((worker for worker in fleet.workers_of_node.get(step.node, ()) if worker.name == step.worker), None)
