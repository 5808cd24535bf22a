"""A yes or no about a run that is there already: go on with it, or cancel it."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult

from opsconsole.core.run import ENDED, Run
from opsconsole.core.text import clean
from opsconsole.tui.paint import Row
from opsconsole.tui.runs import STEP_LOOKS, name_of, progress_text
from opsconsole.tui.screens.modal import Box, Modal
from opsconsole.tui.widgets.plan_box import wrapped

LINES_MOST = 10
Told = tuple[str, str, str]
"""(glyph, ink, words)"""


def resuming(run: Run) -> tuple[str, list[Told], str]:
    """Caption, lines and the word for yes."""
    left = [(number, step) for number, step in enumerate(run.steps, 1) if step.state not in ENDED]
    lines: list[Told] = [("", "text", f"{progress_text(run)} steps are done. What is left is asked of the nodes first, then done:")]
    for number, step in left[:LINES_MOST]:
        glyph, ink = STEP_LOOKS[step.state]
        lines.append((f"{number:4}  {glyph} ", ink, step.step.text))
    if len(left) > LINES_MOST:
        lines.append(("", "dim", f"… and {len(left) - LINES_MOST} more"))
    return f"RESUME · {name_of(run)}", lines, "GO ON WITH IT"


def cancelling(run: Run) -> tuple[str, list[Told], str]:
    """As `resuming`."""
    return f"CANCEL · {name_of(run)}", [
        ("", "text", "Steps that have not begun are not begun. A start under way is ended; a drain under way is taken back: its worker"
         " takes requests again."),
        ("", "text", f"What is done stays done ({progress_text(run)} steps): undo takes that back, as a plan of its own."),
    ], "CANCEL IT"


class QuestionBox(Box):
    EDGE = "warn"

    def __init__(self, caption: str, lines: list[Told], yes: str) -> None:
        super().__init__()
        self.said, self.lines, self.yes = caption, lines, yes

    def caption(self) -> str:
        return self.said

    def content(self, width: int) -> list[Row]:
        rows = [self.row()]
        for glyph, ink, words in self.lines:
            room = width - len(glyph)
            rows += [
                self.row().put(glyph if not number else " " * len(glyph), ink, True).column(part, room, "text")
                for number, part in enumerate(wrapped(clean(words, 400), room))
            ]
        keys = self.row().put(f" ↵ {self.yes} ", "strong", True, "warn_ground").put("  ").put(" esc not now ", "strong", True, "head")
        return [*rows, self.row(), keys]


class Question(Modal[bool]):
    def __init__(self, caption: str, lines: list[Told], yes: str) -> None:
        super().__init__()
        self.box = QuestionBox(caption, lines, yes)

    def compose(self) -> ComposeResult:
        yield self.box

    def fit_box(self) -> None:
        self.box.styles.height = min(self.app.size.height, len(self.box.content(min(92, self.app.size.width) - 4)) + 2)

    def press(self, event: events.Key) -> None:
        if event.key == "enter":
            self.dismiss(True)
