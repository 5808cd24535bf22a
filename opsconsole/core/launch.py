"""The plan of a launch: places that placement chose or the operator named, and a step for each worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from opsconsole.core.effects import changes_of
from opsconsole.core.fleet import Fleet, Model
from opsconsole.core.guards import cordon_text, engine_refusal, plan_refusal
from opsconsole.core.place import Place, place
from opsconsole.core.room import free_gpus, places_of_nodes, promised_by, room_of_gpus
from opsconsole.core.steps import Launch, Plan, Step
from opsconsole.core.targets import gpus_text, model_meant, silent_refusal

COUNT_LIMIT = 1000
"""More workers are not started by one plan."""


def plan_launch(fleet: Fleet, intent: Launch, under_way: Collection[Step]) -> Plan:
    title = f"launch {intent.count} x {intent.model}" + (f" on {intent.node}" if intent.node else "")
    model, refusal = model_meant(fleet, intent.model)
    if model is None:
        return Plan(intent, title, refusal=refusal)
    if not 1 <= intent.count <= COUNT_LIMIT:
        return Plan(intent, title, refusal=f"a plan starts 1 to {COUNT_LIMIT} workers, not {intent.count}")
    if refusal := engine_refusal(fleet, model.name, model.engine):
        return Plan(intent, title, refusal=refusal)
    promised = promised_by(fleet, under_way)
    places = _chosen(fleet, model, intent, promised) if intent.node else place(fleet, model, intent.count, promised, meant=under_way)
    if isinstance(places, str):
        return Plan(intent, title, refusal=places)
    if len(places) < intent.count:
        return Plan(intent, title, refusal=_too_few(fleet, model, intent, promised))
    names = new_names(fleet, model.name, len(places), {step.worker for step in under_way})
    steps = tuple(launch_step(model, name, where) for name, where in zip(names, places, strict=True))
    if refusal := plan_refusal(fleet, steps, under_way):
        return Plan(intent, title, refusal=refusal)
    checks = tuple(f"{step.node} answers and its GPU {gpus_text(step.order['gpus'])} is free" for step in steps)
    return Plan(intent, title, steps, checks, changes=changes_of(fleet, steps))


def _too_few(fleet: Fleet, model: Model, intent: Launch, promised: dict[tuple[str, int], float]) -> str:
    room = room_of_gpus(fleet, promised)
    fits = int(places_of_nodes(fleet, model, room).sum())
    free = sum(len(free_gpus(fleet, row, room, model.gpu_share)) for row in range(len(fleet.roster.nodes)))
    cordoned = f"; {len(fleet.cordons)} nodes are cordoned" if fleet.cordons else ""
    return (f"{intent.count} workers of {model.name} need {intent.count * model.gpus} free GPUs ({model.gpus} on one node each); "
            f"the nodes that answer have {free} free and room for {fits}{cordoned}")


def _chosen(fleet: Fleet, model: Model, intent: Launch, promised: dict[tuple[str, int], float]) -> list[Place] | str:
    """Places on the node that the operator named, or why there are none."""
    row = fleet.roster.node_row.get(intent.node)
    if row is None:
        return f"there is no node {intent.node!r} in the fleet file"
    if refusal := silent_refusal(fleet, row):
        return refusal
    if row in fleet.cordons:
        return cordon_text(fleet, row)
    free = free_gpus(fleet, row, room_of_gpus(fleet, promised), model.gpu_share)
    need = model.gpus * intent.count
    if intent.gpus:
        busy = sorted(Counter(intent.gpus) - Counter(free))
        if busy:
            return f"GPU {gpus_text(busy)} of {intent.node} is taken, broken or does not exist; free: {gpus_text(free) or 'none'}"
        if len(intent.gpus) != need:
            return f"{intent.count} x {model.name} takes {need} GPUs, --gpu names {len(intent.gpus)}"
        free = list(intent.gpus)
    if len(free) < need:
        return f"{intent.count} x {model.name} needs {need} GPUs on {intent.node}, free there: {len(free)}"
    return [Place(intent.node, tuple(free[number * model.gpus:(number + 1) * model.gpus])) for number in range(intent.count)]


def launch_step(model: Model, name: str, where: Place, why: str = "", after: Sequence[int] = ()) -> Step:
    """The step that starts a worker. why: said behind it."""
    order = {
        "op": "launch", "worker": name, "model": model.name, "engine": model.engine, "checkpoint": model.checkpoint,
        "gpus": list(where.gpus), "slots": model.slots, "max_len": model.max_len, "port": 0,
    } | ({"gpu_share": model.gpu_share} if model.gpu_share < 1 else {})
    return Step(f"start {name} on {where.node}, GPU {gpus_text(where.gpus)}{why}", where.node, name, order, tuple(after))


def new_names(fleet: Fleet, model: str, count: int, meant: Collection[str]) -> list[str]:
    """Names that no worker bears, nor will: MODEL-1, MODEL-2, ..."""
    used = {worker.name for worker in fleet.workers} | set(meant)
    names, number = [], 0
    while len(names) < count:
        number += 1
        if f"{model}-{number}" not in used:
            names.append(f"{model}-{number}")
    return names
