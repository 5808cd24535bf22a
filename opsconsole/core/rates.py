"""How many tokens a second a worker gives when it runs so many requests, fitted to what was measured, and how many it may run in time.

A worker that batches is no row of counters: each request more slows all of them a little, so M/M/c does not hold. What holds is that
one decode step takes alpha + beta * n seconds for n running requests (alpha: the weights are read once a step; beta: the KV cache of
each request), as llm-d and Dynamo fit it. So it gives n / (alpha + beta * n) tokens a second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CHANCE = 1.5
"""A second constant has to make the squared errors so many times smaller."""
PARTS = 24
"""The spread is that of so many parts of the readings: of single ones it would tell how rarely n is looked at."""
READINGS_LEAST = 3
"""From fewer no rate is fitted."""
BINS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """What workers of one model on one chip were seen to do, one value a reading and NaN where one is missing, all (S,)."""

    running: np.ndarray
    """Requests running, a mean over the seconds of the reading."""
    tokens_per_s: np.ndarray
    itl_p95_ms: np.ndarray
    ttft_p95_ms: np.ndarray


@dataclass(frozen=True, slots=True)
class Rate:
    """tokens/s of one worker as a function of its running requests, and its latencies beside."""

    alpha_s: float
    """Seconds of a decode step with no request in it."""
    beta_s: float
    """Seconds that each running request adds to a step."""
    spread: float
    """How far parts of the readings (workers, hours) lie from it: the middle 68 % of up to PARTS of them are within this share of what it
    says (half the distance of the 16th and the 84th percentile; one standard deviation were they normal). NaN: too few to tell."""
    samples: int
    most_running: float
    """Beyond this nothing was seen."""
    itl_ms: tuple[float, float] = (float("nan"), float("nan"))
    """(a, b): ITL p95 is a + b * running, in ms; NaN not known."""
    ttft_steps: tuple[tuple[float, float], ...] = ()
    """(running, ms): TTFT p95 at so many running, never falling; medians, the least running first."""

    def tokens_per_s(self, running: float) -> float:
        """tokens/s with so many requests running (a mean, so it may be a fraction)."""
        return running / (self.alpha_s + self.beta_s * running) if running > 0 else 0.0

    def running_within(self, slots: float, itl_ms: float | None, ttft_ms: float | None) -> tuple[float, str]:
        """The most requests that a worker of so many slots may run with both p95 latencies in their objectives, and what limits it:
        "slots", "ITL" or "TTFT". 0 when even one is too slow. An objective of None, or a latency never seen, limits nothing."""
        found = [(float(slots), "slots")]
        base_ms, each_ms = self.itl_ms
        if itl_ms is not None and base_ms == base_ms and base_ms + each_ms * slots > itl_ms:
            found.append((max((itl_ms - base_ms) / each_ms, 0.0) if each_ms > 0 else 0.0, "ITL"))
        if ttft_ms is not None and any(ms > ttft_ms for _, ms in self.ttft_steps):
            found.append((self._running_in_time(ttft_ms), "TTFT"))
        return min(found)

    def _running_in_time(self, ttft_ms: float) -> float:
        """How many may run where TTFT passes its objective. Between the last step in time and the first that is late 1 / TTFT is taken for
        a straight line: it is one in every queue whose wait is s / (1 - load) (M/M/1), and a batch that fills up waits like that."""
        in_time = [step for step in self.ttft_steps if step[1] <= ttft_ms]
        if not in_time:
            return 0.0
        (most, ms), (late, late_ms) = in_time[-1], self.ttft_steps[len(in_time)]
        return most + (late - most) * (1 / ms - 1 / ttft_ms) / (1 / ms - 1 / late_ms)


def fit_rate(readings: Readings, least: int = READINGS_LEAST) -> Rate | None:
    """The rate that readings show; None when they are fewer than `least`.

    Least squares of n = alpha * y + beta * n * y (which is n / y = alpha + beta * n) over the means of up to BINS equal spans of y, each
    weighted by the root of its count, neither below 0 (a worker that got faster the more it had to do has not been fitted but misread).
    The spans are of y because tokens are counted and n is only looked at once a second: where it is noisy, means of it at a known y are
    true, and n against a known n would not be (errors in variables). With beta 0 that is Little's law, sum of n over sum of y.
    """
    good = np.isfinite(readings.running) & np.isfinite(readings.tokens_per_s) & ((readings.running > 0) | (readings.tokens_per_s > 0))
    running, given = readings.running[good], readings.tokens_per_s[good]
    if len(running) < max(least, 1) or not running.sum() > 0 or not given.sum() > 0:
        return None
    alpha_s, beta_s = _step(*_binned(given, running, np.mean), float(running.sum() / given.sum()))
    parts = np.array_split(np.arange(len(running)), max(min(len(running), PARTS), 1))
    middles = [(float(running[part].mean()), float(given[part].mean())) for part in parts]
    off = [y / (n / (alpha_s + beta_s * n)) - 1.0 for n, y in middles if n > 0]
    low, high = np.percentile(off, (16, 84)) if len(off) >= READINGS_LEAST else (np.nan, np.nan)
    return Rate(
        alpha_s, beta_s, float(high - low) / 2, len(running), float(running.max()),
        _latency_line(running, readings.itl_p95_ms[good]), _steps(running, readings.ttft_p95_ms[good]),
    )


def _step(y: np.ndarray, n: np.ndarray, weight: np.ndarray, by_little_s: float) -> tuple[float, float]:
    """(alpha, beta) of means of y and n. beta stays 0 where it explains no more than chance would, for a line through noise leads astray
    beyond what was seen."""
    alpha_s, beta_s = _two(y * weight, n * y * weight, n * weight)
    if not beta_s > 0:
        return by_little_s, 0.0
    if alpha_s < 0:
        return 0.0, float((n * weight) @ (n * y * weight) / ((n * y * weight) @ (n * y * weight)))
    left, left_by_little = (float(np.sum((weight * (n - y * step_s)) ** 2)) for step_s in (alpha_s + beta_s * n, by_little_s))
    return (by_little_s, 0.0) if left_by_little <= CHANCE * left else (alpha_s, beta_s)


def _two(a: np.ndarray, b: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """(x, z) of the least squares of x * a + z * b = target; z is 0 where a and b are one direction."""
    aa, ab, bb = float(a @ a), float(a @ b), float(b @ b)
    determinant = aa * bb - ab * ab
    if determinant <= 1e-9 * aa * bb:
        return float(a @ target) / aa, 0.0
    return (bb * float(a @ target) - ab * float(b @ target)) / determinant, (aa * float(b @ target) - ab * float(a @ target)) / determinant


def _binned(x: np.ndarray, y: np.ndarray, middle: Callable[[np.ndarray], float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middles of x and y in equal spans of x that hold something, and the root of how many they hold."""
    bins = np.minimum(((x - x.min()) / max(float(np.ptp(x)), 1e-9) * BINS).astype(int), BINS - 1)
    kinds = np.unique(bins)
    middles = [(middle(x[bins == kind]), middle(y[bins == kind]), np.sqrt(np.sum(bins == kind))) for kind in kinds]
    return tuple(np.array(column) for column in zip(*middles, strict=True))


def _line(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """(a, b) of y = a + b * x by weighted least squares; b is 0 when x does not vary."""
    mean_x, mean_y = np.average(x, weights=weight), np.average(y, weights=weight)
    spread = float(np.sum(weight * (x - mean_x) ** 2))
    slope = float(np.sum(weight * (x - mean_x) * (y - mean_y))) / spread if spread > 1e-12 else 0.0
    return float(mean_y - slope * mean_x), slope


def _latency_line(running: np.ndarray, itl_ms: np.ndarray) -> tuple[float, float]:
    known = np.isfinite(itl_ms) & (itl_ms > 0)
    if known.sum() < READINGS_LEAST:
        return float("nan"), float("nan")
    base, each = _line(*_binned(running[known], itl_ms[known], np.median))
    if each < 0:
        return float(np.median(itl_ms[known])), 0.0
    return base, each


def _steps(running: np.ndarray, ttft_ms: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Medians by running, made never to fall by pooling neighbours (isotonic regression, pool adjacent violators; Ayer et al. 1955)."""
    known = np.isfinite(ttft_ms) & (ttft_ms > 0)
    if known.sum() < READINGS_LEAST:
        return ()
    pooled: list[list[float]] = []
    n, middle, weight = _binned(running[known], ttft_ms[known], np.median)
    for most, ms, count in zip(n.tolist(), middle.tolist(), weight.tolist(), strict=True):
        pooled.append([most, ms, count])
        while len(pooled) > 1 and pooled[-2][1] > pooled[-1][1]:
            last, before = pooled.pop(), pooled.pop()
            both = before[2] + last[2]
            pooled.append([last[0], (before[1] * before[2] + last[1] * last[2]) / both, both])
    return tuple((most, ms) for most, ms, _ in pooled)
