"""A change that is imagined, typed at the foot of the capacity screen; nothing is done with it but looking."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult

from opsconsole.core.whatif import FORMS
from opsconsole.tui.editor import Editor
from opsconsole.tui.paint import Row
from opsconsole.tui.pane import Pane
from opsconsole.tui.screens.modal import Modal


class WhatIfLine(Pane):
    GROUND = "head"

    def __init__(self, text: str) -> None:
        super().__init__()
        self.editor = Editor(text)
        self.trouble = ""

    def rows(self, width: int, height: int) -> list[Row]:
        text, place = self.editor.text, self.editor.place
        line = self.row("chosen").put(" what if ", "accent", True)
        line.column(text[:place] + "▏" + text[place:], width - line.used, "strong", True)
        if self.trouble:
            return [line, self.row().put(" ✖ ", "crit", True).column(self.trouble, width - 3, "crit")]
        return [line, self.row().put(" ").column(f"↵ look  esc leave   {FORMS}", width - 1, "dim")]


class WhatIfPrompt(Modal[None]):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.line = WhatIfLine(text)

    def compose(self) -> ComposeResult:
        yield self.line

    def press(self, event: events.Key) -> None:
        if event.key == "enter":
            self.app.foresight.imagine(self.line.editor.text)
            self.line.trouble = self.app.foresight.trouble
            if not self.line.trouble:
                self.dismiss(None)
                return
        else:
            self.line.editor.press(event)
        self.line.repaint()

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self.line.editor.insert(event.text)
        self.line.repaint()
