"""What an action must not break: power, GPUs promised once, a model's minimum, and how many of its workers may be out at once.

A plan is checked at each of its moments; a step of a confirmed plan once more, against the newest fleet, before its order leaves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from opsconsole.core.fleet import LIVE, REACH_WORDS, Fleet, Model, Worker
from opsconsole.core.moments import Moment, moment_of_each, moments
from opsconsole.core.power import added_w, over_budget, power_refusal, rises_w
from opsconsole.core.room import free_gpus, promised_by, room_of_gpus
from opsconsole.core.steps import Step
from opsconsole.core.targets import gpus_text, ready_names

OUT = ("DRAINING", "NOT_READY")
"""States in which a worker counts as out, though it will or should be back."""
LEAVING = ("drain", "stop")
"""Orders after which a worker serves no more."""
IDLE = ("DRAINED", "FAILED")
"""States in which a worker has nothing in flight, whatever it last told."""


def minimum_refusal(fleet: Fleet, leaving: Collection[str]) -> str:
    """Why these workers must not leave: a model would have fewer ready ones than its minimum; "" when they may."""
    for model in fleet.roster.models:
        ready = ready_names(fleet, model.name)
        left = sum(name not in leaving for name in ready)
        if left < min(len(ready), model.min_ready):
            return _minimum_text(model, left, len(ready))
    return ""


def _minimum_text(model: Model, left: int, now: int) -> str:
    return f"{model.name} would have {left} ready workers, its minimum is {model.min_ready} (now {now}); launch one first"


def out_names(fleet: Fleet, model: str) -> set[str]:
    """Workers of a model that are out now."""
    return {worker.name for worker in fleet.workers_of_model.get(model, ()) if worker.state in OUT}


def out_refusal(fleet: Fleet, model: str, leaving: Collection[str], outside: Collection[str] | None = None) -> str:
    """Why these workers of a model must not be out at once; "" when they may. outside: others that are out then, those that are out now
    unless said."""
    others = sorted(out_names(fleet, model) - set(leaving) if outside is None else outside)
    new = set(leaving) & set(ready_names(fleet, model))
    limit = fleet.roster.policy.max_unavailable
    if not new or len(new) + len(others) <= limit:
        return ""
    more = f"; out already: {', '.join(others[:5])}" if others else ""
    return f"{len(new) + len(others)} workers of {model} would be out at once, max_unavailable is {limit}{more}"


def ready_at(fleet: Fleet, steps: Sequence[Step], moments: Sequence[Moment]) -> dict[Moment, Counter[str]]:
    """How many workers of each model are surely ready at each moment of a plan."""
    meant = {step.worker for step in steps}
    workers = {worker.name: worker for worker in fleet.workers if worker.name in meant}
    now = Counter({model: len(ready_names(fleet, model)) for model in fleet.workers_of_model})
    return {moment: _ready_then(steps, moment, workers, now.copy()) for moment in moments}


def _ready_then(steps: Sequence[Step], moment: Moment, workers: dict[str, Worker], ready: Counter[str]) -> Counter[str]:
    for number in moment.begun:
        step = steps[number]
        worker = workers.get(step.worker)
        if step.order["op"] in LEAVING and worker is not None and worker.state == "READY":
            ready[worker.model] -= 1
        elif step.order["op"] == "launch" and number in moment.ended:
            ready[step.order["model"]] += 1
        elif step.order["op"] == "undrain" and number in moment.ended and worker is not None:
            ready[worker.model] += 1
    return ready


def with_floors(fleet: Fleet, steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, each drain with how many ready workers of its model the plan promises to leave at that moment: the minimum where it is
    kept, and one where any is left. So a drain is not begun when what should have come instead has not."""
    workers, minima = {worker.name: worker for worker in fleet.workers}, {model.name: model.min_ready for model in fleet.roster.models}
    left = ready_at(fleet, steps, moments(steps))
    kept = []
    for step, moment in zip(steps, moment_of_each(steps), strict=True):
        if step.order["op"] == "drain" and step.worker in workers:
            model = workers[step.worker].model
            keep = max(min(left[moment][model], max(minima.get(model, 0), 1)), 0)
            step = replace(step, order={**step.order, "keep_ready": keep})
        kept.append(step)
    return tuple(kept)


def plan_refusal(fleet: Fleet, steps: Sequence[Step], under_way: Collection[Step] = ()) -> str:
    """Why a plan must not be, looked at in each of its moments: power of sites and racks, and the minimum of each model; "" when it may."""
    if not steps:
        return ""
    rises = rises_w(fleet)
    started = [step for step in under_way if step.order.get("op") == "launch"]
    now = {model.name: len(ready_names(fleet, model.name)) for model in fleet.roster.models}
    has_launch = any(step.order["op"] == "launch" for step in steps)
    ready_then = ready_at(fleet, steps, moments(steps))
    for moment, ready in ready_then.items():
        begun = [steps[number] for number in sorted(moment.begun)]
        refusal = over_budget(fleet, added_w(fleet, (*begun, *started), rises)) if has_launch else ""
        if refusal:
            return refusal
        for model in fleet.roster.models:
            if ready[model.name] < min(now[model.name], model.min_ready):
                return _minimum_text(model, ready[model.name], now[model.name])
    return ""


def step_refusal(fleet: Fleet, step: Step, under_way: Iterable[Step] = (), ended: Iterable[Step] = ()) -> str:
    """Why a step of a confirmed plan must not begin now, against the newest fleet; "" when it may.

    under_way: the other steps that have begun and not ended. ended: those of the same run that ended well: what they did counts even
    when the node's next sample has not shown it yet.
    """
    row = fleet.roster.node_row.get(step.node)
    if row is None:
        return f"{step.node} is no longer in the fleet file"
    if fleet.reach[row] != LIVE:
        return f"{step.node} is {REACH_WORDS[fleet.reach[row]]}"
    check = _CHECKS.get(step.order["op"])
    return check(fleet, row, step, list(under_way), list(ended)) if check else ""


def _launch_refusal(fleet: Fleet, row: int, step: Step, under_way: list[Step], ended: list[Step]) -> str:
    if row in fleet.cordons:
        return cordon_text(fleet, row)
    if step.order["engine"] not in fleet.roster.engines:
        return engine_refusal(fleet, step.order["model"], step.order["engine"])
    gone = {other.worker for other in ended if other.order["op"] in LEAVING}
    room = room_of_gpus(fleet, promised_by(fleet, under_way), gone)
    if gone:  # their memory may be in use in the last sample, though it was proven to be released
        own = {fleet.roster.gpu_row.get((worker.node, gpu)) for worker in fleet.workers if worker.name in gone for gpu in worker.gpus}
        room[sorted(own - {None} - set(fleet.gpu_errors))] = 1.0
    free = free_gpus(fleet, row, room, step.order.get("gpu_share", 1.0))
    busy = sorted(Counter(step.order["gpus"]) - Counter(free))
    if busy:
        return f"GPU {gpus_text(busy)} of {step.node} is no longer free; free: {gpus_text(free) or 'none'}"
    return power_refusal(fleet, (step, *under_way))


def _drain_refusal(fleet: Fleet, row: int, step: Step, under_way: list[Step], ended: list[Step]) -> str:
    worker = next((worker for worker in fleet.workers if worker.name == step.worker), None)
    if worker is None or worker.state != "READY":
        return ""  # it serves nobody now
    leaving = {other.worker for other in under_way if other.order["op"] in LEAVING}
    came = {other.worker for other in ended
            if other.order["op"] == "launch" and other.order["model"] == worker.model and _answers(fleet, other.node)}
    seen = {other.name: other.state for other in fleet.heard_workers_of_model.get(worker.model, ())}
    ready = {name for name, state in seen.items() if state == "READY"}
    ready |= {name for name in came if seen.get(name, "PENDING") in ("PENDING", "STARTING", "READY")}
    left = len(ready - leaving - {worker.name})
    minimum = next((model for model in fleet.roster.models if model.name == worker.model), Model(worker.model))
    # What a plan promised is the floor: a fleet that was below its minimum may be renewed one for one.
    floor = step.order.get("keep_ready", min(len(ready), minimum.min_ready))
    if left < floor and left < minimum.min_ready:
        return _minimum_text(minimum, left, len(ready))
    if left < floor:
        return f"{worker.model} would have {left} ready workers, the plan was to keep {floor}"
    outside = out_names(fleet, worker.model) | {name for name in leaving if seen.get(name) in ("READY", *OUT)}
    return out_refusal(fleet, worker.model, {worker.name}, outside - {worker.name})


def _answers(fleet: Fleet, node: str) -> bool:
    row = fleet.roster.node_row.get(node)
    return row is not None and bool(fleet.answering[row])


def _stop_refusal(fleet: Fleet, row: int, step: Step, under_way: list[Step], ended: list[Step]) -> str:
    worker = next((worker for worker in fleet.workers if worker.name == step.worker), None)
    if worker is None or worker.state in IDLE:
        return ""
    return busy_refusal(worker) or _drain_refusal(fleet, row, step, under_way, ended)


def _cap_refusal(fleet: Fleet, row: int, step: Step, under_way: list[Step], ended: list[Step]) -> str:
    return limit_refusal(fleet, row, step.order["gpus"], step.order["watts"])


_CHECKS = {"launch": _launch_refusal, "drain": _drain_refusal, "stop": _stop_refusal, "cap": _cap_refusal}


def busy_refusal(worker: Worker) -> str:
    """Why a worker must not be stopped: it has, or may have, something in flight; "" when it has nothing."""
    if worker.state in IDLE or worker.in_flight == 0:
        return ""
    held = "an unknown number of requests" if worker.in_flight is None else f"{worker.in_flight:.0f} requests"
    return f"{worker.name} has {held} in flight; drain it instead"


def limit_refusal(fleet: Fleet, row: int, gpus: Sequence[int], watts: float | None) -> str:
    """Why GPUs (by their row on the node) cannot be limited to so many W each; "" when they can."""
    span, node = fleet.roster.gpus_of(row), fleet.roster.nodes[row].name
    count = span.stop - span.start
    if not gpus:
        return f"{node} has no GPU whose power could be limited"
    if any(not 0 <= gpu < count for gpu in gpus):
        return f"{node} has {count} GPUs, the limit is for {gpus_text(gpus)}"
    if watts is None:
        return ""
    chosen = span.start + np.array(gpus)
    lowest, highest = fleet.roster.gpu_fact("power_min_w")[chosen], fleet.roster.gpu_fact("power_max_w")[chosen]
    if np.isnan(lowest).any() or np.isnan(highest).any():
        return f"the limits that GPUs of {node} can be set to are not known: its driver does not tell"
    if not lowest.max() <= watts <= highest.min():
        return f"GPUs of {node} can be limited to {lowest.max():.0f} to {highest.min():.0f} W each, not to {watts:.0f} W"
    return ""


def cordon_text(fleet: Fleet, row: int) -> str:
    """Why a node gets no new workers."""
    cordon, name = fleet.cordons[row], fleet.roster.nodes[row].name
    return f"{name} is cordoned by {cordon.actor or 'somebody'}: {cordon.reason or 'no reason given'}; opsconsole uncordon {name}"


def engine_refusal(fleet: Fleet, model: str, engine: str) -> str:
    """Why a model's workers cannot be started: no plugin for its engine; "" when there is one."""
    if engine in fleet.roster.engines:
        return ""
    known = ", ".join(fleet.roster.engines) or "none"
    return f"{model} needs the engine {engine!r}, for which no plugin is installed (opsconsole-{engine}); engines here: {known}"
