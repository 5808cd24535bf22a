"""The six figures that stand for the whole fleet, in the order of HEADLINES."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from opsconsole.core.fleet import HEADLINES, Fleet, Worker


def headlines(fleet: Fleet) -> np.ndarray:
    """(HEADLINES,) float64 of the nodes that answer; NaN where nothing is known."""
    figures = {
        "ttft_p95_ms": worst_of(fleet.heard_workers, "ttft_p95_ms"),
        "queue_depth": _queue(fleet),
        "requests_per_s": _total(fleet.heard_workers, "requests_per_s"),
        "util_pct": _mean(fresh_gpus(fleet, "util_pct")),
        "power_w": _sum(fresh_gpus(fleet, "power_w")),
        "nodes_live": float(fleet.answering.sum()),
    }
    return np.array([figures[name] for name in HEADLINES])


def fresh_gpus(fleet: Fleet, column: str) -> np.ndarray:
    """One column of GPU_COLUMNS with NaN on nodes that do not answer, (G,)."""
    return np.where(fleet.answering[fleet.roster.gpu_node], fleet.gpu(column), np.nan)


def _queue(fleet: Fleet) -> float:
    models = {*fleet.heard_workers_of_model, *fleet.router_queue}
    known = [queue for queue in map(fleet.queue_of_model, models) if queue is not None]
    return float(sum(known)) if known else float("nan")


def _values(workers: Sequence[Worker], field: str) -> list[float]:
    return [value for value in map(attrgetter(field), workers) if value is not None]


def worst_of(workers: Sequence[Worker], field: str) -> float:
    """Highest value of a field; NaN where none is known."""
    return max(_values(workers, field), default=float("nan"))


def _total(workers: Sequence[Worker], field: str) -> float:
    known = _values(workers, field)
    return float(sum(known)) if known else float("nan")


def _mean(column: np.ndarray) -> float:
    known = column[~np.isnan(column)]
    return float(known.mean()) if known.size else float("nan")


def _sum(column: np.ndarray) -> float:
    known = column[~np.isnan(column)]
    return float(known.sum()) if known.size else float("nan")
