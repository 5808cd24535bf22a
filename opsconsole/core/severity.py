"""How bad things are and why: the order in which a person should look at nodes, and one sentence for each."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from opsconsole.core.fleet import CONNECTING, LIVE, NO_DRIVER, REACH_WORDS, STALE, Fleet, Worker
from opsconsole.core.totals import count_by_node, gpu_counts, in_flight_total
from opsconsole.protocol import THROTTLE_LIMITING, THROTTLE_REASONS

OK, WARNING, CRITICAL = range(3)

POWER_CAP = 0x4
"""A GPU at its power cap does what a capped fleet asks of it: told, but no warning."""
SLOWED = THROTTLE_LIMITING & ~POWER_CAP

XID_WORDS = {
    13: "graphics engine exception", 31: "memory page fault", 43: "reset channel, stopped processing", 45: "preemptive cleanup",
    48: "double-bit ECC error", 61: "microcontroller breakpoint", 62: "microcontroller halt", 63: "row remapping recorded",
    64: "row remapping failed", 74: "NVLink error", 79: "GPU has fallen off the bus", 92: "high single-bit ECC error rate",
    94: "contained ECC error", 95: "uncontained ECC error", 119: "GSP timeout", 120: "GSP error",
}
"""NVIDIA's Xid catalogue, the codes an operator meets."""
XID_CRITICAL = (48, 62, 63, 64, 74, 79, 94, 95, 119, 120)
"""Codes that concern hardware; the others are usually the application's: told, but no warning."""


@lru_cache(maxsize=2)
def severities(fleet: Fleet) -> np.ndarray:
    """Severity of each node, (N,) int, read-only: OK, WARNING or CRITICAL. Kept, because order, map and reasons all ask for it."""
    worst = np.full(len(fleet.roster.nodes), CRITICAL, np.int64)
    worst[(fleet.reach == LIVE) | (fleet.reach == CONNECTING)] = OK
    worst[fleet.reach == STALE] = WARNING
    worst[(fleet.reach == LIVE) & _has_cause(fleet)] = WARNING
    if fleet.gpu_values.shape[1]:
        answering = fleet.answering[fleet.roster.gpu_node]
        _raise(worst, fleet, answering & _slowed_gpus(fleet), WARNING)
        _raise(worst, fleet, answering & (fleet.gpu("ecc_uncorrected") > 0), WARNING)
        _raise(worst, fleet, answering & (np.isin(fleet.gpu("xid"), XID_CRITICAL) | _broken_gpus(fleet)), CRITICAL)
    for worker in fleet.workers:
        level = _WORKER_LEVELS.get(worker.state)
        if level is not None and (row := fleet.roster.node_row.get(worker.node)) is not None:
            worst[row] = max(worst[row], level)
    worst.flags.writeable = False
    return worst


_WORKER_LEVELS = {"FAILED": CRITICAL, "NOT_READY": WARNING}
_MOVING_STATES = frozenset(("PENDING", "STARTING", "DRAINING", "DRAINED", "STOPPING", "STOPPED"))


def _has_cause(fleet: Fleet) -> np.ndarray:
    return np.fromiter((cause != "" for cause in fleet.cause), bool, len(fleet.cause))


def _throttle(fleet: Fleet) -> np.ndarray:
    return np.nan_to_num(fleet.gpu("throttle")).astype(np.int64)


def _slowed_gpus(fleet: Fleet) -> np.ndarray:
    return (_throttle(fleet) & SLOWED) != 0


def _broken_gpus(fleet: Fleet) -> np.ndarray:
    broken = np.zeros(fleet.gpu_values.shape[1], bool)
    broken[[row for row in fleet.gpu_errors if row < len(broken)]] = True
    return broken


def _raise(worst: np.ndarray, fleet: Fleet, chosen: np.ndarray, level: int) -> None:
    hit = count_by_node(fleet.roster, chosen) > 0
    worst[hit] = np.maximum(worst[hit], level)


def severity_of_node(fleet: Fleet, row: int) -> int:
    """Severity of one node; for many, `severities` is cheaper."""
    return int(severities(fleet)[row])


def noteworthy(fleet: Fleet) -> np.ndarray:
    """Nodes for which `reason_of_node` has something to say, (N,) bool."""
    told = (fleet.reach != LIVE) | (severities(fleet) > OK)
    if fleet.gpu_values.shape[1]:
        told |= count_by_node(fleet.roster, ((_throttle(fleet) & THROTTLE_LIMITING) != 0) | ~np.isnan(fleet.gpu("xid"))) > 0
    moving = {worker.node for worker in fleet.workers if worker.state in _MOVING_STATES}
    told[[row for name in moving if (row := fleet.roster.node_row.get(name)) is not None]] = True
    return told


def worst_first(fleet: Fleet) -> list[int]:
    """Rows of nodes, worst first: by severity, then those that do not answer, then those with something under way, then as configured."""
    score = severities(fleet) * 4 + ~fleet.answering * 2 + noteworthy(fleet)
    return np.argsort(-score, kind="stable").tolist()


def reasons(fleet: Fleet) -> list[str]:
    """`reason_of_node` of every node."""
    return [reason_of_node(fleet, row) if told else "" for row, told in enumerate(noteworthy(fleet).tolist())]


def reason_of_node(fleet: Fleet, row: int) -> str:
    """Why a node deserves a look, the gravest first; "" when it is calm."""
    reach = int(fleet.reach[row])
    if not fleet.answering[row]:
        return fleet.cause[row] or _SILENCES.get(reach, REACH_WORDS[reach].lower().replace("_", " "))
    parts = [fleet.cause[row] or (reach == NO_DRIVER and (fleet.roster.nodes[row].gpu_error or "no NVIDIA driver answers"))]
    parts += [_errors(fleet, row), _xids(fleet, row), _ecc(fleet, row)]
    workers = fleet.workers_of_node.get(fleet.roster.nodes[row].name, ())
    parts += [*_worker_parts(workers), _throttled(fleet, row)]
    return "; ".join(part for part in parts if part)


_SILENCES = {CONNECTING: "connecting, no answer yet", STALE: "the last sample is late"}


def reason_of_gpu(fleet: Fleet, row: int) -> str:
    """Why a GPU (row of the roster) deserves a look; "" when it is calm."""
    parts = [fleet.gpu_errors.get(row, "")]
    xid, ecc = fleet.gpu("xid")[row], fleet.gpu("ecc_uncorrected")[row]
    if xid == xid:
        parts.append(xid_text(int(xid)))
    if ecc > 0:
        parts.append(f"{int(ecc)} uncorrected ECC errors")
    limits = throttle_words(fleet.gpu("throttle")[row], THROTTLE_LIMITING)
    if limits:
        parts.append("throttled: " + ", ".join(limits))
    return "; ".join(part for part in parts if part)


def gpu_reasons(fleet: Fleet) -> list[str]:
    """`reason_of_gpu` of every GPU; of one whose node does not answer, why it does not."""
    if not fleet.gpu_values.shape[1]:
        return []
    told = _broken_gpus(fleet) | ~np.isnan(fleet.gpu("xid")) | (fleet.gpu("ecc_uncorrected") > 0)
    told |= (_throttle(fleet) & THROTTLE_LIMITING) != 0
    nodes, answering = fleet.roster.gpu_node.tolist(), fleet.answering.tolist()
    silent = {row: reason_of_node(fleet, row) for row in np.flatnonzero(~fleet.answering).tolist()}
    return [
        silent[node] if not answering[node] else reason_of_gpu(fleet, row) if named else ""
        for row, (node, named) in enumerate(zip(nodes, told.tolist(), strict=True))
    ]


def throttle_words(mask: float | None, among: int = -1) -> list[str]:
    """NVML's reasons in a bit mask, as words; among: the bits that interest."""
    if mask is None or mask != mask:
        return []
    return [word for bit, word in THROTTLE_REASONS.items() if int(mask) & among & bit]


def xid_text(code: int) -> str:
    """An Xid with its meaning, where it is a known one."""
    return f"Xid {code} ({XID_WORDS[code]})" if code in XID_WORDS else f"Xid {code}"


def _errors(fleet: Fleet, row: int) -> str:
    gpus = fleet.roster.gpus_of(row)
    found = [(gpu, fleet.gpu_errors[gpu]) for gpu in range(gpus.start, gpus.stop) if gpu in fleet.gpu_errors] if fleet.gpu_errors else []
    if not found:
        return ""
    gpu, text = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"GPU {int(fleet.roster.gpu_index[gpu])}: {text}{more}"


def _xids(fleet: Fleet, row: int) -> str:
    codes = fleet.gpu("xid")[fleet.roster.gpus_of(row)]
    return ", ".join(xid_text(int(code)) for code in np.unique(codes[~np.isnan(codes)]))


def _ecc(fleet: Fleet, row: int) -> str:
    struck = int((fleet.gpu("ecc_uncorrected")[fleet.roster.gpus_of(row)] > 0).sum())
    return f"uncorrected ECC errors on {_share(fleet, row, struck)}" if struck else ""


def _throttled(fleet: Fleet, row: int) -> str:
    masks = _throttle(fleet)[fleet.roster.gpus_of(row)] & THROTTLE_LIMITING
    limited = int((masks != 0).sum())
    if not limited:
        return ""
    words = throttle_words(int(np.bitwise_or.reduce(masks)))
    return f"throttled: {', '.join(words)} on {_share(fleet, row, limited)}"


def _share(fleet: Fleet, row: int, some: int) -> str:
    return f"{some} of {int(gpu_counts(fleet.roster)[row])} GPUs"


def _worker_parts(workers: tuple[Worker, ...]) -> list[str]:
    parts = [_worker_part(worker) for worker in workers if worker.state in ("FAILED", "NOT_READY", "STARTING", "PENDING")]
    draining = [worker for worker in workers if worker.state == "DRAINING"]
    if draining:
        left = in_flight_total(draining)
        parts.append(f"{_count(draining)} draining, {'unknown' if left is None else int(left)} in flight")
    for state in ("DRAINED", "STOPPING", "STOPPED"):
        several = [worker for worker in workers if worker.state == state]
        if several:
            parts.append(f"{_count(several)} {state.lower()}")
    return parts


def _count(workers: list[Worker]) -> str:
    return f"worker {workers[0].name}" if len(workers) == 1 else f"{len(workers)} workers"


def _worker_part(worker: Worker) -> str:
    said = f"worker {worker.name} {worker.state.lower().replace('_', ' ')}"
    if worker.state == "FAILED":
        return f"{said}: {worker.reason}" if worker.reason else said
    return f"{said}: {worker.phase or worker.reason}" if worker.phase or worker.reason else said
