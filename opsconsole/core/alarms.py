"""What deserves a person: facts of a fleet that somebody should act on, worst first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from opsconsole.core.fleet import (
    AUTH_FAILED,
    CONNECTING,
    HOST_KEY_CHANGED,
    HOST_KEY_UNKNOWN,
    HUNG,
    LIVE,
    NO_DRIVER,
    NO_PYTHON,
    REACH_WORDS,
    STALE,
    UNREACHABLE,
    Alarm,
    Fleet,
    Model,
    Worker,
)
from opsconsole.core.headlines import fresh_gpus, worst_of
from opsconsole.core.power import W_PER_KW, drawn_w, feed_name, feeds
from opsconsole.protocol import THROTTLE_REASONS

CRITICAL, WARNING = 2, 1
_REACH_SEVERITY = {
    STALE: WARNING, HUNG: CRITICAL, UNREACHABLE: CRITICAL, AUTH_FAILED: CRITICAL, HOST_KEY_CHANGED: CRITICAL,
    NO_DRIVER: CRITICAL, NO_PYTHON: CRITICAL, HOST_KEY_UNKNOWN: CRITICAL,
}
HARMFUL_THROTTLE = 0x8 | 0x20 | 0x40 | 0x80
"""Hardware and thermal slowdowns and power brakes; a software power cap is how a capped fleet works, no alarm."""
XID_MEANING = {
    48: "double bit ECC error", 63: "row remapping", 64: "row remapping failed", 74: "NVLink error", 79: "fell off the bus",
    94: "contained ECC error", 95: "uncontained ECC error", 119: "GSP timeout", 120: "GSP error",
}
"""Of the Xid codes that concern hardware (NVIDIA's Xid catalogue); others are usually the application's."""
CLOCK_OFFSET_LIMIT_S = 5.0


def find_alarms(fleet: Fleet, standing: Iterable[Alarm] = ()) -> tuple[Alarm, ...]:
    """All alarms of a fleet; one that stood before keeps its `since`. Worst first, then oldest first."""
    since = {(alarm.kind, alarm.subject): alarm.since for alarm in standing}
    found = [
        replace(alarm, since=since.get((alarm.kind, alarm.subject), fleet.at))
        for finder in (_reach, _gpu_errors, _xids, _throttled, _memory_errors, _workers, _models, _power, _clocks, _router, _history)
        for alarm in finder(fleet)
    ]
    return tuple(sorted(found, key=lambda alarm: (-alarm.severity, alarm.since, alarm.subject, alarm.kind)))


def _reach(fleet: Fleet) -> Iterator[Alarm]:
    for row in np.flatnonzero((fleet.reach != LIVE) & (fleet.reach != CONNECTING)):
        node, reach = fleet.roster.nodes[row], int(fleet.reach[row])
        yield Alarm(_REACH_SEVERITY[reach], "reach", node.name, f"{node.name}  {REACH_WORDS[reach]}", fleet.cause[row], node=node.name)


def _gpu_errors(fleet: Fleet) -> Iterator[Alarm]:
    by_node: dict[int, list[int]] = {}
    for gpu in fleet.gpu_errors:
        by_node.setdefault(int(fleet.roster.gpu_node[gpu]), []).append(gpu)
    for row, gpus in by_node.items():
        name = fleet.roster.nodes[row].name
        yield Alarm(CRITICAL, "gpu", name, f"{name}  {_gpu_names(fleet, gpus)} {fleet.gpu_errors[gpus[0]]}", node=name)


def _xids(fleet: Fleet) -> Iterator[Alarm]:
    for gpu in np.flatnonzero(np.isin(fresh_gpus(fleet, "xid"), list(XID_MEANING))):
        code, name = int(fleet.gpu("xid")[gpu]), _node_name(fleet, gpu)
        yield Alarm(CRITICAL, f"xid-{gpu}", name, f"{name}  {_gpu_names(fleet, [gpu])} XID {code}: {XID_MEANING[code]}", node=name)


def _throttled(fleet: Fleet) -> Iterator[Alarm]:
    mask = np.nan_to_num(fresh_gpus(fleet, "throttle")).astype(np.int64) & HARMFUL_THROTTLE
    for row in np.unique(fleet.roster.gpu_node[mask != 0]):
        name = fleet.roster.nodes[row].name
        bits = mask[fleet.roster.gpus_of(row)]
        words = " and ".join(text for bit, text in THROTTLE_REASONS.items() if (bits & bit).any())
        hottest = np.nanmax(np.append(fleet.gpu("temp_c")[fleet.roster.gpus_of(row)], -1.0))
        detail = f"hottest {hottest:.0f} °C" if hottest >= 0 else ""
        yield Alarm(WARNING, "throttle", name, f"{name}  {words} on {np.count_nonzero(bits)} GPUs", detail, node=name)


def _memory_errors(fleet: Fleet) -> Iterator[Alarm]:
    for gpu in np.flatnonzero(np.nan_to_num(fresh_gpus(fleet, "ecc_uncorrected")) > 0):
        name, count = _node_name(fleet, gpu), int(fleet.gpu("ecc_uncorrected")[gpu])
        yield Alarm(WARNING, f"ecc-{gpu}", name, f"{name}  {_gpu_names(fleet, [gpu])} {count} uncorrected memory errors", node=name)


def _workers(fleet: Fleet) -> Iterator[Alarm]:
    for worker in fleet.heard_workers:
        if worker.state in ("FAILED", "NOT_READY"):
            severity = CRITICAL if worker.state == "FAILED" else WARNING
            yield Alarm(severity, "worker", worker.name, f"{worker.name}  {worker.state}", worker.reason, node=worker.node)


def _models(fleet: Fleet) -> Iterator[Alarm]:
    settled = not (fleet.reach == CONNECTING).any()
    for model in fleet.roster.models:
        workers = fleet.heard_workers_of_model.get(model.name, ())
        ready = sum(worker.state == "READY" for worker in workers)
        if settled and ready < model.min_ready:
            starting = sum(worker.state in ("PENDING", "STARTING") for worker in workers)
            detail = f"{starting} starting" if starting else "none starting"
            words = f"{model.name}  {ready} of {model.min_ready} workers ready"
            yield Alarm(CRITICAL if not starting else WARNING, "ready", model.name, words, detail)
        yield from _latencies(fleet, model, workers)
        yield from _waiting(fleet, model, workers)


def _latencies(fleet: Fleet, model: Model, workers: Sequence[Worker]) -> Iterator[Alarm]:
    for kind, words, objective_ms in (("ttft", "TTFT", model.ttft_p95_ms), ("itl", "ITL", model.itl_p95_ms)):
        if objective_ms is not None and (worst_ms := worst_of(workers, f"{kind}_p95_ms")) > objective_ms:
            queue = fleet.queue_of_model(model.name)
            detail = "" if queue is None else f"{queue:.0f} queued"
            yield Alarm(WARNING, kind, model.name, f"{model.name}  {words} p95 {worst_ms:.0f} ms, objective {objective_ms:.0f} ms", detail)


def _waiting(fleet: Fleet, model: Model, workers: Sequence[Worker]) -> Iterator[Alarm]:
    """Workers measure from when they get a request: what waits at the router beyond the objective is seen only here."""
    queue = fleet.queue_of_model(model.name) or 0.0
    slots = sum(worker.slots or 1 for worker in workers if worker.state == "READY")
    rate = sum(worker.requests_per_s or 0.0 for worker in workers)
    objective_ms = model.ttft_p95_ms
    if objective_ms is None or queue <= slots or rate <= 0 or worst_of(workers, "ttft_p95_ms") > objective_ms:
        return  # what workers themselves are too slow for has its alarm already
    if queue / rate * 1000 > objective_ms:
        words = f"{model.name}  {queue:.0f} queued, a wait of {queue / rate:.0f} s"
        yield Alarm(WARNING, "queue", model.name, words, f"objective {objective_ms:.0f} ms")


def _power(fleet: Fleet) -> Iterator[Alarm]:
    for feed in feeds(fleet.roster):
        drawn_kw, name = drawn_w(fleet, feed) / W_PER_KW, feed_name(feed)
        if feed.power_budget_kw and drawn_kw > feed.power_budget_kw:
            yield Alarm(CRITICAL, "power", name, f"{name}  {drawn_kw:.1f} kW drawn, budget {feed.power_budget_kw:.1f} kW")


def _clocks(fleet: Fleet) -> Iterator[Alarm]:
    offsets = np.where(fleet.answering, fleet.clock_offset_s, np.nan)
    for row in np.flatnonzero(np.abs(np.nan_to_num(offsets)) > CLOCK_OFFSET_LIMIT_S):
        name = fleet.roster.nodes[row].name
        yield Alarm(WARNING, "clock", name, f"{name}  its clock is {offsets[row]:+.0f} s off", "set up chrony or ntpd there", node=name)


def _router(fleet: Fleet) -> Iterator[Alarm]:
    if fleet.router_cause:
        words = "keeps old routes" if fleet.router_queue else "does not answer"
        yield Alarm(WARNING, "router", "router", f"router  {words}", fleet.router_cause)


def _history(fleet: Fleet) -> Iterator[Alarm]:
    if fleet.history_cause:
        yield Alarm(WARNING, "history", "history", "history  pauses, nothing is kept", fleet.history_cause)


def _node_name(fleet: Fleet, gpu: int) -> str:
    return fleet.roster.nodes[int(fleet.roster.gpu_node[gpu])].name


def _gpu_names(fleet: Fleet, gpus: Iterable[int]) -> str:
    return ", ".join(f"GPU{int(fleet.roster.gpu_index[gpu])}" for gpu in gpus)
