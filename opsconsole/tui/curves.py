"""Series of the history as lines that a chart can draw: peaks survive any width, and a gap stays a gap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from opsconsole.tui.subject import TOGETHER, Choice

if TYPE_CHECKING:
    from opsconsole.core.marks import Mark
    from opsconsole.tui.frame import Frame

SHOWN_AS = {"MiB": ("GiB", 1024.0)}
"""Unit in the history -> unit on the chart, and how many of the first make one."""
HELD = 1.6
"""Readings further apart than so many steps have a gap between them."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """times: (T,) epoch seconds; low, high: (T,) in `unit`, alike where single readings are known; NaN: no reading."""

    label: str
    unit: str
    times: np.ndarray
    low: np.ndarray
    high: np.ndarray
    step_s: float = 1.0

    def columns(self, start: float, until: float, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest in each of `count` equal spans, (count,) each; NaN where nothing was recorded."""
        low, high = np.full(count, np.nan), np.full(count, np.nan)
        if not len(self.times) or until <= start:
            return low, high
        width_s = (until - start) / count
        place = np.floor((self.times - start) / width_s).astype(np.int64)
        inside = (place >= 0) & (place < count)
        np.fmin.at(low, place[inside], self.low[inside])
        np.fmax.at(high, place[inside], self.high[inside])
        empty = np.flatnonzero(np.isnan(low))
        before = np.searchsorted(self.times, start + (empty + 0.5) * width_s, side="right") - 1
        after = np.minimum(before + 1, len(self.times) - 1)
        near = self.times[after] - self.times[before] <= max(self.step_s * HELD, 2.0 * width_s)
        held = (before >= 0) & (after > before) & near & ~np.isnan(self.low[after])
        low[empty[held]], high[empty[held]] = self.low[before[held]], self.high[before[held]]
        return low, high

    def at(self, moment: float, within_s: float) -> tuple[float, float]:
        """Lowest and highest of the readings nearest to a moment; NaN where there is none within `within_s`."""
        if not len(self.times):
            return np.nan, np.nan
        reach = max(within_s, self.step_s)
        near = np.abs(self.times - moment) <= reach
        if not near.any() or np.isnan(self.low[near]).all():
            return np.nan, np.nan
        if within_s > self.step_s:
            return float(np.nanmin(self.low[near])), float(np.nanmax(self.high[near]))
        place = int(np.argmin(np.abs(self.times - moment)))
        return float(self.low[place]), float(self.high[place])

    def bounds(self) -> tuple[float, float]:
        """Lowest and highest of all; NaN when nothing is known."""
        if not len(self.low) or np.isnan(self.low).all():
            return np.nan, np.nan
        return float(np.nanmin(self.low)), float(np.nanmax(self.high))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a chart shall show: one series, of another subject or time beside it, over a span of epoch seconds."""

    choice: Choice
    versus: Choice | None
    shift_s: float
    """How much before is shown beside it; 0: nothing is."""
    start: float
    until: float
    points: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was read of it. Without a curve `trouble` says why."""

    wanted: Wanted
    curve: Curve | None = None
    band: Curve | None = None
    versus: Curve | None = None
    earlier: Curve | None = None
    marks: tuple[Mark, ...] = ()
    trouble: str = ""


async def read(past: Any, frame: Frame | None, wanted: Wanted) -> Drawn:
    """Asks `past` (a control.past.Past). Raises what it raises."""
    start, until, points = wanted.start, wanted.until, wanted.points
    curve, band = await _curve_of(past, frame, wanted.choice, start, until, points)
    versus = (await _curve_of(past, frame, wanted.versus, start, until, points))[0] if wanted.versus else None
    earlier = None
    if wanted.shift_s:
        before, _ = await _curve_of(past, frame, wanted.choice, start - wanted.shift_s, until - wanted.shift_s, points)
        earlier = replace(before, times=before.times + wanted.shift_s)
    marks = await past.marks(start, until)
    return Drawn(wanted, curve, band, versus, earlier, marks)


async def _curve_of(
    past: Any, frame: Frame | None, choice: Choice, start: float, until: float, points: int
) -> tuple[Curve, Curve | None]:
    """The line and the band of its peers; None where it has no peers."""
    if choice.is_together:
        return await _together(past, frame, choice, start, until, points)
    query = {**choice.subject.query(), "since": start, "until": until, "points": points}
    series = await past.series(choice.series, **query)
    curve = _curve(f"{choice.words}, {choice.of}", series.unit, series, float(series.step_s))
    if choice.subject.kind == "fleet":
        return curve, None
    band = _curve("the others", series.unit, await past.peers(choice.series, **query), curve.step_s)
    return curve, band if not np.isnan(band.low).all() else None


def _curve(label: str, unit: str, found: Any, step_s: float) -> Curve:
    unit, many = SHOWN_AS.get(unit, (unit, 1.0))
    times, low, high = (np.asarray(column, float) for column in (found.times, found.low, found.high))
    return Curve(label, unit, times, low / many, high / many, step_s)


async def _together(
    past: Any, frame: Frame | None, choice: Choice, start: float, until: float, points: int
) -> tuple[Curve, Curve | None]:
    """All GPUs of a node as one line, over the band from the lowest to the highest of them."""
    row = frame.roster.node_row.get(choice.subject.node) if frame is not None else None
    indexes = frame.roster.gpu_index[frame.roster.gpus_of(row)].tolist() if row is not None else []
    count = max(2, min(points // 2, int(until - start)))
    lows, highs, unit, step_s = [], [], "", 1.0
    for index in indexes:
        series = await past.series(choice.series, node=choice.subject.node, gpu=index, since=start, until=until, points=points)
        one = _curve("", series.unit, series, float(series.step_s))
        low, high = one.columns(start, until, count)
        lows.append(low)
        highs.append(high)
        unit, step_s = one.unit, max(one.step_s, (until - start) / count)
    times = start + (np.arange(count) + 0.5) * (until - start) / count
    label = f"{choice.words}, {choice.of}"
    if not indexes:
        return Curve(label, unit, times[:0], times[:0], times[:0]), None
    low, high = np.array(lows), np.array(highs)  # (GPUs, count)
    how = TOGETHER[choice.series]
    together = {"mean": np.mean, "sum": np.sum, "highest": np.max}[how]
    curve = Curve(label, unit, times, together(low, axis=0), together(high, axis=0), step_s)
    if how == "sum":
        return curve, None
    return curve, Curve("its GPUs", unit, times, np.fmin.reduce(low), np.fmax.reduce(high), step_s)
