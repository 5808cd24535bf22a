"""What is looked for in the history around a moment: where a gap begins and ends, and the nearest thing that happened."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsconsole.core.text import clean
from opsconsole.tui.overview import mark_glyph, mark_text, weight
from opsconsole.tui.when import clock_text, span_text

if TYPE_CHECKING:
    from opsconsole.core.marks import Mark

SEARCHES_S = (3600.0, 86400.0, 30 * 86400.0, math.inf)
"""How far is looked, one after the other."""
MARKS_LOOKED_THROUGH = 100_000


@dataclass(frozen=True, slots=True)
class Absence:
    """Why there is nothing to draw at a moment. since, until: the nearest recorded seconds around it, None where none is known."""

    words: str
    since: float | None = None
    until: float | None = None


async def gap_around(past: Any, since: float, moment: float, now: float) -> Absence:
    """Between which recorded seconds a moment lies that nobody recorded; since: the last one before it."""
    until = await _recorded_after(past, moment, now)
    start = clock_text(since, now)
    if until is None:
        return Absence(f"nobody recorded after {start} UTC", since)
    return Absence(f"nobody recorded from {start} to {clock_text(until, now)} UTC ({span_text(until - since)})", since, until)


async def _recorded_after(past: Any, moment: float, now: float) -> float | None:
    """The first recorded second after a moment; None: there is none, or it cannot be read."""
    for far_s in SEARCHES_S:
        until = min(moment + far_s, now)
        try:
            found = await past.series("fleet.nodes_live", since=moment, until=until)
        except Exception:  # a gap without a known end is still a gap
            return None
        known = found.times[found.values == found.values]
        if len(known):
            return float(known[0])
        if until < moment + far_s:
            break
    return None


async def marks_beyond(past: Any, stand: float, direction: int, now: float) -> list[Mark]:
    """All marks of the nearest second after (1) or before (-1) a moment that has one; empty where there is none."""
    edge = math.floor(stand)
    for far_s in SEARCHES_S:
        span = (edge + 1.0, edge + 1.0 + far_s) if direction > 0 else (max(0.0, edge - far_s), edge - 1e-6)
        found = await past.marks(span[0], min(span[1], now), MARKS_LOOKED_THROUGH)
        if found:
            second = math.floor(found[0 if direction > 0 else -1].at)
            return [mark for mark in found if math.floor(mark.at) == second]
    return []


def mark_words(marks: list[Mark], now: float) -> str:
    """When it was and what, in one line."""
    worst = max(marks, key=weight)
    who = f" by {worst.actor}" if worst.actor else ""
    more = f" · {len(marks) - 1} more in this second" if len(marks) > 1 else ""
    return clean(f"{clock_text(worst.at, now)} {mark_glyph(worst)[0]} {mark_text(worst)}{who}{more}")
