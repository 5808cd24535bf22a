"""Numbers over a span of time as charts and calculations want them: with gaps where nothing was heard, a piece of time after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from opsconsole.history.catalog import Metric
from opsconsole.history.charts import Band
from opsconsole.history.numbers import Numbers
from opsconsole.history.tiers import SECONDS, TIERS, Tier

AT_ONCE = 4_000_000
"""Numbers in memory at a time."""


def stretch(
    numbers: Numbers, metric: Metric, slots: np.ndarray, tier: Tier, since: float, until: float
) -> tuple[np.ndarray, np.ndarray]:
    """times (T,) and (1 or 3, S, T) mean, lowest and highest; where readings stop there is one time more, without a reading."""
    first, after = _bounds(tier, since, until)
    if tier is SECONDS:
        ticks = numbers.ticks(since, until)
        if not len(ticks):
            return np.zeros(0), np.full((1, len(slots), 0), np.nan)
        first, after = int(ticks[0]), int(ticks[-1]) + 1
        values = numbers.values(metric, slots, tier, first, after)
        return ticks.astype(np.float64), values[:, :, ticks - first]
    values = numbers.values(metric, slots, tier, first, after)
    known = ~np.isnan(values[0]).all(axis=0)
    shown = known | np.append(False, known[:-1])  # the step after the last reading tells that there was none
    return (first + np.flatnonzero(shown) * tier.step_s).astype(np.float64), values[:, :, shown]


def _bounds(tier: Tier, since: float, until: float) -> tuple[int, int]:
    """Whole steps that cover the span."""
    return int(since // tier.step_s) * tier.step_s, (int(until // tier.step_s) + 1) * tier.step_s


def _pieces(since: int, until: int, step_s: int, slots: int, tier: Tier) -> Iterator[tuple[int, int]]:
    """The span in parts of whole steps that fit into memory."""
    steps = max(int(AT_ONCE // max(slots, 1)) * tier.step_s // step_s, 1)
    for begin in range(since, until, steps * step_s):
        yield begin, min(begin + steps * step_s, until)


def band_of(numbers: Numbers, metric: Metric, slots: np.ndarray, tier: Tier, since: float, until: float) -> Band:
    """The lowest and the highest of all slots at each step; a gap is one time without."""
    first, after = _bounds(tier, since, until)
    times, low, high = [], [], []
    for begin, end in _pieces(first, after, tier.step_s, len(slots), tier):
        at, values = stretch(numbers, metric, slots, tier, max(begin, since), min(end - 1, until))
        values = values if len(slots) else np.full((1, 1, len(at)), np.nan)
        times.append(at)
        low.append(np.fmin.reduce(values[1 % len(values)], axis=0))
        high.append(np.fmax.reduce(values[-1], axis=0))
    return Band(*(np.concatenate(part) for part in (times, low, high)))


def means_of(
    numbers: Numbers, metrics: Sequence[Metric], slots: np.ndarray, since: float, until: float, step_s: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """times (T,) of steps that begin at whole multiples of `step_s`, and (S, T) means of each metric; NaN: no reading."""
    first, after = int(since // step_s) * step_s, (int(until // step_s) + 1) * step_s
    times = np.arange(first, after, step_s).astype(np.float64)
    tier = [tier for tier in TIERS if step_s % tier.step_s == 0][-1]
    found = {}
    for metric in metrics:
        parts = [
            _means(numbers.values(metric, slots, tier, begin, end)[0], step_s // tier.step_s, (end - begin) // step_s)
            for begin, end in _pieces(first, after, step_s, len(slots), tier)
        ]
        found[metric.name] = np.concatenate(parts, axis=1)
    known = ~np.isnan(np.concatenate(list(found.values()))).all(axis=0)
    ends = np.flatnonzero(known)
    shown = slice(ends[0], ends[-1] + 1) if len(ends) else slice(0, 0)
    return times[shown], {name: values[:, shown] for name, values in found.items()}


def _means(values: np.ndarray, ticks: int, steps: int) -> np.ndarray:
    """(S, steps * ticks) -> (S, steps): the mean of what is known in each step."""
    values = values[:, : steps * ticks].reshape(len(values), steps, ticks)
    known = ~np.isnan(values)
    count = known.sum(axis=2)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=2) / np.maximum(count, 1), np.nan)
