"""One alarm in full: what, since when, whom it strikes, what is likely behind it, who has it, and the keys that open a plan to mend it."""

from __future__ import annotations

from collections.abc import Iterator

from opsconsole.core.alarm import Alarm
from opsconsole.core.alarm_book import SHIFT
from opsconsole.core.mends import mends
from opsconsole.core.text import clean
from opsconsole.core.wording import age_text, at_text
from opsconsole.tui.paint import Row, title
from opsconsole.tui.pane import Pane
from opsconsole.tui.widgets.alarms_table import look_of
from opsconsole.tui.widgets.plan_box import wrapped

LABEL_CELLS = 10
MEMBERS_LINES = 3
NOTES_MOST = 5


class AlarmDetail(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        alarm = self.screen.chosen()
        if alarm is None:
            return self._notes_of_shift(width)
        glyph, ink = look_of(alarm)
        lines = [title(self.look, alarm.text, width, f"{glyph} {alarm.id}", ink, indent=1)]
        for label, words, said_in in self._told(alarm):
            parts = wrapped(clean(words, 600), max(10, width - LABEL_CELLS - 3))
            for number, part in enumerate(parts[:MEMBERS_LINES]):
                row = self.row().put("  ").column(label if not number else "", LABEL_CELLS, "dim")
                lines.append(row.column(part, max(0, width - row.used), said_in))
        return lines + self._notes_of_shift(width)

    def _told(self, alarm: Alarm) -> Iterator[tuple[str, str, str]]:
        """(label, words, ink)"""
        fleet = self.frame.fleet
        yield "since", f"{age_text(fleet.at - alarm.since)} ({at_text(alarm.since)}), rule {alarm.kind}", "text"
        if alarm.detail:
            yield "says", alarm.detail, "text"
        if alarm.members:
            yield f"{len(alarm.members)} struck", ", ".join(alarm.members), "text"
        if alarm.cause:
            yield "likely", alarm.cause, "strong"
        if alarm.is_over:
            yield "now", "it is over, and cleared once it stays so", "ok"
        if alarm.acked_by and alarm.acked_at is not None:
            yield "taken", f"by {alarm.acked_by}, {age_text(fleet.at - alarm.acked_at)} ago", "info"
        if alarm.silenced_until is not None:
            left = age_text(max(0.0, alarm.silenced_until - fleet.at))
            yield "silenced", f"by {alarm.silenced_by}, {left} left: {alarm.silence_reason}", "info"
        yield "mend", self._mend(alarm), "accent"
        for note in alarm.notes[-NOTES_MOST:]:
            yield "note", f"{age_text(fleet.at - note.at)} ago, {note.actor or 'somebody'}: {note.text}", "text"

    def _mend(self, alarm: Alarm) -> str:
        """The keys that open a plan, the best one first; a command where the console has none."""
        by_id = {action.id: action for action in self.app.actions_now}
        found = mends(self.frame.fleet, alarm)
        keys = [f"{by_id[mend.action].key_shown} {mend.command.removeprefix('opsconsole ').removesuffix(' --plan')}"
                for mend in found if mend.action in by_id]
        if keys:
            return "   ".join(keys)
        return "; ".join(mend.command for mend in found) or "nothing that can be planned from here"

    def _notes_of_shift(self, width: int) -> list[Row]:
        notes = self.frame.fleet.alarm_book.notes_of(SHIFT)[-NOTES_MOST:] if self.frame else ()
        if not notes:
            return []
        lines = [self.row(), title(self.look, "NOTES OF THE SHIFT", width, str(len(notes)), "dim", indent=1)]
        for note in notes:
            age = age_text(self.frame.fleet.at - note.at)
            lines.append(self.row().put("  ").column(f"{age} ago, {note.actor or 'somebody'}: {note.text}", width - 2, "text"))
        return lines
