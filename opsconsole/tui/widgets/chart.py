"""The one chart: a braille line over the band of its peers, with limits, marks, a crosshair and an honest blank where nobody recorded."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from opsconsole.core.wording import UNKNOWN, count_text
from opsconsole.tui.curves import Curve
from opsconsole.tui.paint import Row, cells, scale_step, title
from opsconsole.tui.pane import Pane
from opsconsole.tui.widgets.braille import BRAILLE_BASE, raster

AXIS_CELLS = 7
LABELS_APART = 5
"""Lines between two labels of the axis, at least."""
TIMES_APART = 14
TIME_STEPS_S = (10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400)
"""Between two times below the chart."""
DAY_S = 86400.0
_Style = tuple[str, bool, str]
"""Ink, bold, ground."""


@dataclass(frozen=True, slots=True)
class Line:
    """axis: the values at the bottom and the top of the chart."""

    curve: Curve
    ink: str
    axis: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that is drawn. lines: the most important first; another axis than the first one's stands at the right."""

    title: str
    caption: str
    start: float
    until: float
    lines: tuple[Line, ...]
    band: Curve | None = None
    limits: tuple[float, ...] = ()
    readout: tuple[tuple[str, str], ...] = ()
    """Words and their ink, on a line of their own; none: no such line."""
    marks: tuple[tuple[float, str, str], ...] | None = None
    """(epoch seconds, glyph, ink), on a line below the chart; None: no such line."""
    cross: float | None = None
    """Epoch seconds of the crosshair."""
    blank: str = ""
    """What stands in the middle where there is no line to draw."""


class Chart(Pane):
    def picture(self) -> Picture | None:
        """What is to be drawn; None: nothing is known of it yet."""
        return None

    def rows(self, width: int, height: int) -> list[Row]:
        picture = self.picture()
        if picture is None:
            return [title(self.look, "CHART", width)]
        head = [title(self.look, picture.title, width, picture.caption, "dim")]
        if picture.readout:
            head.append(self._readout(picture, width))
        marks = picture.marks is not None and height >= 9
        plot_height = height - len(head) - 1 - marks
        if plot_height < 2 or not picture.lines:
            return [*head, *([self.row().put("  " + picture.blank, "dim")] if picture.blank else [])]
        right = AXIS_CELLS if self._second_axis(picture) else 0
        room = width - AXIS_CELLS - right
        below = [self._marks(picture, room)] if marks else []
        return [*head, *self._plot(picture, room, plot_height), *below, self._times(picture, room)]

    def _readout(self, picture: Picture, width: int) -> Row:
        row = self.row().put(" ")
        for words, ink in picture.readout:
            if row.used < width:
                row.column(words, min(cells(words), width - row.used), ink, ink != "dim")
        return row

    @staticmethod
    def _second_axis(picture: Picture) -> Line | None:
        return next((line for line in picture.lines[1:] if line.axis != picture.lines[0].axis), None)

    def _plot(self, picture: Picture, width: int, height: int) -> list[Row]:
        axis, second = picture.lines[0].axis, self._second_axis(picture)
        glyphs, styles, known_styles = self._cells(picture, width, height)
        labels, others = _labels(height, axis), _labels(height, second.axis) if second else {}
        rows = []
        for y in range(height):
            row = self.row().put(f"{labels.get(y, ''):>5} ", "dim").put("┤" if y in labels else "│", "line")
            text = glyphs[y].tobytes().decode("utf-32-le")
            starts = [0, *(np.flatnonzero(np.diff(styles[y])) + 1).tolist(), width]
            for start, end in pairwise(starts):
                row.put(text[start:end], *known_styles[styles[y, start]])
            if second:
                row.put("├" if y in others else "│", "line").put(f" {others.get(y, ''):<5}", second.ink)
            rows.append(row)
        if picture.blank:
            words = f" {picture.blank} "
            rows[height // 2] = self.row().to(AXIS_CELLS + max(0, (width - len(words)) // 2)).put(words, "strong")
        return rows

    def _cells(self, picture: Picture, width: int, height: int) -> tuple[np.ndarray, np.ndarray, list[_Style]]:
        """(height, width) code points, (height, width) numbers of their styles, and the styles."""
        columns = [line.curve.columns(picture.start, picture.until, 2 * width) for line in picture.lines]
        codes = np.array([raster(low, high, height, *line.axis) for line, (low, high) in zip(picture.lines, columns, strict=True)])
        inks = [*(line.ink for line in picture.lines), "faint", "crit", "strong"]
        faint, crit, strong = (len(picture.lines) + place for place in range(3))
        band = self._band(picture, width, height)
        native = self.look.is_native
        glyphs = np.where(band & native, ord("░"), ord(" ")).astype("<u4")
        ink = np.full((height, width), faint)
        unknown = np.isnan(columns[0][0].reshape(width, 2)).all(axis=1)
        glyphs[-1, unknown] = ord("┈")
        for limit in {_line_of(value, height, picture.lines[0].axis) for value in picture.limits} - {-1}:
            glyphs[limit], ink[limit] = ord("╌"), crit
        ground = np.zeros((height, width), int) if native else band.astype(int)
        cross = _column_of(picture.cross, picture, width)
        if cross is not None:
            glyphs[:, cross], ink[:, cross], ground[:, cross] = ord("│"), strong, 2
        lit = codes > 0  # (lines, height, width)
        drawn = lit.any(axis=0)
        glyphs[drawn] = BRAILLE_BASE + np.bitwise_or.reduce(codes)[drawn].astype("<u4")
        ink[drawn] = lit.argmax(axis=0)[drawn]
        known = [(name, not place, where) for where in ("ground", "band", "chosen") for place, name in enumerate(inks)]
        return glyphs, ground * len(inks) + ink, known

    def _band(self, picture: Picture, width: int, height: int) -> np.ndarray:
        """(height, width) whether a cell lies between the lowest and the highest of the others."""
        if picture.band is None:
            return np.zeros((height, width), bool)
        axis = picture.lines[0].axis
        low, high = picture.band.columns(picture.start, picture.until, width)
        scale = (height - 1e-9) / ((axis[1] - axis[0]) or 1.0)
        top, bottom = np.floor((axis[1] - high) * scale), np.floor((axis[1] - low) * scale)
        line = np.arange(height)[:, None]
        with np.errstate(invalid="ignore"):
            return (line >= top) & (line <= bottom)

    def _marks(self, picture: Picture, width: int) -> Row:
        row = self.row()
        found = {_column_of(at, picture, width): (glyph, ink) for at, glyph, ink in picture.marks or ()}
        for place in sorted(place for place in found if place is not None):
            row.to(AXIS_CELLS + place).put(*found[place], True)
        return row

    def _times(self, picture: Picture, width: int) -> Row:
        """Round times, each under its column."""
        row = self.row().to(AXIS_CELLS)
        length_s = picture.until - picture.start
        step_s = next((step_s for step_s in TIME_STEPS_S if length_s / step_s <= width / TIMES_APART), TIME_STEPS_S[-1])
        form = "%H:%M:%S" if step_s < 60 else ("%H:%M" if length_s <= DAY_S else ("%d %b %H:%M" if step_s < DAY_S else "%d %b"))
        for number in range(math.ceil(picture.start / step_s), math.floor(picture.until / step_s) + 1):
            words = time.strftime(form, time.gmtime(number * step_s))
            column = _column_of(number * step_s, picture, width) or 0
            place = AXIS_CELLS + max(0, min(width - len(words), column - len(words) // 2))
            if place >= row.used:
                row.to(place).put(words + " ", "dim")
        return row


def _line_of(value: float, height: int, axis: tuple[float, float]) -> int:
    low, high = axis
    return int((high - value) * (height - 1e-9) / ((high - low) or 1.0)) if low - 1e-9 <= value <= high + 1e-9 else -1


def _column_of(moment: float | None, picture: Picture, width: int) -> int | None:
    if moment is None or not picture.start <= moment <= picture.until:
        return None
    return min(width - 1, int((moment - picture.start) * width / (picture.until - picture.start)))


def _labels(height: int, axis: tuple[float, float]) -> dict[int, str]:
    """Line -> label: the round values of the axis, as many as there is room for."""
    low, high = axis
    step = scale_step(low, high, max(1, min(6, height // LABELS_APART)))
    digits = 0 if step >= 1 else (1 if step >= 0.1 else 2)
    ticks = [step * number for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    return {min(height - 1, max(0, _line_of(tick, height, axis))): axis_text(tick, digits) for tick in ticks}


def axis_text(value: float, digits: int = 0) -> str:
    """A value in at most five cells."""
    if value != value:
        return UNKNOWN
    return f"{value:.{digits}f}" if abs(value) < 10_000 and len(f"{value:.{digits}f}") <= 5 else count_text(value)
