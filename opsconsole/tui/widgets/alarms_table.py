"""Every alarm as one row: those that wait for a person first, then those that somebody has taken, then what is silenced."""

from __future__ import annotations

from opsconsole.core.alarm import CRITICAL, Alarm
from opsconsole.core.wording import age_text
from opsconsole.tui.paint import Fields, Row, columns, title
from opsconsole.tui.pane import Pane

WIDE: Fields = (("", 3, False), ("ID", 7, False), ("AGE", 8, True), ("RULE", 12, False), ("STATE", 24, False), ("ALARM", 0, False))
NARROW: Fields = (("", 2, False), ("AGE", 7, True), ("STATE", 9, False), ("ALARM", 0, False))
WIDE_WIDTH = 110


def look_of(alarm: Alarm) -> tuple[str, str]:
    """Glyph and ink."""
    if alarm.silenced_by:
        return "·", "dim"
    if alarm.acked_by:
        return "◐", "info"
    return ("✖", "crit") if alarm.severity == CRITICAL else ("▲", "warn")


def counts_text(alarms: tuple[Alarm, ...]) -> str:
    """How many are taken and silenced; "" when none is."""
    taken = sum(bool(alarm.acked_by) and not alarm.silenced_by for alarm in alarms)
    silenced = sum(bool(alarm.silenced_by) for alarm in alarms)
    return " · ".join(filter(None, (f"{taken} taken" if taken else "", f"{silenced} silenced" if silenced else "")))


class AlarmsTable(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        alarms = self.frame.fleet.alarms if self.frame else ()
        waiting = sum(alarm.is_open for alarm in alarms)
        said = " · ".join(filter(None, (f"{waiting} wait for you" if waiting else "", counts_text(alarms))))
        lines = [title(self.look, "ALARMS", width, said, "warn" if waiting else "dim", indent=1)]
        fields = WIDE if width >= WIDE_WIDTH else NARROW
        lines.append(columns(self.row(), fields[:-1]).put("ALARM", "dim"))
        if not alarms:
            lines.append(self.row().put(" ✔ ", "ok", True).put("nothing is wrong" if self.frame else "not known yet", "dim"))
        chosen = self.screen.chosen()
        page = max(1, height - len(lines))
        place = alarms.index(chosen) if chosen in alarms else 0
        top = max(0, min(place - page // 2, len(alarms) - page))
        return [*lines, *(self._line(alarm, alarm is chosen, fields, width) for alarm in alarms[top : top + page])]

    def _line(self, alarm: Alarm, chosen: bool, fields: Fields, width: int) -> Row:
        row = self.row("chosen" if chosen else "")
        glyph, ink = look_of(alarm)
        plain = "strong" if chosen else "text" if alarm.is_open else "dim"
        cells = {
            "": (" " * (fields[0][1] > 2) + glyph, ink), "ID": (alarm.id, plain), "RULE": (alarm.kind, plain),
            "AGE": (age_text(self.frame.fleet.at - alarm.since), plain), "STATE": (self._state(alarm, fields is WIDE), ink),
        }
        for name, room, right in fields[:-1]:
            text, said_in = cells[name]
            row.column(text, room - 1, said_in, chosen and name == "", right).put(" ")
        return row.column(alarm.text, max(0, width - row.used), plain, alarm.is_open and alarm.severity == CRITICAL)

    def _state(self, alarm: Alarm, wide: bool) -> str:
        if alarm.silenced_by and alarm.silenced_until is not None:
            left = age_text(max(0.0, alarm.silenced_until - self.frame.fleet.at))
            return f"silenced, {left} left" if wide else "silenced"
        if alarm.acked_by:
            return f"taken by {alarm.acked_by}" if wide else "taken"
        if alarm.is_over:
            return "over, not yet cleared" if wide else "over"
        return "CRITICAL" if alarm.severity == CRITICAL else "WARNING"
