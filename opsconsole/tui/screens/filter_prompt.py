"""The filter, typed at the foot of the screen; the table follows each key, and what is wrong is said at once."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult

from opsconsole.tui.editor import Editor
from opsconsole.tui.paint import Row
from opsconsole.tui.pane import Pane
from opsconsole.tui.screens.modal import Modal

EXAMPLE = "util>90 site:ams1 !drained   words, comparisons, ! for not"


class FilterLine(Pane):
    GROUND = "head"

    def __init__(self, text: str) -> None:
        super().__init__()
        self.editor = Editor(text)
        self.trouble = ""

    def rows(self, width: int, height: int) -> list[Row]:
        line = self.row("chosen").put(" / ", "accent", True)
        text = self.editor.text
        line.column(text[: self.editor.place] + "▏" + text[self.editor.place:], width - 3, "strong", True)
        below = self.row()
        if self.trouble:
            return [line, below.put(" ✖ ", "crit", True).column(self.trouble, width - 3, "crit")]
        frame = self.app.frame
        count = f"{len(self.sight.rows(frame)):,} of {len(frame.roster.nodes):,} nodes   " if frame else ""
        return [line, below.put(f" {count}", "text").column("↵ keep  esc take off   " + EXAMPLE, max(0, width - below.used), "dim")]


class FilterPrompt(Modal[None]):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.line = FilterLine(text)

    def compose(self) -> ComposeResult:
        yield self.line

    def on_key(self, event: events.Key) -> None:
        if event.key in ("escape", "ctrl+c"):
            self.app.set_filter("")
        super().on_key(event)

    def press(self, event: events.Key) -> None:
        if event.key == "enter":
            if not self.line.trouble:
                self.dismiss(None)
        elif self.line.editor.press(event):
            self.line.trouble = self.app.set_filter(self.line.editor.text)

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self.line.editor.insert(event.text)
        self.line.trouble = self.app.set_filter(self.line.editor.text)
        self.line.repaint()
