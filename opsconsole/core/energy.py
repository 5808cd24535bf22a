"""What a token costs in joules on each chip, and which power limit gives the most tokens for a joule, from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from opsconsole.core.fleet import Fleet, Worker
from opsconsole.core.headlines import fresh_gpus
from opsconsole.core.speeds import chips_of

CAP_STEP_W = 10.0
"""Limits that differ by less are one."""
BUSY_RUNNING_SHARE = 0.5
"""Of the most that was seen running: below it a worker waits for work, and its limit is not what slows it."""
CAP_READINGS_LEAST = 5


@dataclass(frozen=True, slots=True)
class Energy:
    """One model on one chip."""

    joules_per_token: float
    """W of the GPUs at the node over tokens/s; neither PUE nor what is not a GPU is in it."""
    watts_per_gpu: float
    """Of its workers while they served."""
    samples: int


@dataclass(frozen=True, slots=True)
class CapPoint:
    """What busy workers of a model on a chip gave under one power limit."""

    cap_w: float
    """Of each GPU."""
    tokens_per_s: float
    """Of one worker, a median."""
    watts: float
    """Of all GPUs of that worker, a median."""
    samples: int

    @property
    def tokens_per_joule(self) -> float:
        """(tokens/s) / W."""
        return self.tokens_per_s / self.watts


def joules_per_token(watts: float, tokens_per_s: float) -> float | None:
    """J = W / (tokens/s): 2.1 kW at 700 tokens/s are 3 J a token. None when nothing is given."""
    return watts / tokens_per_s if tokens_per_s > 0 and watts == watts else None


def energy_now(fleet: Fleet) -> dict[tuple[str, str], Energy]:
    """By (model, chip), over the ready workers that give tokens and share their GPUs with none: sum of W over sum of tokens/s."""
    power_w, chips = fresh_gpus(fleet, "power_w"), chips_of(fleet.roster)
    holders: dict[int, int] = {}
    for worker in fleet.heard_workers:
        for row in rows_of(fleet, worker):
            holders[row] = holders.get(row, 0) + 1
    sums: dict[tuple[str, str], np.ndarray] = {}
    for worker in fleet.heard_workers:
        rows = rows_of(fleet, worker)
        drawn = float(power_w[rows].sum()) if rows else float("nan")
        if worker.state == "READY" and worker.tokens_per_s and drawn == drawn and all(holders[row] == 1 for row in rows):
            key = worker.model, chips[fleet.roster.node_row[worker.node]]
            sums[key] = sums.get(key, np.zeros(4)) + (drawn, worker.tokens_per_s, len(rows), 1)
    return {key: Energy(float(w / rate), float(w / gpus), int(count)) for key, (w, rate, gpus, count) in sums.items()}


def rows_of(fleet: Fleet, worker: Worker) -> list[int]:
    """Rows of the GPUs that a worker holds."""
    return [row for gpu in worker.gpus if (row := fleet.roster.gpu_row.get((worker.node, gpu))) is not None]


def cap_points(caps_w: np.ndarray, running: np.ndarray, tokens_per_s: np.ndarray, watts: np.ndarray) -> tuple[CapPoint, ...]:
    """What each limit gave, the lowest first. All (S,), a reading each: limit of a GPU in W, requests running, tokens/s of the worker, W of
    its GPUs together; NaN unknown. Readings of workers that had little to do are left out."""
    known = np.isfinite(caps_w) & np.isfinite(watts) & (watts > 0) & (tokens_per_s > 0) & np.isfinite(running)
    if not known.any():
        return ()
    busy = known & (running >= BUSY_RUNNING_SHARE * running[known].max())
    steps = np.rint(np.where(busy, caps_w, 0.0) / CAP_STEP_W) * CAP_STEP_W
    found = []
    for cap_w in np.unique(steps[busy]):
        here = busy & (steps == cap_w)
        if here.sum() >= CAP_READINGS_LEAST:
            found.append(CapPoint(float(cap_w), float(np.median(tokens_per_s[here])), float(np.median(watts[here])), int(here.sum())))
    return tuple(found)


def best_cap(points: Sequence[CapPoint], least_share: float = 0.0) -> CapPoint | None:
    """The limit with the most tokens for a joule, of those that keep at least `least_share` of the fastest one's tokens/s; None when fewer
    than two limits were tried, because one point is no curve."""
    if len(points) < 2:
        return None
    fastest = max(point.tokens_per_s for point in points)
    kept = [point for point in points if point.tokens_per_s >= least_share * fastest]
    return max(kept, key=lambda point: point.tokens_per_joule, default=None)
