"""Sums over the GPUs and workers of each node, so that every front and filter adds up in one way."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from opsconsole.core.fleet import Fleet, Roster, Worker

SERVING = ("READY", "NOT_READY", "DRAINING")
"""A worker in one of these states may hold requests."""


def sum_by_node(roster: Roster, values: np.ndarray) -> np.ndarray:
    """Sum of the known values of each node's GPUs, (G,) -> (N,); NaN where none is known."""
    known = ~np.isnan(values)
    nodes = roster.gpu_node[known]
    sums = np.bincount(nodes, weights=values[known], minlength=len(roster.nodes))
    return np.where(np.bincount(nodes, minlength=len(roster.nodes)) > 0, sums, np.nan)


def mean_by_node(roster: Roster, values: np.ndarray) -> np.ndarray:
    """Mean of the known values of each node's GPUs, (G,) -> (N,); NaN where none is known."""
    counts = count_by_node(roster, ~np.isnan(values))
    return sum_by_node(roster, values) / np.maximum(counts, 1)


def max_by_node(roster: Roster, values: np.ndarray) -> np.ndarray:
    """Highest known value of each node's GPUs, (G,) -> (N,); NaN where none is known."""
    highest = np.full(len(roster.nodes), np.nan)
    filled = np.diff(roster.gpu_start) > 0  # reduceat misreads an empty segment
    if filled.any():
        highest[filled] = np.fmax.reduceat(values, roster.gpu_start[:-1][filled])
    return highest


def count_by_node(roster: Roster, chosen: np.ndarray) -> np.ndarray:
    """How many of each node's GPUs are chosen, (G,) bool -> (N,) int."""
    return np.bincount(roster.gpu_node[chosen], minlength=len(roster.nodes))


def gpu_counts(roster: Roster) -> np.ndarray:
    """GPUs of each node, (N,) int."""
    return np.diff(roster.gpu_start)


def node_column(fleet: Fleet, column: str) -> np.ndarray:
    """One figure of each node, (N,): last known even where a node does not answer; NaN unknown. Raises KeyError."""
    return _NODE_FIGURES[column](fleet)


def worker_total(workers: Iterable[Worker], column: str) -> float | None:
    """Sum of a column over the serving workers that know it; None when none does."""
    return known_sum(getattr(worker, column) for worker in workers if worker.state in SERVING)


def worker_worst(workers: Iterable[Worker], column: str) -> float | None:
    """Highest value of a column over the serving workers; None when none knows it."""
    known = [value for worker in workers if worker.state in SERVING and (value := getattr(worker, column)) is not None]
    return max(known, default=None)


def in_flight_total(workers: Iterable[Worker]) -> float | None:
    """Requests held by all serving workers; None as soon as one of them is unknown, because a drain relies on it."""
    held = [worker.in_flight for worker in workers if worker.state in SERVING]
    return None if None in held else sum(held)


def known_sum(values: Iterable[float | None]) -> float | None:
    """Sum of what is known; None when nothing is."""
    known = [value for value in values if value is not None and value == value]
    return sum(known) if known else None


def node_state(workers: Iterable[Worker], cordoned: bool = False) -> str:
    """State of a node as its workers tell it: DRAINED when all are (or none is left on a cordoned one), DRAINING when some drain and
    none serves, else CORDONED or ACTIVE."""
    states = {worker.state for worker in workers} - {"STOPPED", "FAILED"}
    if states == {"DRAINED"} or (cordoned and not states):
        return "DRAINED"
    if "DRAINING" in states and "READY" not in states:
        return "DRAINING"
    return "CORDONED" if cordoned else "ACTIVE"


def _of_gpus(gather, column: str):
    return lambda fleet: gather(fleet.roster, fleet.gpu(column))


def _of_workers(total, column: str):
    def gather(fleet: Fleet) -> np.ndarray:
        values = np.full(len(fleet.roster.nodes), np.nan)
        for name, workers in fleet.workers_of_node.items():
            row = fleet.roster.node_row.get(name)
            value = total(workers, column) if row is not None else None
            if value is not None:
                values[row] = value
        return values

    return gather


_NODE_FIGURES = {
    "util_pct": _of_gpus(mean_by_node, "util_pct"),
    "mem_util_pct": _of_gpus(mean_by_node, "mem_util_pct"),
    "mem_used_mib": _of_gpus(sum_by_node, "mem_used_mib"),
    "mem_total_mib": lambda fleet: sum_by_node(fleet.roster, fleet.roster.gpu_fact("mem_total_mib")),
    "power_w": _of_gpus(sum_by_node, "power_w"),
    "power_limit_w": _of_gpus(sum_by_node, "power_limit_w"),
    "temp_c": _of_gpus(max_by_node, "temp_c"),
    "sm_clock_mhz": _of_gpus(mean_by_node, "sm_clock_mhz"),
    "queue_depth": _of_workers(worker_total, "queue_depth"),
    "running": _of_workers(worker_total, "running"),
    "tokens_per_s": _of_workers(worker_total, "tokens_per_s"),
    "requests_per_s": _of_workers(worker_total, "requests_per_s"),
    "ttft_p95_ms": _of_workers(worker_worst, "ttft_p95_ms"),
    "itl_p95_ms": _of_workers(worker_worst, "itl_p95_ms"),
    "kv_used_pct": _of_workers(worker_worst, "kv_used_pct"),
    "in_flight": _of_workers(lambda workers, _: in_flight_total(workers), "in_flight"),
    "age_s": lambda fleet: fleet.age_s,
    "cpu_pct": lambda fleet: fleet.node("cpu_pct"),
    "load1": lambda fleet: fleet.node("load1"),
    "host_mem_used_mib": lambda fleet: fleet.node("mem_used_mib"),
    "net_rx_mib_s": lambda fleet: fleet.node("net_rx_mib_s"),
    "net_tx_mib_s": lambda fleet: fleet.node("net_tx_mib_s"),
    "disk_free_mib": lambda fleet: fleet.node("disk_free_mib"),
    "gpus": lambda fleet: gpu_counts(fleet.roster).astype(float),
}
NODE_FIGURES = tuple(_NODE_FIGURES)
"""What `node_column` knows: means of percentages and clocks, sums of memory, power and requests, the highest temperature and latency."""
