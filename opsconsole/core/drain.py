"""The plans that take workers out, put them back, or stop those that hold nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from opsconsole.core.effects import changes_of
from opsconsole.core.fleet import Fleet, Worker
from opsconsole.core.guards import IDLE, OUT, busy_refusal, minimum_refusal, out_names, out_refusal, plan_refusal, with_floors
from opsconsole.core.place import RESUMING_ENGINE
from opsconsole.core.steps import Drain, Plan, Rollout, Step, Stop, Undrain
from opsconsole.core.targets import busy, in_flight_text, named, ready_names, unreachable, workers_meant


def plan_drain(fleet: Fleet, intent: Drain, under_way: Collection[Step]) -> Plan:
    title = "drain " + " ".join(intent.targets)
    workers, refusal = workers_meant(fleet, intent.targets)
    if refusal:
        return Plan(intent, title, refusal=refusal)
    if found := busy(workers, under_way):
        return Plan(intent, title, refusal=found, conflict=True)
    leaving = {worker.name for worker in workers}
    refusal = unreachable(fleet, workers) or minimum_refusal(fleet, leaving) or _cannot_move(fleet, intent, workers)
    refusal = refusal or _too_many_out(fleet, workers)
    if refusal:
        return Plan(intent, title, refusal=refusal)
    steps = _in_turns(fleet, workers, intent)
    checks = [f"{worker.name} answers, {in_flight_text(worker)}" for worker in workers]
    if any(step.after for step in steps):
        checks.append(f"never more than {fleet.roster.policy.max_unavailable} workers of a model out at once (max_unavailable)")
    models = sorted({worker.model for worker in workers})
    warnings = [f"{model} has no ready worker left" for model in models if not left_ready(fleet, model, leaving)]
    return Plan(intent, title, steps, tuple(checks), tuple(warnings), changes_of(fleet, steps))


def _too_many_out(fleet: Fleet, workers: Sequence[Worker]) -> str:
    """Why not even one of a model's workers may go out now."""
    leaving = {worker.name for worker in workers}
    first = {worker.model: worker.name for worker in reversed(workers) if worker.state == "READY"}
    return next((refusal for model in sorted(first)
                 if (refusal := out_refusal(fleet, model, {first[model]}, out_names(fleet, model) - leaving))), "")


def _in_turns(fleet: Fleet, workers: Sequence[Worker], intent: Drain) -> tuple[Step, ...]:
    """A step for each worker; of a model as many at once as the policy allows, each of the others after one of those before it. Workers
    that are out already come first: those that serve wait for them."""
    names = {worker.name for worker in workers}
    turns: dict[str, list[int]] = {}
    steps: list[Step] = []
    for worker in sorted(workers, key=lambda worker: worker.state == "READY"):
        before, after = turns.setdefault(worker.model, []), ()
        if worker.state == "READY":
            at_once = max(fleet.roster.policy.max_unavailable - len(out_names(fleet, worker.model) - names), 1)
            after = (before[-at_once],) if len(before) >= at_once else ()
        if worker.state in ("READY", *OUT):
            before.append(len(steps))
        steps.append(drain_step(worker, intent, after))
    return with_floors(fleet, steps)


def left_ready(fleet: Fleet, model: str, leaving: Collection[str]) -> int:
    return sum(name not in leaving for name in ready_names(fleet, model))


def drain_step(worker: Worker, intent: Drain | Rollout, after: Sequence[int] = (), why: str = "") -> Step:
    """The step that drains and stops a worker; what it was goes with the order, so that it can be taken back when nobody else
    remembers. why: said behind it."""
    order = {
        "op": "drain", "worker": worker.name, "deadline_s": intent.deadline_s, "on_deadline": intent.on_deadline,
        "was": {"model": worker.model, "gpus": list(worker.gpus), "checkpoint": worker.checkpoint, "state": worker.state},
    }
    return Step(f"drain {worker.name} on {worker.node}, then stop it{why}", worker.node, worker.name, order, tuple(after))


def _cannot_move(fleet: Fleet, intent: Drain, workers: Sequence[Worker]) -> str:
    """Why requests could not go on elsewhere, where that is asked for."""
    if intent.on_deadline != "migrate":
        return ""
    leaving = {worker.name for worker in workers}
    for worker in workers:
        if refusal := migrate_refusal(fleet, worker):
            return refusal
        others = [other for other in fleet.workers_of_model[worker.model] if other.state == "READY" and other.name not in leaving]
        if not any(other.checkpoint == worker.checkpoint for other in others):
            of_it = f" of {worker.checkpoint}" if others else ""
            return f"{worker.model} has no other ready worker{of_it} that could go on with the requests of {worker.name}"
    return ""


def migrate_refusal(fleet: Fleet, worker: Worker) -> str:
    """Why what a worker has in flight could not go on in another one; "" when it could."""
    if not fleet.roster.moves_streams:
        return "--on-deadline migrate needs the gateway: the router of the fleet file cannot move what has begun"
    if not fleet.router_queue:
        return "--on-deadline migrate needs the gateway: " + (fleet.router_cause or "the fleet file names no router")
    if worker.engine != RESUMING_ENGINE:
        return f"{worker.name} is a {worker.engine} worker: only {RESUMING_ENGINE} workers can go on with each other's requests"
    return ""


def plan_undrain(fleet: Fleet, intent: Undrain, under_way: Collection[Step]) -> Plan:
    title = "undrain " + " ".join(intent.targets)
    workers, refusal = workers_meant(fleet, intent.targets)
    draining = [worker for worker in workers if worker.state in ("DRAINING", "DRAINED")]
    # A drain lets go of its worker when asked; nothing else does.
    if found := busy(draining, [step for step in under_way if step.order.get("op") != "drain"]):
        return Plan(intent, title, refusal=found, conflict=True)
    refusal = refusal or unreachable(fleet, draining)
    if not refusal and not draining:
        refusal = "no worker of " + " ".join(intent.targets) + " is draining"
    if refusal:
        return Plan(intent, title, refusal=refusal)
    steps = tuple(undrain_step(worker) for worker in draining)
    return Plan(intent, title, steps, changes=changes_of(fleet, steps))


def undrain_step(worker: Worker) -> Step:
    order = {"op": "undrain", "worker": worker.name, "was": {"model": worker.model, "state": worker.state}}
    return Step(f"let {worker.name} on {worker.node} take requests again", worker.node, worker.name, order)


def plan_stop(fleet: Fleet, intent: Stop, under_way: Collection[Step]) -> Plan:
    """Only what has nothing in flight; a worker that is ready and idle counts against its model's minimum as in a drain."""
    title = "stop " + " ".join(intent.targets)
    workers, refusal = workers_meant(fleet, intent.targets, gone_too=True)
    workers = [worker for worker in workers if worker.state != "STOPPED"]
    if not refusal and not workers:
        refusal = "no worker of " + " ".join(intent.targets) + " is there to stop"
    if refusal:
        return Plan(intent, title, refusal=refusal)
    if found := busy(workers, under_way):
        return Plan(intent, title, refusal=found, conflict=True)
    steps = tuple(stop_step(worker) for worker in workers)
    refusal = unreachable(fleet, workers) or _held(workers) or _serving(fleet, workers) or plan_refusal(fleet, steps)
    if refusal:
        return Plan(intent, title, refusal=refusal)
    checks = tuple(f"{worker.name} is {worker.state} and has nothing in flight" for worker in workers)
    leaving = {worker.name for worker in workers}
    models = sorted({worker.model for worker in workers if worker.state == "READY"})
    warnings = tuple(f"{model} has no ready worker left" for model in models if not left_ready(fleet, model, leaving))
    return Plan(intent, title, steps, checks, warnings, changes_of(fleet, steps))


def _held(workers: Sequence[Worker]) -> str:
    """Why some of these must not be stopped, with what they hold."""
    held = [worker for worker in workers if busy_refusal(worker)]
    if len(held) <= 1:
        return busy_refusal(held[0]) if held else ""
    return (f"{len(held)} of {len(workers)} workers have requests in flight: "
            f"{named([f'{worker.name} ({in_flight_text(worker)})' for worker in held])}; drain them instead")


def _serving(fleet: Fleet, workers: Sequence[Worker]) -> str:
    """Why ready workers among these must not go at once."""
    ready = Counter(worker.model for worker in workers if worker.state == "READY")
    names = {worker.name for worker in workers}
    return next((refusal for model in sorted(ready) if (refusal := out_refusal(fleet, model, names))), "")


def stop_step(worker: Worker, after: Sequence[int] = ()) -> Step:
    order = {
        "op": "stop", "worker": worker.name,
        "was": {"model": worker.model, "gpus": list(worker.gpus), "checkpoint": worker.checkpoint, "state": worker.state},
    }
    told = "is idle" if worker.state not in IDLE else f"is {worker.state}"
    return Step(f"stop {worker.name} on {worker.node}, which {told}", worker.node, worker.name, order, tuple(after))
