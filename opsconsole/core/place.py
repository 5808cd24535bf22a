"""Where a worker fits: GPUs that are free, whole and on a node that answers."""

from __future__ import annotations

import numpy as np

from opsconsole.core.fleet import LIVE, Fleet, Model

RESUMING_ENGINE = "jax"
"""Workers of this engine can go on with an answer that another of them began."""
GONE = ("STOPPED", "FAILED")
"""States in which a worker holds no GPU."""
FREE_BELOW_SHARE = 0.10
"""A GPU with more of its memory in use is taken by somebody we do not know."""


def free_gpus(fleet: Fleet, row: int, promised: frozenset[tuple[str, int]] = frozenset(), share: float = 1.0) -> list[int]:
    """Indexes on node `row` of the GPUs that a worker may take; one with room for several workers of that `share` comes as often,
    after the others. promised: (node, gpu) already meant for others."""
    name, gpus = fleet.roster.nodes[row].name, fleet.roster.gpus_of(row)
    taken = _shares_taken(fleet, name)
    room = {}
    for gpu in range(gpus.start, gpus.stop):
        index = int(fleet.roster.gpu_index[gpu])
        used = fleet.gpu("mem_used_mib")[gpu] / fleet.roster.gpu_fact("mem_total_mib")[gpu]
        busy = (name, index) in promised or gpu in fleet.gpu_errors
        if not busy and not used > taken.get(index, 0.0) + FREE_BELOW_SHARE:  # NaN: unknown use does not forbid
            room[index] = int((1.0 - taken.get(index, 0.0)) / share + 1e-6)
    return [index for copy in range(max(room.values(), default=0)) for index, copies in room.items() if copies > copy]


def _shares_taken(fleet: Fleet, node: str) -> dict[int, float]:
    """How much of each GPU's memory is meant for workers that are there; a worker of a model we do not know takes it whole."""
    share_of = {model.name: model.gpu_share for model in fleet.roster.models}
    taken: dict[int, float] = {}
    for worker in fleet.workers_of_node.get(node, ()):
        if worker.state not in GONE:
            for gpu in worker.gpus:
                taken[gpu] = taken.get(gpu, 0.0) + share_of.get(worker.model, 1.0)
    return taken


def place(fleet: Fleet, model: Model, count: int, promised: frozenset[tuple[str, int]] = frozenset()) -> list[tuple[str, tuple[int, ...]]]:
    """Up to `count` places (node, GPUs) for workers of a model: spread over nodes, emptiest first. Shorter when there is no more room."""
    rows = np.flatnonzero(fleet.reach == LIVE)
    room = {int(row): free_gpus(fleet, int(row), promised, model.gpu_share) for row in rows}
    here = {row: _workers_here(fleet, row, model.name) for row in room}
    places: list[tuple[str, tuple[int, ...]]] = []
    while len(places) < count:
        fitting = [row for row in room if len(room[row]) >= max(model.gpus, 1)]
        if not fitting:
            break
        row = min(fitting, key=lambda row: (here[row], -len(room[row]), row))
        gpus, room[row] = tuple(room[row][: model.gpus]), room[row][model.gpus:]
        here[row] += 1
        places.append((fleet.roster.nodes[row].name, gpus))
    return places


def _workers_here(fleet: Fleet, row: int, model: str) -> int:
    workers = fleet.workers_of_node.get(fleet.roster.nodes[row].name, ())
    return sum(worker.model == model and worker.state not in GONE for worker in workers)
