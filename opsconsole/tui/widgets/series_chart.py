"""The picture of the chart screen: its lines with their values under the crosshair, in words that fit the unit."""

from __future__ import annotations

import math

from opsconsole.core.wording import UNKNOWN, count_text
from opsconsole.tui.curves import Curve, Drawn
from opsconsole.tui.overview import mark_glyph, mark_text
from opsconsole.tui.paint import scale_step
from opsconsole.tui.subject import limits
from opsconsole.tui.when import clock_text, span_text
from opsconsole.tui.widgets.chart import AXIS_CELLS, Chart, Line, Picture

SHIFTS = ((0.0, ""), (3600.0, "an hour before"), (86400.0, "a day before"), (7 * 86400.0, "a week before"))
TICKS = 4
NOT_FROM_ZERO = ("°C", "MHz")
LIMIT_NEAR = 2.0
"""A limit so many times higher than all readings would press the line flat: it is told, not drawn."""


class SeriesChart(Chart):
    @property
    def plot_width(self) -> int:
        return max(1, self.size.width - AXIS_CELLS)

    def _keys(self) -> str:
        return "m series · z w span · ← → crosshair" if self.size.width >= 110 else "m series"

    def picture(self) -> Picture:
        screen = self.screen
        drawn: Drawn | None = screen.drawn
        start, until = screen.span() if drawn is None else (drawn.wanted.start, drawn.wanted.until)
        unit = drawn.curve.unit if drawn is not None and drawn.curve is not None else ""
        head = f"{screen.choice.words.upper()} {unit}".strip() + f" · {screen.choice.of}"
        known = limits(screen.roster_frame, screen.choice)
        caption = " · ".join((span_text(until - start), *(f"{word} {_value(value, unit)}" for value, word in known), self._keys()))
        if drawn is None or drawn.curve is None:
            blank = drawn.trouble if drawn is not None else "reading …"
            return Picture(head, caption, start, until, (), blank=blank)
        lines = self._lines(drawn, [value for value, _ in known])
        shown = tuple(value for value, _ in known if lines[0].axis[0] <= value <= lines[0].axis[1])
        nothing = all(math.isnan(line.curve.bounds()[0]) for line in lines)
        blank = f"nobody recorded this from {clock_text(start)} to {clock_text(until)} UTC" if nothing else ""
        marks = tuple((mark.at, *mark_glyph(mark)) for mark in drawn.marks)
        readout = self._readout_of(drawn, screen.cross)
        return Picture(head, caption, start, until, lines, drawn.band, shown, readout, marks, screen.cross, blank)

    def _lines(self, drawn: Drawn, limit_values: list[float]) -> tuple[Line, ...]:
        main = drawn.curve
        alike = [curve for curve in (main, drawn.band, drawn.earlier) if curve is not None]
        if drawn.versus is not None and drawn.versus.unit == main.unit:
            alike.append(drawn.versus)
        axis = axis_of(alike, main.unit, limit_values)
        _, high = main.bounds()
        hot = any(high > value for value in limit_values) and drawn.wanted.choice.series.split(".")[1] != "workers_ready"
        lines = [Line(main, "warn" if hot else "accent", axis)]
        if drawn.versus is not None:
            own = axis if drawn.versus.unit == main.unit else axis_of([drawn.versus], drawn.versus.unit, [])
            lines.append(Line(drawn.versus, "info", own))
        if drawn.earlier is not None:
            lines.append(Line(drawn.earlier, "dim", axis))
        return tuple(lines)

    def _readout_of(self, drawn: Drawn, cross: float | None) -> tuple[tuple[str, str], ...]:
        """What each line says under the crosshair, else at its newest reading."""
        at = cross if cross is not None else (float(drawn.curve.times[-1]) if len(drawn.curve.times) else drawn.wanted.until)
        within_s = (drawn.wanted.until - drawn.wanted.start) / (2.0 * self.plot_width)
        words = [(f"{clock_text(at)}  ", "strong" if cross is not None else "dim"), (_reading(drawn.curve, at, within_s), "accent")]
        if drawn.band is not None:
            words.append((f"   {drawn.band.label} {_reading(drawn.band, at, within_s)}", "text"))
        if drawn.versus is not None:
            words.append((f"   {drawn.versus.label} {_reading(drawn.versus, at, within_s)}", "info"))
        if drawn.earlier is not None:
            words.append((f"   {dict(SHIFTS)[drawn.wanted.shift_s]} {_reading(drawn.earlier, at, within_s)}", "dim"))
        near = [mark for mark in drawn.marks if abs(mark.at - at) <= max(1.0, within_s)] if cross is not None else []
        words += [(f"   {mark_glyph(mark)[0]} {mark_text(mark)}", mark_glyph(mark)[1]) for mark in near[:1]]
        return tuple(words)


def axis_of(alike: list[Curve], unit: str, limit_values: list[float]) -> tuple[float, float]:
    """Round values below and above all readings; zero is below where a length from zero means something."""
    if unit == "%":
        return 0.0, 100.0
    bounds = [curve.bounds() for curve in alike]
    lows, highs = ([edge for edge in edges if edge == edge] for edges in zip(*bounds, strict=True))
    low, high = (min(lows), max(highs)) if lows else (0.0, 1.0)
    near = [value for value in limit_values if high * LIMIT_NEAR >= value >= low]
    high = max([high, *(value * 1.05 for value in near)])
    low = low if unit in NOT_FROM_ZERO else min(0.0, low)
    step = scale_step(low, max(high, low + 1e-6), TICKS)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    return low, high if high > low else low + step


def _reading(curve: Curve, at: float, within_s: float) -> str:
    low, high = curve.at(at, within_s)
    said, most = _value(low, ""), _value(high, "")
    if UNKNOWN in (said, most):
        return "no reading"
    return f"{said} {curve.unit}".strip() if said == most else f"{said} … {most} {curve.unit}".strip()


def _value(value: float, unit: str) -> str:
    if value != value:
        return UNKNOWN
    said = count_text(value) if abs(value) >= 100_000 else f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.1f}"
    return f"{said} {unit}".strip()
