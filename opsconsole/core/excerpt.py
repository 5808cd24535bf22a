"""A part of the fleet that may leave the house: some of its nodes only, without addresses, secrets and, if asked, people."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import fields, replace

import msgspec
import numpy as np

from opsconsole.core.fleet import Fleet, NodeFacts, Roster, Worker
from opsconsole.core.scrub import REDACTED, Scrubber


def of_nodes(fleet: Fleet, names: Collection[str]) -> Fleet:
    """The fleet as if it had the named nodes only. Its trend and router stay those of the whole: they belong to no node."""
    rows = [row for row, node in enumerate(fleet.roster.nodes) if node.name in names]
    gpus = np.flatnonzero(np.isin(fleet.roster.gpu_node, rows))
    place_of = {row: place for place, row in enumerate(rows)}
    gpu_place = {int(gpu): place for place, gpu in enumerate(gpus.tolist())}
    return replace(
        fleet, roster=_roster_of(fleet.roster, rows, gpus), reach=fleet.reach[rows], cause=tuple(fleet.cause[row] for row in rows),
        sampled_mono=fleet.sampled_mono[rows], clock_offset_s=fleet.clock_offset_s[rows],
        node_values=fleet.node_values[:, rows], gpu_values=fleet.gpu_values[:, gpus],
        gpu_errors={gpu_place[gpu]: text for gpu, text in fleet.gpu_errors.items() if gpu in gpu_place},
        workers=tuple(worker for worker in fleet.workers if worker.node in names),
        processes={place_of[row]: found for row, found in fleet.processes.items() if row in place_of},
        cordons={place_of[row]: cordon for row, cordon in fleet.cordons.items() if row in place_of},
        alarms=tuple(alarm for alarm in fleet.alarms if alarm.node in names or not alarm.node),
    )


def _roster_of(roster: Roster, rows: list[int], gpus: np.ndarray) -> Roster:
    counts = np.diff(roster.gpu_start)[rows]
    return replace(
        roster, nodes=tuple(roster.nodes[row] for row in rows), gpu_start=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        gpu_uuid=tuple(roster.gpu_uuid[gpu] for gpu in gpus.tolist()), gpu_name=tuple(roster.gpu_name[gpu] for gpu in gpus.tolist()),
        gpu_index=roster.gpu_index[gpus], gpu_facts=roster.gpu_facts[:, gpus],
    )


def scrubbed(fleet: Fleet, scrubber: Scrubber, roster: Roster | None = None) -> Fleet:
    """The fleet for a stranger. roster: the scrubbed one, where it has been made already (fleets share theirs)."""
    rest = {name: scrubber.value(getattr(fleet, name), name) for name in _WITH_WORDS}
    return replace(
        fleet, **rest, roster=scrubbed_roster(fleet.roster, scrubber) if roster is None else roster,
        workers=tuple(_worker(worker, scrubber.text) for worker in fleet.workers),
        processes={
            row: tuple(msgspec.structs.replace(process, name=_process(process.name, scrubber)) for process in found)
            for row, found in fleet.processes.items()
        },
    )


_WITH_WORDS = tuple(
    field.name for field in fields(Fleet)
    if field.name not in ("roster", "workers", "processes", "model_queue_trend") and "ndarray" not in str(field.type)
)
"""All that may hold words of any kind, so that a field which Fleet gets later is scrubbed, too."""
_WHEREABOUTS = ("address", "hostname", "boot_id", "jump")


def scrubbed_roster(roster: Roster, scrubber: Scrubber) -> Roster:
    """Without the addresses, host names and boot ids of nodes; their names, sites and chips stay, or nothing could be told any more."""
    hidden = {field.name: "" for field in fields(NodeFacts) if field.name in _WHEREABOUTS}
    nodes = tuple(replace(node, **hidden, gpu_error=scrubber.text(node.gpu_error)) for node in roster.nodes)
    return replace(
        roster, nodes=nodes, models=tuple(replace(model, checkpoint=scrubber.text(model.checkpoint)) for model in roster.models),
    )


def _worker(worker: Worker, text: Callable[[str], str]) -> Worker:
    """Mostly the very same: there are thousands a second, and few of them say anything in words."""
    reason, checkpoint = text(worker.reason), text(worker.checkpoint)
    if reason == worker.reason and checkpoint == worker.checkpoint:
        return worker
    return msgspec.structs.replace(worker, reason=reason, checkpoint=checkpoint)


def _process(name: str, scrubber: Scrubber) -> str:
    """The name of a program may hold a home directory."""
    return REDACTED if scrubber.hides_people else scrubber.text(name)
