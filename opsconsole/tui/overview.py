"""What the time bar tells of a span of the past: how much trouble there was, what was done, and where nobody recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from opsconsole.core.marks import Mark
    from opsconsole.tui.frame import Frame

POINTS = 1200
"""Of a series under the bar: several for each cell of a wide terminal."""
MARKS_LIMIT = 4000
TROUBLE_MOST = 6.0
GLYPHS = {"action": ("◆", "accent"), "clear": ("✔", "ok"), "event": ("◌", "info")}
IMPORTANCE = ("clear", "event", "action", "alarm")
"""Of marks in one cell the last of these is drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """times: (T,) epoch seconds; trouble: (T,) 0 to 6, NaN where nobody recorded; marks: oldest first."""

    start: float
    until: float
    times: np.ndarray
    trouble: np.ndarray
    marks: tuple[Mark, ...]

    def cells(self, width: int) -> list[float]:
        """The worst of each of `width` equal spans; NaN: nobody recorded in it."""
        found = np.full(width, np.nan)
        place = ((self.times - self.start) * (width / (self.until - self.start))).astype(np.int64)
        inside = (place >= 0) & (place < width)
        np.fmax.at(found, place[inside], self.trouble[inside])
        held = np.flatnonzero(~np.isnan(found))
        if len(held) > 1 and len(self.times) < 2 * width:  # fewer readings than cells: a cell between two of them is no gap
            far = int(np.ceil(1.5 * np.median(np.diff(held))))
            for left, right in zip(held[:-1].tolist(), held[1:].tolist(), strict=True):
                found[left + 1 : right] = found[left] if right - left <= far else np.nan
        return found.tolist()

    def marked(self, width: int) -> dict[int, tuple[str, str]]:
        """Place among `width` cells -> glyph and ink of the most important mark there."""
        found: dict[int, Mark] = {}
        for mark in self.marks:
            place = int((mark.at - self.start) * width / (self.until - self.start))
            if 0 <= place < width and (place not in found or weight(mark) >= weight(found[place])):
                found[place] = mark
        return {place: mark_glyph(mark) for place, mark in found.items()}


def mark_glyph(mark: Mark) -> tuple[str, str]:
    """Glyph and ink of a mark."""
    if mark.kind == "alarm":
        return ("✖", "crit") if mark.severity >= 2 else ("▲", "warn")
    return GLYPHS.get(mark.kind, GLYPHS["event"])


def mark_text(mark: Mark) -> str:
    """What happened, and to what."""
    return mark.text if mark.subject in mark.text else f"{mark.subject}: {mark.text}" if mark.text else mark.subject


def weight(mark: Mark) -> tuple[int, int]:
    """How important a mark is beside another."""
    return (IMPORTANCE.index(mark.kind) if mark.kind in IMPORTANCE else 1, mark.severity)


async def overview_of(past: Any, frame: Frame | None, start: float, until: float) -> Overview:
    """Asks `past` (a control.past.Past) for a span. Trouble: nodes missing and alarms open, by order of magnitude, and one step for a
    latency over every objective. frame: one near the span, for the size of the fleet and the alarms open at its moment."""
    live = await past.series("fleet.nodes_live", since=start, until=until, points=POINTS)
    ttft = await past.series("fleet.ttft_p95_ms", since=start, until=until, points=POINTS)
    marks = await past.marks(start, until, MARKS_LIMIT)
    times, nodes_live = np.asarray(live.times, float), np.asarray(live.values, float)
    if not len(times):
        return Overview(start, until, times, nodes_live, marks)
    nodes = max(len(frame.roster.nodes) if frame else 0, float(np.nanmax(nodes_live, initial=0.0)))
    bad = np.maximum(nodes - nodes_live, 0.0) + _open_alarms(times, marks, frame, start)
    trouble = np.ceil(np.log2(1 + bad)) + _too_slow(times, ttft, frame)
    return Overview(start, until, times, np.minimum(trouble, TROUBLE_MOST), marks)


def _open_alarms(times: np.ndarray, marks: tuple[Mark, ...], frame: Frame | None, start: float) -> np.ndarray:
    """(T,) alarms open at each time, counted by what they are about: one that is only cleared in the span was open from its beginning.

    Those that stood before the span and after it have no marks in it: the frame tells them.
    """
    steps: dict[str, list[tuple[float, int]]] = {}
    for mark in marks if len(marks) < MARKS_LIMIT else ():
        if mark.kind in ("alarm", "clear"):
            steps.setdefault(mark.subject, []).append((mark.at, 1 if mark.kind == "alarm" else -1))
    standing = [alarm for alarm in frame.fleet.alarms if alarm.since < start and alarm.subject not in steps] if frame is not None else []
    count = np.full(len(times), float(len(standing)))
    for of_subject in steps.values():
        at, by = (np.array(column, float) for column in zip(*of_subject, strict=True))
        open_then = np.concatenate([[0.0], np.cumsum(by)])
        count += open_then[np.searchsorted(at, times, side="right")] - open_then.min()
    return count


def _too_slow(times: np.ndarray, ttft: Any, frame: Frame | None) -> np.ndarray:
    """(T,) 1 where the latency was over every objective."""
    objectives = [model.ttft_p95_ms for model in frame.roster.models if model.ttft_p95_ms] if frame else []
    if not objectives or not len(ttft.times):
        return np.zeros(len(times))
    nearest = np.clip(np.searchsorted(ttft.times, times, side="right") - 1, 0, len(ttft.times) - 1)
    return (np.nan_to_num(np.asarray(ttft.values, float)[nearest]) > max(objectives)).astype(float)
