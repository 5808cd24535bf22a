"""What simulated workers do with what is asked of them: arrivals, queues, tokens and the latencies that grow with load."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

TOKENS_PER_REQUEST = 220.0
PROMPT_TOKENS_PER_REQUEST = 600.0
REQUESTS_PER_S_OF_CHIP = {"H100": 4.0, "H200": 5.0, "B200": 9.0, "A100": 2.2, "L40S": 1.1}
"""What one GPU of a chip finishes of such requests, at most."""
MEAN_SHARE = 0.62
"""Share of its capacity that a fleet is asked for at the mean of the day; the day moves it by DAY_SWING."""
DAY_SWING = 0.25
DAY_S = 86400.0
PEAK_S = 15 * 3600.0
FIRST_TOKEN_MS = 38.0
TOKEN_MS = 11.0
_STATE = ("model", "capacity_per_s", "slots", "weight", "is_open", "backlog", "tokens_total", "prompt_tokens_total", "requests_total")
_SEEN = (
    "busy", "queue_depth", "running", "tokens_per_s", "requests_per_s", "ttft_p50_ms", "ttft_p95_ms", "itl_p50_ms", "itl_p95_ms",
    "kv_used_pct",
)


def day_share(at: float) -> float:
    """How the demand of a moment compares to the day's mean; highest in the afternoon, UTC."""
    return 1.0 + DAY_SWING * math.cos(2 * math.pi * (at - PEAK_S) / DAY_S)


class Service:
    """W workers as arrays, one value a worker in each of _STATE and _SEEN; M models."""

    def __init__(self, model_count: int, random: np.random.Generator):
        self.random = random
        self.mean_demand_per_s = np.zeros(model_count)
        self.surge = np.ones(model_count)
        self.sway = np.zeros(model_count)
        for name in (*_STATE, *_SEEN):
            setattr(self, name, np.zeros(0, np.int64 if name == "model" else np.float64))

    def add(self, models: Sequence[int], capacities_per_s: Sequence[float], slots: Sequence[int]) -> None:
        """More workers, the last, that take no request yet; a whole fleet at once costs no more than one."""
        count = len(models)
        values = {"model": models, "capacity_per_s": capacities_per_s, "slots": slots, "weight": self.random.uniform(0.85, 1.15, count)}
        for name in (*_STATE, *_SEEN):
            before = getattr(self, name)
            setattr(self, name, np.concatenate([before, np.asarray(values.get(name, np.zeros(count)), before.dtype)]))

    def remove(self, index: int) -> None:
        for name in (*_STATE, *_SEEN):
            setattr(self, name, np.delete(getattr(self, name), index))

    def settle_demand(self) -> None:
        """Ask for what the workers of each model can bear, and of one worker where there is none."""
        capacity = np.bincount(self.model, self.capacity_per_s, len(self.surge))
        self.mean_demand_per_s = MEAN_SHARE * np.where(capacity > 0, capacity, 2.0)

    def advance(self, at: float, dt_s: float, pace: np.ndarray) -> None:
        """pace: (W,) 0..1, what the limits of its GPUs leave of each worker's speed."""
        self.sway = 0.98 * self.sway + self.random.normal(0.0, 0.012, len(self.sway))
        self.weight = np.clip(self.weight + self.random.normal(0.0, 0.01, len(self.weight)), 0.7, 1.3)
        demand = self.mean_demand_per_s * day_share(at) * self.surge * (1.0 + self.sway)
        weights = self.weight * self.is_open * self.capacity_per_s
        total = np.bincount(self.model, weights, len(self.surge))[self.model]
        arrivals = np.divide(demand[self.model] * weights, total, out=np.zeros(len(weights)), where=total > 0)
        self._serve(arrivals, self.capacity_per_s * pace, dt_s)

    def _serve(self, arrivals: np.ndarray, capacity_per_s: np.ndarray, dt_s: float) -> None:
        """arrivals: (W,) requests a second."""
        waiting = self.backlog + arrivals * dt_s
        done = np.minimum(waiting, capacity_per_s * dt_s)
        self.backlog = waiting - done
        share = done / np.maximum(capacity_per_s * dt_s, 1e-9)
        self.busy = share
        # a queue forms before the capacity is reached, as arrivals come in bunches (M/M/1, kept finite)
        bunch = share**4 / (1.03 - share) * self.random.uniform(0.6, 1.4, len(share))
        self.queue_depth = np.rint(self.backlog + bunch * self.is_open)
        self.running = np.rint(self.slots * share)
        self.requests_per_s = done / dt_s
        self.tokens_per_s = self.requests_per_s * TOKENS_PER_REQUEST
        self.requests_total += np.rint(done)
        self.tokens_total += np.rint(done * TOKENS_PER_REQUEST)
        self.prompt_tokens_total += np.rint(done * PROMPT_TOKENS_PER_REQUEST)
        self.kv_used_pct = 100.0 * np.minimum(0.06 + 0.86 * share, 1.0)
        self._time(share, 1000.0 * self.queue_depth / np.maximum(capacity_per_s, 1e-9))

    def _time(self, share: np.ndarray, wait_ms: np.ndarray) -> None:
        noise = self.random.uniform(0.95, 1.05, len(share))
        self.ttft_p50_ms = (FIRST_TOKEN_MS * (1.0 + share) + 0.5 * wait_ms) * noise
        self.ttft_p95_ms = (FIRST_TOKEN_MS * (1.5 + 2.0 * share) + wait_ms) * noise
        self.itl_p50_ms = TOKEN_MS * (1.0 + 0.8 * share) * noise
        self.itl_p95_ms = TOKEN_MS * (1.4 + 1.6 * share) * noise

    def in_flight(self, index: int) -> int:
        return int(self.running[index] + self.queue_depth[index])
