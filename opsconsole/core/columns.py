"""Nodes, GPUs and workers as named columns of texts and numbers, for filters that do not care which of them they choose from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from opsconsole.core.fleet import REACH_WORDS, Fleet, Worker
from opsconsole.core.severity import gpu_reasons, reasons, severities
from opsconsole.core.totals import node_column, node_state
from opsconsole.protocol import GPU_COLUMNS

TEXTS = ("name", "node", "model", "site", "rack", "chip", "reach", "state", "reason", "engine", "worker", "uuid")

NUMBERS = {
    "util": "util_pct", "mem": "mem_pct", "power": "power_w", "temp": "temp_c", "clock": "sm_clock_mhz", "queue": "queue_depth",
    "running": "running", "tokens": "tokens_per_s", "ttft": "ttft_p95_ms", "itl": "itl_p95_ms", "kv": "kv_used_pct",
    "in_flight": "in_flight", "age": "age_s", "cpu": "cpu_pct", "load": "load1", "gpus": "gpus", "severity": "severity",
    "util_pct": "util_pct", "mem_pct": "mem_pct", "mem_used_mib": "mem_used_mib", "power_w": "power_w", "temp_c": "temp_c",
    "queue_depth": "queue_depth", "tokens_per_s": "tokens_per_s", "ttft_p95_ms": "ttft_p95_ms", "itl_p95_ms": "itl_p95_ms",
    "kv_used_pct": "kv_used_pct", "age_s": "age_s",
}
"""Key of the filter language -> column. Means, sums and maxima are those of `core.totals`."""

Words = tuple[str, ...]
Text = tuple[np.ndarray, list[Words]]
"""Codes (R,) into a list of the different values, each one or several words in lower case: compared once a value, not once a row."""


@dataclass(frozen=True)
class Rows:
    """Rows of one kind. text, number: a column by key, made when asked for; numbers are (R,) float, NaN unknown."""

    count: int
    text: Callable[[str], Text]
    number: Callable[[str], np.ndarray]


def node_rows(fleet: Fleet) -> Rows:
    """All nodes of a fleet; model, state, engine and worker stand for every worker on the node."""
    return Rows(len(fleet.roster.nodes), lambda key: _coded(_node_words(fleet, key)), lambda key: _node_number(fleet, NUMBERS[key]))


def gpu_rows(fleet: Fleet) -> Rows:
    """All GPUs of a fleet; what a GPU does not have itself is that of its node."""
    nodes = fleet.roster.gpu_node

    def text(key: str) -> Text:
        if key in ("uuid", "reason"):
            return _coded(_gpu_words(fleet, key))
        codes, words = _coded(_node_words(fleet, key))
        return codes[nodes], words

    def number(key: str) -> np.ndarray:
        column = NUMBERS[key]
        if column == "mem_pct":
            return _shown(fleet, nodes, _percent(fleet.gpu("mem_used_mib"), fleet.roster.gpu_fact("mem_total_mib")))
        if column in GPU_COLUMNS:
            return _shown(fleet, nodes, fleet.gpu(column))
        return _node_number(fleet, column)[nodes]

    return Rows(len(nodes), text, number)


def worker_rows(fleet: Fleet) -> Rows:
    """All workers of a fleet; what a worker does not have itself is that of its node."""
    # -1, a node that is not in the fleet file, is the row behind the last
    nodes = np.array([fleet.roster.node_row.get(worker.node, -1) for worker in fleet.workers], dtype=np.int64)

    def text(key: str) -> Text:
        if key in _WORKER_WORDS:
            return _coded(tuple(word.lower() for word in _WORKER_WORDS[key](worker)) for worker in fleet.workers)
        codes, words = _coded([*_node_words(fleet, key), ()])
        return codes[nodes], words

    def number(key: str) -> np.ndarray:
        column = NUMBERS[key]
        of_node = np.append(_node_number(fleet, column), np.nan)[nodes]
        if not hasattr(Worker, column):
            return of_node
        known = np.append(fleet.answering, False)[nodes]
        if column == "gpus":
            return np.array([len(worker.gpus) for worker in fleet.workers], dtype=np.float64)
        own = np.array([getattr(worker, column) for worker in fleet.workers], dtype=np.float64)  # None becomes NaN
        return np.where(known, own, np.nan)

    return Rows(len(fleet.workers), text, number)


def dict_rows(things: list[dict[str, Any]], kind: str) -> Rows:
    """JSON rows, whose fields are their columns; a key that they lack matches none of them."""

    def text(key: str) -> Text:
        return _coded((str(thing.get("name" if key == kind else key) or "").lower(),) for thing in things)

    def number(key: str) -> np.ndarray:
        return np.array([thing.get(NUMBERS[key]) for thing in things], dtype=np.float64)

    return Rows(len(things), text, number)


_WORKER_WORDS: dict[str, Callable[[Worker], Words]] = {
    "name": lambda worker: (worker.name,),
    "worker": lambda worker: (worker.name,),
    "model": lambda worker: (worker.model,),
    "state": lambda worker: (worker.state, worker.phase),
    "engine": lambda worker: (worker.engine,),
    "reason": lambda worker: (worker.reason,),
}
_FACTS = {"name": "name", "node": "name", "site": "site", "rack": "rack", "chip": "chip"}


def _node_words(fleet: Fleet, key: str) -> list[Words]:
    nodes = fleet.roster.nodes
    if key in _FACTS:
        return [(getattr(node, _FACTS[key]).lower(),) for node in nodes]
    if key == "reach":
        words = [(word.lower(),) for word in REACH_WORDS]
        return [words[reach] for reach in fleet.reach.tolist()]
    if key == "reason":
        return [(reason.lower(),) for reason in reasons(fleet)]
    if key == "uuid":
        return [tuple(uuid.lower() for uuid in fleet.roster.gpu_uuid[fleet.roster.gpus_of(row)]) for row in range(len(nodes))]
    found = [fleet.workers_of_node.get(node.name, ()) for node in nodes]
    own = [(node_state(workers, row in fleet.cordons).lower(),) if key == "state" else () for row, workers in enumerate(found)]
    words = _WORKER_WORDS[key]
    return [own[row] + tuple(word.lower() for worker in workers for word in words(worker)) for row, workers in enumerate(found)]


def _gpu_words(fleet: Fleet, key: str) -> Iterable[Words]:
    words = fleet.roster.gpu_uuid if key == "uuid" else gpu_reasons(fleet)
    return [(word.lower(),) for word in words]


def _coded(values: Iterable[Words]) -> Text:
    seen: dict[Words, int] = {}
    codes = np.fromiter((seen.setdefault(value, len(seen)) for value in values), np.int64)
    return codes, list(seen)


def _node_number(fleet: Fleet, column: str) -> np.ndarray:
    if column == "severity":
        return severities(fleet).astype(float)
    if column == "mem_pct":
        values = _percent(node_column(fleet, "mem_used_mib"), node_column(fleet, "mem_total_mib"))
    else:
        values = node_column(fleet, column)
    return values if column in ("age_s", "gpus") else _shown(fleet, slice(None), values)


def _shown(fleet: Fleet, nodes: np.ndarray | slice, values: np.ndarray) -> np.ndarray:
    return np.where(fleet.answering[nodes], values, np.nan)


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return 100.0 * np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
