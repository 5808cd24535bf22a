"""A rectangle of lines drawn straight into the terminal: lines that did not change are neither built nor sent again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from opsconsole.tui.looks import Look
from opsconsole.tui.paint import Line, Row

if TYPE_CHECKING:
    from opsconsole.tui.frame import Frame
    from opsconsole.tui.sight import Sight


@lru_cache(16384)
def _codes(style: Style, system: ColorSystem) -> tuple[frozenset[str], str, str]:
    """Attributes, ink and ground of a style as SGR codes; "" is the terminal's own."""
    attributes = Strip.render_ansi(Style(bold=style.bold, dim=style.dim, reverse=style.reverse, underline=style.underline), system)
    ink = Strip.render_ansi(Style(color=style.color), system) if style.color else ""
    ground = Strip.render_ansi(Style(bgcolor=style.bgcolor), system) if style.bgcolor else ""
    return frozenset(filter(None, attributes.split(";"))), ink, ground


@lru_cache(65536)
def _change(before: Style | None, after: Style, system: ColorSystem) -> str:
    """The shortest escape sequence from one style to the next; before None: from a reset terminal."""
    old = _codes(before, system) if before is not None else (frozenset(), "", "")
    new = _codes(after, system)
    codes: list[str] = []
    if old[0] - new[0] or (old[1] and not new[1]) or (old[2] and not new[2]):
        codes, old = ["0"], (frozenset(), "", "")
    codes += sorted(new[0] - old[0])
    codes += [code for code, had in ((new[1], old[1]), (new[2], old[2])) if code and code != had]
    return f"\x1b[{';'.join(codes)}m" if codes else ""


class PaintedStrip(Strip):
    """A strip that sends only the difference between neighbouring styles: a third of the bytes of one reset a segment."""

    __slots__ = ()

    def render(self, console: Console) -> str:
        if self._render_cache is None:
            system = console._color_system or ColorSystem.TRUECOLOR
            out: list[str] = []
            before: Style | None = None
            for text, style, _ in self._segments:
                out.append(_change(before, style, system))
                out.append(text)
                before = style
            self._render_cache = "".join(out) + "\x1b[0m"
        return self._render_cache

    def crop(self, start: int, end: int | None = None) -> Strip:
        return painted(super().crop(start, end))

    def divide(self, cuts: Iterable[int]) -> Sequence[Strip]:
        return [painted(part) for part in super().divide(cuts)]


def painted(strip: Strip) -> PaintedStrip:
    """The same strip, sent in fewer bytes."""
    return strip if isinstance(strip, PaintedStrip) else PaintedStrip(strip._segments, strip._cell_length)


class Pane(Widget, can_focus=False):
    """Draws `rows(width, height)`, compares them with what is on the screen, and refreshes the lines that differ."""

    ALLOW_SELECT = False
    GROUND = "ground"

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.frame: Frame | None = None
        self._painted: list[Line] = []
        self._strips: list[Strip] = []
        self._drawn: tuple[int, int, Look] | None = None

    @property
    def look(self) -> Look:
        return self.app.look  # type: ignore[attr-defined,no-any-return]

    @property
    def sight(self) -> Sight:
        return self.app.sight  # type: ignore[attr-defined,no-any-return]

    def rows(self, width: int, height: int) -> list[Row]:
        """The lines from the top; missing ones are blank, longer ones are cut."""
        return []

    def row(self, ground: str = "") -> Row:
        return Row(self.look, ground or self.GROUND)

    def show(self, frame: Frame | None) -> None:
        """Draw from now on from this frame."""
        self.frame = frame
        self.repaint()

    def repaint(self) -> None:
        """Build the lines anew and refresh those that differ."""
        width, height = self.size
        if not (width and height and self.is_attached and self.display):
            return
        fresh = self._build(width, height)
        if self._drawn != (width, height, self.look):
            self._replace(fresh, width, height)
            self.refresh()
            return
        regions = []
        for y, line in enumerate(fresh):
            if line != self._painted[y]:
                self._strips[y] = PaintedStrip(line, width)
                regions.append(Region(0, y, width, 1))
        self._painted = fresh
        if regions:
            self.refresh(*regions)

    def _build(self, width: int, height: int) -> list[Line]:
        rows = self.rows(width, height)[:height]
        lines = [_padded(row, width) for row in rows]
        lines += [[Segment(" " * width, self.look.style("text", self.GROUND))]] * (height - len(lines))
        return lines

    def _replace(self, lines: list[Line], width: int, height: int) -> None:
        self._painted = lines
        self._strips = [PaintedStrip(line, width) for line in lines]
        self._drawn = (width, height, self.look)

    def render_lines(self, crop: Region) -> list[Strip]:
        width, height = self.size
        if self._drawn != (width, height, self.look):
            self._replace(self._build(width, height), width, height)
        strips = self._strips[crop.y:crop.bottom]
        if crop.x == 0 and crop.width == width:
            return strips
        return [strip.crop(crop.x, crop.right) for strip in strips]

    def render_line(self, y: int) -> Strip:
        return self.render_lines(Region(0, y, self.size.width, 1))[0]


def _padded(row: Row, width: int) -> Line:
    """The segments of a row in exactly `width` cells."""
    if row.used == width:
        return row.segments
    if row.used < width:
        return row.to(width).segments
    return Strip(row.segments, row.used).crop(0, width)._segments
