"""Answers of the history in the form that charts and calculations take, and how they are made shorter without losing a peak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """times: epoch seconds, (P,) float64; values: (P,) float64, NaN: no reading.

    low, high: (P,) lowest and highest reading of the step that begins at each time; they are the values where seconds answer.
    step_s: how far readings are apart where nothing is missing.
    """

    series: str
    unit: str
    times: np.ndarray
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    step_s: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """times: epoch seconds, (P,); low, high: (P,) the lowest and the highest of many, NaN: none had a reading."""

    times: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """times: begin of each step, epoch seconds, (T,). values: by metric, (S, T) mean of each step for each of `entities`, NaN: none."""

    times: np.ndarray
    entities: tuple[str, ...]
    values: dict[str, np.ndarray]


def chosen(times: np.ndarray, low: np.ndarray, high: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of them to keep, at most `points`, and whether each is kept for its lowest value (P,) bool: where the lowest and the highest
    of each span of time stand, in their order, so that no peak is lost. A span without any reading stays as one without a reading.
    """
    buckets = max(points // 2, 1)
    width_s = (times[-1] - times[0]) / buckets
    bucket = np.minimum(((times - times[0]) / width_s).astype(np.int64), buckets - 1)  # (T,)
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    lengths = np.diff(np.append(starts, len(times)))
    at_low = _first(np.where(np.isnan(low), np.inf, low), np.minimum, starts, lengths)
    at_high = _first(np.where(np.isnan(high), -np.inf, high), np.maximum, starts, lengths)
    kept = np.concatenate([at_low, at_high])
    is_low = np.arange(len(kept)) < len(at_low)
    places, first = np.unique(kept, return_index=True)
    return places, is_low[first]


def _first(values: np.ndarray, extreme: np.ufunc, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Place of the extreme value of each span, the first of several."""
    is_extreme = values == np.repeat(extreme.reduceat(values, starts), lengths)
    places = np.flatnonzero(is_extreme)
    span = np.repeat(np.arange(len(starts)), lengths)[places]
    return places[np.flatnonzero(np.diff(span, prepend=-1))]


def reduced(series: Series, points: int) -> Series:
    """At most `points` of them: of each span of time the lowest and the highest reading."""
    if len(series.times) <= points:
        return series
    kept, is_low = chosen(series.times, series.low, series.high, points)
    low, high = series.low[kept], series.high[kept]
    step_s = max(float(series.times[-1] - series.times[0]) / points, series.step_s)
    return Series(series.series, series.unit, series.times[kept], np.where(is_low, low, high), low, high, step_s)


def reduced_band(band: Band, points: int) -> Band:
    """At most `points` spans of time, each with the lowest and the highest of all in it."""
    if len(band.times) <= points:
        return band
    edges = np.linspace(band.times[0], band.times[-1], points + 1)[:-1]
    starts = np.unique(np.searchsorted(band.times, edges))
    low = np.fmin.reduceat(band.low, starts)
    return Band(band.times[starts], low, np.fmax.reduceat(band.high, starts))
