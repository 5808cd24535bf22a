"""What should be done: an intent and the fleet give a plan, or a refusal with the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from opsconsole.core.fleet import LIVE, REACH_WORDS, Fleet, Model, Worker
from opsconsole.core.guards import minimum_refusal, out_at_once, power_refusal
from opsconsole.core.place import GONE, RESUMING_ENGINE, free_gpus, place
from opsconsole.core.steps import Change, Drain, Intent, Launch, Plan, Step, Undrain


def make_plan(fleet: Fleet, intent: Intent, under_way: Collection[Step] = ()) -> Plan:
    """The plan for an intent. under_way: steps of runs that have not ended; their workers and GPUs are not free for others."""
    if isinstance(intent, Launch):
        return _launch(fleet, intent, under_way)
    if isinstance(intent, Undrain):
        return _undrain(fleet, intent, under_way)
    return _drain(fleet, intent, under_way)


def confirmed_plan(fleet: Fleet, intent: Intent, shown: Collection[str], under_way: Collection[Step] = ()) -> Plan:
    """The plan against the newest fleet, refused when its steps are not those that the operator was shown and said yes to."""
    plan = make_plan(fleet, intent, under_way)
    if plan.refusal or [step.text for step in plan.steps] == list(shown):
        return plan
    return replace(plan, steps=(), refusal="the fleet has changed since this plan was shown; make it again", conflict=True)


def _launch(fleet: Fleet, intent: Launch, under_way: Collection[Step]) -> Plan:
    title = f"launch {intent.count} x {intent.model}" + (f" on {intent.node}" if intent.node else "")
    model = next((model for model in fleet.roster.models if model.name == intent.model), None)
    if model is None:
        known = ", ".join(model.name for model in fleet.roster.models) or "none"
        return Plan(intent, title, refusal=f"there is no model {intent.model!r} in the fleet file; known: {known}")
    promised = frozenset((step.node, gpu) for step in under_way for gpu in step.order.get("gpus", ()))
    places = _chosen(fleet, model, intent, promised) if intent.node else place(fleet, model, intent.count, promised)
    if isinstance(places, str):
        return Plan(intent, title, refusal=places)
    if len(places) < intent.count:
        live = [row for row in range(len(fleet.roster.nodes)) if fleet.reach[row] == LIVE]
        free = sum(len(free_gpus(fleet, row, promised, model.gpu_share)) for row in live)
        return Plan(intent, title, refusal=(
            f"{intent.count} workers of {model.name} need {intent.count * model.gpus} free GPUs ({model.gpus} on one node each); "
            f"the nodes that answer have {free} free and room for {len(places)}"))
    names = _new_names(fleet, model.name, len(places), {step.worker for step in under_way})
    steps = tuple(_launch_step(model, name, node, gpus) for name, (node, gpus) in zip(names, places, strict=True))
    refusal = power_refusal(fleet, (*steps, *under_way))
    if refusal:
        return Plan(intent, title, refusal=refusal)
    ready = _ready(fleet, model.name)
    checks = tuple(f"{step.node} answers and its GPU {_gpus_text(step.order['gpus'])} is free" for step in steps)
    change = Change(f"ready workers of {model.name}", str(ready), str(ready), str(ready + len(steps)))
    return Plan(intent, title, steps, checks, changes=(change,))


def _chosen(fleet: Fleet, model: Model, intent: Launch, promised: frozenset[tuple[str, int]]) -> list[tuple[str, tuple[int, ...]]] | str:
    """Places on the node that the operator named, or why there are none."""
    row = fleet.roster.node_row.get(intent.node)
    if row is None:
        return f"there is no node {intent.node!r} in the fleet file"
    if fleet.reach[row] != LIVE:
        return f"{intent.node} is {REACH_WORDS[fleet.reach[row]]}: {fleet.cause[row] or 'nothing is known of it yet'}"
    free = free_gpus(fleet, row, promised, model.gpu_share)
    if intent.gpus:
        busy = sorted(Counter(intent.gpus) - Counter(free))
        if busy:
            return f"GPU {_gpus_text(busy)} of {intent.node} is taken, broken or does not exist; free: {_gpus_text(free) or 'none'}"
        if len(intent.gpus) != model.gpus * intent.count:
            return f"{intent.count} x {model.name} takes {model.gpus * intent.count} GPUs, --gpu names {len(intent.gpus)}"
        free = list(intent.gpus)
    need = model.gpus * intent.count
    if len(free) < need:
        return f"{intent.count} x {model.name} needs {need} GPUs on {intent.node}, free there: {len(free)}"
    return [(intent.node, tuple(free[number * model.gpus:(number + 1) * model.gpus])) for number in range(intent.count)]


def _launch_step(model: Model, name: str, node: str, gpus: tuple[int, ...]) -> Step:
    order = {
        "op": "launch", "worker": name, "model": model.name, "engine": model.engine, "checkpoint": model.checkpoint,
        "gpus": list(gpus), "slots": model.slots, "max_len": model.max_len, "port": 0,
    } | ({"gpu_share": model.gpu_share} if model.gpu_share < 1 else {})
    return Step(f"start {name} on {node}, GPU {_gpus_text(gpus)}", node, name, order)


def _new_names(fleet: Fleet, model: str, count: int, meant: set[str]) -> list[str]:
    """Names that no worker bears, nor will: MODEL-1, MODEL-2, ..."""
    used = {worker.name for worker in fleet.workers} | meant
    names, number = [], 0
    while len(names) < count:
        number += 1
        if f"{model}-{number}" not in used:
            names.append(f"{model}-{number}")
    return names


def _drain(fleet: Fleet, intent: Drain, under_way: Collection[Step]) -> Plan:
    title = "drain " + " ".join(intent.targets)
    workers, refusal = _targets(fleet, intent.targets)
    if refusal:
        return Plan(intent, title, refusal=refusal)
    if busy := _busy(workers, under_way):
        return Plan(intent, title, refusal=busy, conflict=True)
    names = {worker.name for worker in workers}
    refusal = _unreachable(fleet, workers) or minimum_refusal(fleet, names) or _cannot_move(fleet, intent, workers)
    if refusal:
        return Plan(intent, title, refusal=refusal)
    steps = tuple(_drain_step(worker, intent) for worker in workers)
    changes = []
    for model in sorted({worker.model for worker in workers}):
        ready = _ready(fleet, model)
        leaving = sum(worker.model == model and worker.state == "READY" for worker in workers)
        changes.append(Change(f"ready workers of {model}", str(ready), str(ready - leaving), str(ready - leaving)))
    checks = tuple(f"{worker.name} answers, {_in_flight_text(worker)}" for worker in workers)
    warnings = [f"{model} has no ready worker left" for model in sorted({w.model for w in workers}) if not _left(fleet, model, workers)]
    warnings += out_at_once(fleet, [worker for worker in workers if worker.state == "READY"])
    return Plan(intent, title, steps, checks, tuple(warnings), tuple(changes))


def _undrain(fleet: Fleet, intent: Undrain, under_way: Collection[Step]) -> Plan:
    title = "undrain " + " ".join(intent.targets)
    workers, refusal = _targets(fleet, intent.targets)
    draining = [worker for worker in workers if worker.state in ("DRAINING", "DRAINED")]
    # A drain lets go of its worker when asked; nothing else does.
    if busy := _busy(draining, [step for step in under_way if step.order.get("op") != "drain"]):
        return Plan(intent, title, refusal=busy, conflict=True)
    refusal = refusal or _unreachable(fleet, draining)
    if not refusal and not draining:
        refusal = "no worker of " + " ".join(intent.targets) + " is draining"
    if refusal:
        return Plan(intent, title, refusal=refusal)
    steps = tuple(
        Step(f"let {worker.name} on {worker.node} take requests again", worker.node, worker.name, {"op": "undrain", "worker": worker.name})
        for worker in draining
    )
    changes = tuple(
        Change(f"ready workers of {model}", str(now := _ready(fleet, model)), str(now), str(now + sum(w.model == model for w in draining)))
        for model in sorted({worker.model for worker in draining})
    )
    return Plan(intent, title, steps, changes=changes)


def _targets(fleet: Fleet, names: tuple[str, ...]) -> tuple[list[Worker], str]:
    """The workers meant by worker and node names, each once; or why a name means nothing."""
    by_name = {worker.name: worker for worker in fleet.workers}
    found: dict[str, Worker] = {}
    for name in names:
        here = [by_name[name]] if name in by_name else list(fleet.workers_of_node.get(name, ()))
        here = [worker for worker in here if worker.state not in GONE]
        if not here and name not in fleet.roster.node_row and name not in by_name:
            return [], f"there is no worker and no node {name!r}"
        if not here:
            return [], f"{name} has no worker to drain"
        found.update((worker.name, worker) for worker in here)
    return list(found.values()), ""


def _busy(workers: list[Worker], under_way: Collection[Step]) -> str:
    names = {step.worker for step in under_way}
    return next((f"another run is at work on {worker.name}" for worker in workers if worker.name in names), "")


def _unreachable(fleet: Fleet, workers: list[Worker]) -> str:
    for worker in workers:
        row = fleet.roster.node_row[worker.node]
        if fleet.reach[row] != LIVE:
            return f"{worker.node} is {REACH_WORDS[fleet.reach[row]]}, so what {worker.name} has in flight is unknown"
    return ""


def _cannot_move(fleet: Fleet, intent: Drain, workers: list[Worker]) -> str:
    """Why requests could not go on elsewhere, where that is asked for."""
    if intent.on_deadline != "migrate":
        return ""
    if not fleet.router_queue:
        return "--on-deadline migrate needs the gateway: " + (fleet.router_cause or "the fleet file names no router")
    for worker in workers:
        if worker.engine != RESUMING_ENGINE:
            return f"{worker.name} is a {worker.engine} worker: only {RESUMING_ENGINE} workers can go on with each other's requests"
        if not _left(fleet, worker.model, workers):
            return f"{worker.model} has no other ready worker that could go on with the requests of {worker.name}"
    return ""


def _drain_step(worker: Worker, intent: Drain) -> Step:
    order = {"op": "drain", "worker": worker.name, "deadline_s": intent.deadline_s, "on_deadline": intent.on_deadline}
    return Step(f"drain {worker.name} on {worker.node}, then stop it", worker.node, worker.name, order)


def _ready(fleet: Fleet, model: str) -> int:
    return sum(worker.state == "READY" for worker in fleet.workers_of_model.get(model, ()))


def _left(fleet: Fleet, model: str, leaving: list[Worker]) -> int:
    names = {worker.name for worker in leaving}
    return sum(worker.state == "READY" and worker.name not in names for worker in fleet.workers_of_model.get(model, ()))


def _in_flight_text(worker: Worker) -> str:
    return "in flight unknown" if worker.in_flight is None else f"{worker.in_flight:.0f} in flight"


def _gpus_text(gpus: Collection[int]) -> str:
    return ",".join(str(gpu) for gpu in gpus)
