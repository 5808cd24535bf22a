"""Lines of the screen are built here: text is made harmless, measured in cells and given the style of its meaning."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment

from opsconsole.core.text import clean
from opsconsole.core.wording import UNKNOWN
from opsconsole.tui.looks import Look

BARS = " ▁▂▃▄▅▆▇▇"
SHADES = " ░▒▓█"
_VARIATION_SELECTORS = {code: None for code in range(0xFE00, 0xFE10)}
"""Terminals disagree on how wide a letter with one of them is."""

Line = list[Segment]
Fields = tuple[tuple[str, int, bool], ...]
"""The columns of a table: title, cells with the gap behind it, whether right aligned. The last one, of 0 cells, takes what is left."""
NAME_CELLS_LEAST, NAME_CELLS_MOST = 8, 26
"""Of a column of names, with the gap behind it."""


def is_known(value: float | None) -> bool:
    return value is not None and value == value


def milliseconds(value: float | None) -> str:
    """A latency in at most five cells: 85ms, 2.82s."""
    if not is_known(value):
        return UNKNOWN
    return f"{value:.0f}ms" if value < 1000 else (f"{value / 1000:.2f}s" if value < 10_000 else f"{value / 1000:.0f}s")  # type: ignore[operator]


def watts(value: float | None) -> str:
    """Power in at most six cells and no finer than it is steady: 405W, 2.7kW."""
    if not is_known(value):
        return UNKNOWN
    return f"{value:.0f}W" if value < 1000 else (f"{value / 1000:.1f}kW" if value < 99_950 else f"{value / 1000:.0f}kW")  # type: ignore[operator]


def fit(text: str, width: int, right: bool = False) -> str:
    """`text` in exactly `width` cells, harmless; "…" marks a cut."""
    if width <= 0:
        return ""
    if text.isascii() and text.isprintable():
        if len(text) > width:
            return text[: width - 1] + "…"
        return text.rjust(width) if right else text.ljust(width)
    text = clean(text).translate(_VARIATION_SELECTORS)
    cells = cell_len(text)
    if cells > width:
        return set_cell_size(text, width - 1) + "…"
    padding = " " * (width - cells)
    return padding + text if right else text + padding


def fit_name(text: str, width: int) -> str:
    """A name in exactly `width` cells: cut in the middle, because names that begin alike are told apart by their ends; not so hosts
    with a domain, which is cut first."""
    text = clean(text).translate(_VARIATION_SELECTORS)
    host = text.partition(".")[0] if text.rpartition(".")[2].isalpha() else text
    if cell_len(host) <= width or width < NAME_CELLS_LEAST:
        return fit(host if cell_len(host) == width else text, width)
    tail = ""
    for letter in reversed(host):
        if cell_len(letter + tail) > (width - 1) // 3:
            break
        tail = letter + tail
    return fit(set_cell_size(host, width - 1 - cell_len(tail)) + "…" + tail, width)


def cells(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


class Row:
    """One line under construction, written from left to right."""

    __slots__ = ("look", "ground", "segments", "used")

    def __init__(self, look: Look, ground: str = "ground") -> None:
        self.look = look
        self.ground = ground
        self.segments: Line = []
        self.used = 0
        """Cells written so far."""

    def put(self, text: str, ink: str = "text", bold: bool = False, ground: str = "") -> Row:
        if not text.isprintable():
            text = clean(text)
        style = self.look.style(ink, ground or self.ground, bold)
        segments = self.segments
        if segments and segments[-1].style is style:
            segments[-1] = Segment(segments[-1].text + text, style)
        else:
            segments.append(Segment(text, style))
        self.used += len(text) if text.isascii() else cell_len(text)
        return self

    def column(self, text: str, width: int, ink: str = "text", bold: bool = False, right: bool = False, ground: str = "") -> Row:
        """Text cut or padded to `width` cells."""
        return self.put(fit(text, width, right), ink, bold, ground) if width > 0 else self

    def name(self, text: str, width: int, ink: str = "text", bold: bool = False) -> Row:
        """A name of a thing cut or padded to `width` cells, its end kept."""
        return self.put(fit_name(text, width), ink, bold) if width > 0 else self

    def add(self, segments: Iterable[Segment], width: int) -> Row:
        """Ready segments of `width` cells together."""
        self.segments.extend(segments)
        self.used += width
        return self

    def pairs(self, *words: str) -> Row:
        """Text and ink by turns."""
        for text, ink in zip(words[::2], words[1::2], strict=False):
            self.put(text, ink)
        return self

    def to(self, position: int, ink: str = "text", ground: str = "") -> Row:
        """Blanks up to a cell position."""
        if position > self.used:
            self.put(" " * (position - self.used), ink, False, ground)
        return self


def title(look: Look, text: str, width: int, right: str = "", ink: str = "dim", indent: int = 0) -> Row:
    """A thin rule that names what is below it: ─ TITLE ───── right ─"""
    row = Row(look).to(indent)
    width -= indent
    right = f" {right} " if right else ""
    room = width - 4
    name = fit(text, min(cells(text), max(0, room)))
    if cells(name) + cells(right) > room:
        right = fit(right, max(0, room - cells(name)))
    row.put("─ ", "line").put(name, "text", True)
    row.put(" " + "─" * max(0, width + indent - row.used - 2 - cells(right)), "line").put(right, ink)
    return row.put("─", "line")


def buckets(values: np.ndarray, width: int) -> np.ndarray:
    """The largest value in each of `width` equal spans of time; NaN where a span has none."""
    count = len(values)
    if not count or width <= 0:
        return np.full(max(width, 0), np.nan)
    starts = np.arange(width) * count // width
    if count < width:
        return values[starts]
    return np.fmax.reduceat(values, starts)


def bar_levels(values: np.ndarray, low: float, high: float) -> list[int]:
    """0 (unknown) or 1..7 for each value."""
    scaled = np.clip((values - low) * (6.99 / ((high - low) or 1.0)), 0, 6) + 1
    return np.nan_to_num(scaled, nan=0.0).astype(int).tolist()


def spark(row: Row, values: np.ndarray, width: int, low: float | None = 0.0, high: float | None = None,
          limit: float | None = None, ink: str = "bar", hot: str = "warn", ground: str = "") -> Row:
    """A sparkline whose part above `limit` changes its ink: it shows when it went wrong. A gap stays a gap."""
    spans = buckets(np.asarray(values, float), width)
    seen = spans[~np.isnan(spans)]
    floor = low if low is not None else (float(seen.min()) if seen.size else 0.0)
    top = high if high is not None else (float(seen.max()) if seen.size else 1.0)
    top = max(top, limit * 1.2) if limit and seen.size and top > limit else top
    levels = bar_levels(spans, floor, max(top, floor + 1e-9))
    warm = (spans > limit).tolist() if limit is not None else [False] * width
    for is_warm, run in groupby(zip(warm, levels, strict=False), itemgetter(0)):
        row.put("".join(BARS[level] for _, level in run), hot if is_warm else ink, False, ground)
    return row


def meter(row: Row, share: float | None, width: int, ink: str = "bar", ground: str = "", rest: str = "line") -> Row:
    """A horizontal bar; blank when the share is unknown."""
    if not is_known(share):
        return row.put(" " * width, ink, False, ground)
    full = int(max(0.0, min(1.0, share)) * width + 0.5)  # type: ignore[operator]
    return row.put("━" * full, ink, False, ground).put("─" * (width - full), rest, False, ground)


def scale_step(low: float, high: float, parts: int) -> float:
    """A round distance between axis ticks."""
    rough = max((high - low) / max(parts, 1), 1e-9)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= rough)


def fit_fields(fields: Fields, width: int, longest: Mapping[str, int], spared: Sequence[str], rest: int) -> Fields:
    """The columns with as much room for names as they need. longest: cells of the longest name, by column; spared: the columns to leave
    out, the least important first, as long as the last one has less than `rest` cells."""
    wanted = {name: max(NAME_CELLS_LEAST, min(NAME_CELLS_MOST, most + 2)) for name, most in longest.items()}
    fitted = tuple((name, wanted.get(name, room), right) for name, room, right in fields)
    for least in spared:
        if width - sum(room for _, room, _ in fitted) >= rest:
            break
        fitted = tuple(field for field in fitted if field[0] != least)
    return fitted


def columns(row: Row, fields: Sequence[tuple[str, int, bool]], ink: str = "dim") -> Row:
    """A table's head: (name, width, right aligned)."""
    for name, width, right in fields:
        row.column(name, width - 1, ink, right=right).put(" ", ink) if width > 1 else row.column(name, width, ink)
    return row
