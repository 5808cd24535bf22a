"""Which GPUs a worker may take: those with memory left on nodes that answer, are not cordoned and promise it to nobody else."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from opsconsole.core.fleet import LIVE, Fleet, Model
from opsconsole.core.steps import Step

GONE = ("STOPPED", "FAILED")
"""States in which a worker holds no GPU."""
FREE_BELOW_SHARE = 0.10
"""A GPU with more of its memory in use than its workers are meant to take is used by somebody we do not know."""
WHOLE = 1e-6
"""Shares that add up to 1 but for rounding fill a GPU exactly."""

Promised = Mapping[tuple[str, int], float]
"""Shares of GPUs that are meant for workers which are not there yet, by (node, index)."""


def promised_by(fleet: Fleet, steps: Collection[Step]) -> dict[tuple[str, int], float]:
    """The shares of GPUs that launches take whose workers are not there yet; those of the others count as taken already."""
    there = {worker.name for worker in fleet.workers if worker.state not in GONE}
    promised: dict[tuple[str, int], float] = {}
    for step in steps:
        if step.order.get("op") == "launch" and step.worker not in there:
            for gpu in step.order.get("gpus", ()):
                promised[step.node, gpu] = promised.get((step.node, gpu), 0.0) + step.order.get("gpu_share", 1.0)
    return promised


def room_of_gpus(fleet: Fleet, promised: Promised, leaving: Collection[str] = ()) -> np.ndarray:
    """Share of each GPU's memory that a new worker may take, (G,), 0 where it may not. leaving: workers that will be gone by then.

    Memory in use that is not known does not forbid.
    """
    taken, freed = _shares_taken(fleet, leaving)
    used = np.divide(fleet.gpu("mem_used_mib"), fleet.roster.gpu_fact("mem_total_mib"))
    room = 1.0 - taken + freed
    for key, share in promised.items():
        if key in fleet.roster.gpu_row:
            room[fleet.roster.gpu_row[key]] -= share
    open_nodes = fleet.reach == LIVE
    open_nodes[list(fleet.cordons)] = False
    usable = open_nodes[fleet.roster.gpu_node] & ~(used > taken + FREE_BELOW_SHARE)
    usable[list(fleet.gpu_errors)] = False
    return np.where(usable, np.maximum(room, 0.0), 0.0)


def _shares_taken(fleet: Fleet, leaving: Collection[str]) -> tuple[np.ndarray, np.ndarray]:
    """How much of each GPU's memory is meant for workers that are there, and how much of it for those that leave, both (G,). A worker
    of a model that we do not know takes its GPUs whole."""
    share_of = {model.name: model.gpu_share for model in fleet.roster.models}
    rows = fleet.roster.gpu_row
    taken, freed = np.zeros(len(fleet.roster.gpu_uuid)), np.zeros(len(fleet.roster.gpu_uuid))
    for worker in fleet.workers:
        if worker.state in GONE:
            continue
        for gpu in worker.gpus:
            row = rows.get((worker.node, gpu))
            if row is not None:
                taken[row] += share_of.get(worker.model, 1.0)
                freed[row] += share_of.get(worker.model, 1.0) if worker.name in leaving else 0.0
    return taken, freed


def free_gpus(fleet: Fleet, row: int, room: np.ndarray, share: float = 1.0) -> list[int]:
    """Indexes on a node of the GPUs that a worker may take; one with room for several workers of that share comes as often, after the
    others."""
    gpus = fleet.roster.gpus_of(row)
    copies = np.floor(room[gpus] / share + WHOLE).astype(int).tolist()
    indexes = fleet.roster.gpu_index[gpus].tolist()
    return [index for copy in range(max(copies, default=0)) for index, most in zip(indexes, copies, strict=True) if most > copy]


def places_of_nodes(fleet: Fleet, model: Model, room: np.ndarray) -> np.ndarray:
    """How many workers of a model each node has room for, (N,) int."""
    copies = np.floor(room / model.gpu_share + WHOLE)
    free = np.bincount(fleet.roster.gpu_node, weights=copies, minlength=len(fleet.roster.nodes))
    return (free // max(model.gpus, 1)).astype(int)
