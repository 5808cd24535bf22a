"""A series as a small chart of text: its range, its figures, and its gaps shown as gaps."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from opsconsole.cli.output import can_print
from opsconsole.core.wording import age_text, number_text

HEIGHT_LINES = 6
BLOCKS = " ▁▂▃▄▅▆▇█"
SHADE = "░"
"""From the mean of a cell up to its highest reading, so that no peak is lost in a mean."""
ASCII_BLOCKS, ASCII_SHADE = " ..::++##", "'"
"""Where the terminal's encoding has no blocks."""
GAP_FACTOR = 2.5
"""Readings further apart than so many usual distances have a gap between them."""
GAPS_SHOWN = 5


def chart_lines(
    times: np.ndarray, values: np.ndarray, since: float, until: float, unit: str, width: int,
    lows: np.ndarray | None = None, highs: np.ndarray | None = None,
) -> list[str]:
    """Lines of a chart of (P,) times and values (NaN: no reading) from since to until, at most `width` cells wide.

    lows, highs: (P,) the lowest and highest reading that each value stands for; None: the value itself.
    """
    known = ~np.isnan(values)
    if not known.any():
        return [f"no reading between {_clock(since)} and {_clock(until)}"]
    lows, highs = values if lows is None else lows, values if highs is None else highs
    low, high = float(lows[known].min()), float(highs[known].max())
    labels = [number_text(value, _digits(low, high)) for value in (high, low)]
    margin = max(map(len, labels))
    cells = max(width - margin - 3, 10)
    means, tops = (_binned(times[known], part[known], since, until, cells, top) for part, top in ((values, False), (highs, True)))
    rows = _rows(_levels(means, low, high), _levels(tops, low, high))
    ends = [labels[0], *[""] * (HEIGHT_LINES - 2), labels[1]]
    lines = [f"{end:>{margin}} | {row}".rstrip() for end, row in zip(ends, rows, strict=True)]
    axis = f"{_clock(since)}{_clock(until):>{max(cells - len(_clock(since)), 1)}}"
    return [*lines, " " * (margin + 3) + axis, *_figures(values[known], unit, low, high), *_gap_lines(times, values, since, until)]


def _figures(known: np.ndarray, unit: str, low: float, high: float) -> list[str]:
    digits = _digits(low, high)
    said = {"min": low, "mean": float(known.mean()), "max": high, "last": float(known[-1])}
    return ["  ".join(f"{name} {number_text(value, digits, unit)}" for name, value in said.items()) + f"  ({len(known)} readings)"]


def _digits(low: float, high: float) -> int:
    span = max(abs(low), abs(high))
    return 0 if span >= 100 or (low == int(low) and high == int(high)) else 1 if span >= 10 else 2


def _binned(times: np.ndarray, values: np.ndarray, since: float, until: float, cells: int, highest: bool) -> np.ndarray:
    """Mean (or highest) of the readings in each cell of time, (cells,); NaN: none.

    A cell narrower than the readings' distance takes its neighbour's.
    """
    span = max(until - since, 1e-9)
    inside = (times >= since) & (times <= until)
    places = np.minimum((times[inside] - since) / span * cells, cells - 1).astype(int)
    counts = np.bincount(places, minlength=cells)
    if highest:
        found = np.full(cells, -np.inf)
        np.maximum.at(found, places, values[inside])
        found[counts == 0] = np.nan
    else:
        found = np.bincount(places, weights=values[inside], minlength=cells) / np.where(counts > 0, counts, np.nan)
    reach = int(np.ceil(_usual_distance(times) * 1.5 / span * cells)) - 1
    for cell in np.flatnonzero(counts == 0):
        before = np.flatnonzero(counts[max(cell - reach, 0): cell]) if reach > 0 else ()
        if len(before):
            found[cell] = found[max(cell - reach, 0) + before[-1]]
    return found


def _levels(cells: np.ndarray, low: float, high: float) -> np.ndarray:
    """Height of each cell in eighths of a line, (cells,); at least one where there is a reading, 0 where there is none."""
    scaled = (cells - low) / (high - low) if high > low else np.where(np.isnan(cells), np.nan, 0.5)
    top = HEIGHT_LINES * (len(BLOCKS) - 1)
    return np.nan_to_num(1 + np.round(scaled * (top - 1)), nan=0).astype(int)


def _rows(levels: np.ndarray, tops: np.ndarray) -> list[str]:
    """The lines from the top: blocks up to the level of each cell, shade above it as far as more than half of a line is reached."""
    blocks, shade = (BLOCKS, SHADE) if can_print(BLOCKS + SHADE) else (ASCII_BLOCKS, ASCII_SHADE)
    step = len(BLOCKS) - 1

    def said(level: int, top: int, floor: int) -> str:
        return shade if level <= floor and top > floor + step // 2 else blocks[min(max(level - floor, 0), step)]

    pairs = list(zip(levels.tolist(), tops.tolist(), strict=True))
    return ["".join(said(level, top, line * step) for level, top in pairs) for line in reversed(range(HEIGHT_LINES))]


def gaps(times: np.ndarray, values: np.ndarray, since: float, until: float) -> list[tuple[float, float]]:
    """Stretches without a reading, longer than readings are usually apart: [(from, to)] in epoch seconds."""
    known = times[~np.isnan(values)]
    if not len(known):
        return [(since, until)]
    edges = np.concatenate(([since], known, [until]))
    wide = np.flatnonzero(np.diff(edges) > max(_usual_distance(known) * GAP_FACTOR, 2.0))
    return [(float(edges[place]), float(edges[place + 1])) for place in wide]


def _usual_distance(times: np.ndarray) -> float:
    return float(np.median(np.diff(times))) if len(times) > 1 else 1.0


def _gap_lines(times: np.ndarray, values: np.ndarray, since: float, until: float) -> list[str]:
    found = gaps(times, values, since, until)
    lines = [f"gap: no reading {_clock(start)} to {_clock(end)} ({age_text(end - start)})" for start, end in found[:GAPS_SHOWN]]
    return lines + ([f"and {len(found) - GAPS_SHOWN} more gaps"] if len(found) > GAPS_SHOWN else [])


def _clock(at: float) -> str:
    """Local time, as on the wall beside the operator."""
    return datetime.fromtimestamp(at).strftime("%m-%d %H:%M:%S")
