"""What is said of an alarm, as a box with a few fields: a note with an ack, the length and reason of a silence, a note."""

from __future__ import annotations

from dataclasses import dataclass

from opsconsole.core.text import clean
from opsconsole.tui.form import Choice, Field, Typed
from opsconsole.tui.paint import Row
from opsconsole.tui.screens.modal import Box
from opsconsole.tui.widgets.plan_box import wrapped

LABEL_CELLS = 9


@dataclass
class Words:
    """caption, explanation, fields and the word for yes; wanted: the field that may not stay empty, "" when all may."""

    caption: str
    explanation: str
    fields: tuple[Field, ...]
    yes: str
    wanted: str = ""
    focus: int = 0
    trouble: str = ""

    @property
    def chosen(self) -> Field | None:
        return self.fields[self.focus] if self.fields else None

    def values(self) -> dict[str, object]:
        return {field.field: field.value for field in self.fields}

    def missing(self) -> str:
        """What is still to be typed, in words; "" when nothing is."""
        field = next((field for field in self.fields if field.field == self.wanted), None)
        return "" if field is None or str(field.value).strip() else f"{field.name.lower()}: {field.hint}"


class WordsBox(Box):
    EDGE = "warn"

    def __init__(self, words: Words) -> None:
        super().__init__()
        self.words = words

    def caption(self) -> str:
        return self.words.caption

    def content(self, width: int) -> list[Row]:
        lines = [self.row(), *(self.row().column(part, width, "text") for part in wrapped(clean(self.words.explanation, 400), width))]
        lines += [self.row(), *(self._field(field, place == self.words.focus, width) for place, field in enumerate(self.words.fields))]
        lines += [self.row().put("▲  ", "warn", True).column(self.words.trouble, width - 3, "warn")] if self.words.trouble else []
        keys = self.row().put(f" ↵ {self.words.yes} ", "strong", True, "warn_ground").put("  ").put(" esc not now ", "strong", True, "head")
        more = "  tab next field" * (len(self.words.fields) > 1) + "  ← → choose" * isinstance(self.words.chosen, Choice)
        return [*lines, self.row(), keys.put(more, "accent")]

    def _field(self, field: Field, focused: bool, width: int) -> Row:
        row = self.row("chosen" if focused else "").column(field.name, LABEL_CELLS, "dim" if not focused else "strong", focused).put(" ")
        room = max(4, width - LABEL_CELLS - 1)
        if isinstance(field, Typed):
            return self._typed(row, field, focused, room)
        arrows = "‹ " + field.said + " ›" if focused else field.said
        return row.column(arrows, room, "strong" if focused else "text")

    def _typed(self, row: Row, field: Typed, focused: bool, room: int) -> Row:
        text, place = field.editor.text, field.editor.place
        if not text and not focused:
            return row.column(field.hint, room, "dim")
        shown = text[:place] + "▏" * focused + text[place:]
        begin = max(0, place + 2 - room)  # what is typed stays in sight
        return row.column(shown[begin:], room, "strong", focused)
