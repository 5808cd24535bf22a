"""A box over the living screen; nothing of what is typed into it reaches the screen below."""

from __future__ import annotations

from typing import TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.screen import ModalScreen
from textual.strip import Strip

from opsconsole.tui.paint import Row, cells, fit
from opsconsole.tui.pane import PaintedStrip, Pane

Result = TypeVar("Result")
_NO_STYLE = Style()


class Modal(ModalScreen[Result], inherit_bindings=False):
    def on_mount(self) -> None:
        self.set_class(self.app.look.is_native, "native")

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        if event.key in ("escape", "ctrl+c"):
            self.dismiss(None)
        else:
            self.press(event)
            for pane in self.query(Pane):
                pane.repaint()

    def on_resize(self) -> None:
        self.fit_box()

    def render_lines(self, crop: Region) -> list[Strip]:
        """The screen below; in mono without the codes of the default colours that Textual gives it."""
        strips = super().render_lines(crop)
        if not self.app.look.is_mono:
            return strips
        return [PaintedStrip([_without_colour(segment) for segment in strip], strip.cell_length) for strip in strips]

    def press(self, event: events.Key) -> None:
        """A key that does not close the box."""

    def fit_box(self) -> None:
        """Give the box the size that its content wants."""


def _without_colour(segment: Segment) -> Segment:
    return Segment(segment.text, (segment.style or _NO_STYLE).without_color)


class Box(Pane):
    """A pane with a frame around its lines."""

    GROUND = "panel"
    EDGE = "accent"

    def content(self, width: int) -> list[Row]:
        """Lines of at most `width` cells."""
        return []

    def caption(self) -> str:
        return ""

    def rows(self, width: int, height: int) -> list[Row]:
        if width < 8 or height < 3:
            return [self.row().column(self.caption(), width, "strong")]
        caption = fit(self.caption(), min(cells(self.caption()), width - 8))
        head = self.row().put("╭──", self.EDGE)
        if caption:
            head.put(f" {caption} ", "strong", True)
        head.put("─" * (width - head.used - 1) + "╮", self.EDGE)
        inside = [self._framed(row, width) for row in self.content(width - 4)[: height - 2]]
        inside += [self._framed(self.row(), width) for _ in range(height - 2 - len(inside))]
        return [head, *inside, self.row().put("╰" + "─" * (width - 2) + "╯", self.EDGE)]

    def _framed(self, row: Row, width: int) -> Row:
        framed = self.row().put("│ ", self.EDGE)
        row.to(width - 4)
        return framed.add(row.segments, row.used).put(" │", self.EDGE)
