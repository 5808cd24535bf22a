"""The time to stand at, typed at the foot of the screen; what it means is said while it is typed."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult

from opsconsole.tui.editor import Editor
from opsconsole.tui.paint import Row
from opsconsole.tui.pane import Pane
from opsconsole.tui.screens.modal import Modal
from opsconsole.tui.when import EXAMPLES, clock_text, moment_of, span_text


class TimeLine(Pane):
    GROUND = "head"

    def __init__(self) -> None:
        super().__init__()
        self.editor = Editor()

    def moment(self) -> float:
        """Raises ValueError with what is wrong."""
        end = self.app.travel.end
        moment = moment_of(self.editor.text, end)
        if moment > end:
            raise ValueError(f"that is {span_text(moment - end)} ahead: only what was can be shown")
        return moment

    def rows(self, width: int, height: int) -> list[Row]:
        text = self.editor.text
        line = self.row("chosen").put(" @ ", "accent", True)
        line.column(text[: self.editor.place] + "▏" + text[self.editor.place:], width - 3, "strong", True)
        below = self.row()
        if not text:
            return [line, below.column(f" {EXAMPLES}   all UTC   ↵ go   esc stay", width, "dim")]
        try:
            moment = self.moment()
        except ValueError as error:
            return [line, below.put(" ✖ ", "crit", True).column(str(error), width - 3, "crit")]
        end = self.app.travel.end
        before = "ago" if self.app.travel.has_live else "before the end of this history"
        said = f" {clock_text(moment, self.app.wall())} UTC, {span_text(end - moment)} {before}{self._beyond(moment)}   ↵ go   esc stay"
        return [line, below.column(said, width, "text")]

    def _beyond(self, moment: float) -> str:
        kept = self.app.travel.kept
        if kept is not None and moment < kept[0]:
            return f" · nothing is kept before {clock_text(kept[0], self.app.wall())}"
        return ""


class TimePrompt(Modal[None]):
    def __init__(self) -> None:
        super().__init__()
        self.line = TimeLine()

    def compose(self) -> ComposeResult:
        yield self.line

    def press(self, event: events.Key) -> None:
        if event.key != "enter":
            self.line.editor.press(event)
            return
        try:
            moment = self.line.moment()
        except ValueError:
            return  # what is wrong stands below the line
        self.dismiss(None)
        self.app.call_later(self.app.travel.go, moment)

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self.line.editor.insert(event.text)
        self.line.repaint()
