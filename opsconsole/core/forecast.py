"""What a series will be: level, trend and the seasons of day and week, with a band that comes from how wrong the same way was before.

Three simple ways are tried on the past itself and the one that was least wrong is taken, so that a series without a season is not given
one. Statistical packages do the same at a hundred times the weight; numpy is enough for series of a few thousand points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

DAY_S, WEEK_S = 86400.0, 604800.0
DAY_HARMONICS, WEEK_HARMONICS = 3, 2
DAYS_LEAST = 1.5
"""A season needs this many of its periods in the past, or it would be taken for a trend."""
DAMPING = 0.5 ** (1 / 10)
"""A trend loses half of itself in 10 steps (damped trend; Gardner and McKenzie, Management Science 31, 1985): none goes on for ever."""
RECENT = 24
"""Steps that the level and the trend are taken from."""
POINTS_LEAST = 8
FOLDS = 12
"""How many moments of the past the backtest starts from."""
NEAR = 2
"""Steps before and after, whose errors count as those of a step."""
ERRORS_LEAST = 4
BAND = (10.0, 90.0)
"""Percentiles: four of five values should fall into the band."""


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """times: (H,) epoch seconds, the first one step after the last value; mean, low, high: (H,), in the series' unit, never below 0."""

    times: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    way: str
    """How: "last value", "trend" or "season"."""
    error_pct: float
    """Of the backtest: sum of absolute errors over sum of values (wMAPE), over the whole horizon. NaN: the past is too short to test."""
    covered_pct: float
    """Of the backtest's values, how many lay in the band that the others gave (leave one start out). NaN as error_pct."""
    samples: int
    """Values that it was made from."""

    @property
    def horizon_s(self) -> float:
        return float(self.times[-1] - self.times[0]) if len(self.times) else 0.0

    def first_above(self, limit: float, of: str = "mean") -> float | None:
        """When (epoch seconds) `mean`, `low` or `high` first reaches a limit; None: not within the horizon."""
        reached = np.flatnonzero(getattr(self, of) >= limit)
        return float(self.times[reached[0]]) if len(reached) else None


Way = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(times (T,), values (T,) with no NaN, times ahead (H,)) -> values ahead (H,)."""


def forecast(times: np.ndarray, values: np.ndarray, steps: int) -> Forecast | None:
    """`steps` values ahead of a series in equal steps; None when it has fewer than POINTS_LEAST readings.

    times: (T,) epoch seconds; values: (T,), NaN where nothing was read: a gap is bridged by a straight line for fitting, and never tested
    against.
    """
    known = np.isfinite(values)
    if known.sum() < POINTS_LEAST or len(times) < 2 or steps < 1:
        return None
    first = int(np.flatnonzero(known)[0])
    times, values, known = times[first:], values[first:], known[first:]
    filled = np.interp(times, times[known], values[known])
    step_s = float(np.median(np.diff(times)))
    ahead = times[-1] + step_s * np.arange(1, steps + 1)
    tested = {name: _errors(way, times, filled, values, steps) for name, way in _ways(times).items()}
    name = min(tested, key=lambda name: _error_pct(tested[name], values) if len(tested[name]) else 0.0)
    errors = tested[name]
    mean = _ways(times)[name](times, filled, ahead)
    low, high = _band(errors, mean, filled)
    error_pct = _error_pct(errors, values) if len(errors) else float("nan")
    lines = (np.maximum(line, 0.0) for line in (mean, low, high))
    return Forecast(ahead, *lines, name, error_pct, _covered(errors), int(known.sum()))


def _ways(times: np.ndarray) -> dict[str, Way]:
    """The ways that a past of this length allows, the simplest first: of equals the first is taken."""
    ways: dict[str, Way] = {"last value": _last, "trend": _trend}
    if times[-1] - times[0] >= DAYS_LEAST * DAY_S:
        ways["season"] = _season
    return ways


def _last(times: np.ndarray, values: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    return np.full(len(ahead), float(np.median(values[-3:])))


def _trend(times: np.ndarray, values: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """The straight line through the last RECENT values, its slope damped step by step."""
    recent = values[-RECENT:]
    slope, level = np.polyfit(np.arange(len(recent)) - (len(recent) - 1.0), recent, 1)
    return level + slope * np.cumsum(DAMPING ** np.arange(1, len(ahead) + 1))


def _season(times: np.ndarray, values: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """Harmonic regression: level, trend and waves of a day (and of a week, when there are weeks), and what is left over at the end, which
    fades as a trend does (Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., 12.1)."""
    features, span_s = _waves(times, times[0], times[-1] - times[0]), times[-1] - times[0]
    weights, *_ = np.linalg.lstsq(features, values, rcond=None)
    left = float(np.mean((values - features @ weights)[-3:]))
    return _waves(ahead, times[0], span_s) @ weights + left * DAMPING ** np.arange(1, len(ahead) + 1)


def _waves(times: np.ndarray, begin: float, span_s: float) -> np.ndarray:
    """(T, features). The slope is only fitted where a day more would not turn it over."""
    columns = [np.ones(len(times))]
    if span_s >= 4 * DAY_S:
        columns.append((times - begin) / span_s)
    periods = [(DAY_S, DAY_HARMONICS)] + ([(WEEK_S, WEEK_HARMONICS)] if span_s >= 2 * WEEK_S else [])
    for period_s, harmonics in periods:
        for number in range(1, harmonics + 1):
            angle = 2 * np.pi * number * times / period_s
            columns += [np.cos(angle), np.sin(angle)]
    return np.stack(columns, axis=1)


def _errors(way: Way, times: np.ndarray, filled: np.ndarray, values: np.ndarray, steps: int) -> np.ndarray:
    """(starts, steps) value less forecast, NaN where nothing was read: forecasts from up to FOLDS moments of the past, each made of what
    was known then (rolling origin; the same book, 5.10)."""
    least = max(POINTS_LEAST, len(times) // 2)
    if way is _season:
        least = max(least, int(np.searchsorted(times, times[0] + DAYS_LEAST * DAY_S)))
    starts = np.unique(np.linspace(least, len(times) - 1, FOLDS).astype(int)) if least < len(times) else np.zeros(0, int)
    found = np.full((len(starts), steps), np.nan)
    for row, start in enumerate(starts.tolist()):
        count = min(steps, len(times) - start)
        found[row, :count] = values[start:start + count] - np.maximum(way(times[:start], filled[:start], times[start:start + count]), 0.0)
    return found[np.isfinite(found).any(axis=1)] if len(found) else found


def _error_pct(errors: np.ndarray, values: np.ndarray) -> float:
    level = float(np.nanmean(np.abs(values)))
    return 100.0 * float(np.nanmean(np.abs(errors))) / level if level > 0 else 0.0


def _band(errors: np.ndarray, mean: np.ndarray, filled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The forecast with the percentiles of the errors at each distance, which never shrink with it; with too few errors to tell, as far as
    the series ever moved."""
    if errors.size == 0 or np.isfinite(errors).sum() < POINTS_LEAST:
        reach = float(np.ptp(filled))
        return mean - reach, mean + reach
    beside = np.pad(errors, ((0, 0), (NEAR, NEAR)), constant_values=np.nan)
    near = np.concatenate([beside[:, shift: shift + errors.shape[1]] for shift in range(2 * NEAR + 1)]).T  # (steps, starts * neighbours)
    below, above = (_percentile(near, percentile) for percentile in BAND)
    return mean + np.minimum(np.minimum.accumulate(below), 0.0), mean + np.maximum(np.maximum.accumulate(above), 0.0)


def _percentile(rows: np.ndarray, percentile: float) -> np.ndarray:
    """Of the known values of each row, 0 where fewer than ERRORS_LEAST are known. (R, C) -> (R,)."""
    ordered, counts = np.sort(rows, axis=1), np.isfinite(rows).sum(axis=1)  # NaN is sorted to the end
    place = percentile / 100.0 * np.maximum(counts - 1, 0)
    lower = np.floor(place).astype(np.int64)
    upper = np.minimum(lower + 1, np.maximum(counts - 1, 0))
    low, high = (np.take_along_axis(ordered, index[:, None], axis=1)[:, 0] for index in (lower, upper))
    return np.where(counts >= ERRORS_LEAST, low + (high - low) * (place - lower), 0.0)


def _covered(errors: np.ndarray) -> float:
    """% of errors within the band that the other starts give."""
    if len(errors) < 3:
        return float("nan")
    inside, total = 0, 0
    nothing = np.zeros(errors.shape[1])
    for row in range(len(errors)):
        low, high = _band(np.delete(errors, row, axis=0), nothing, nothing)
        known = np.isfinite(errors[row])
        inside += int(((errors[row] >= low) & (errors[row] <= high))[known].sum())
        total += int(known.sum())
    return 100.0 * inside / total if total else float("nan")
