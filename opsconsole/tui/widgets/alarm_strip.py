"""The second line: how bad it is, and the worst of it in words."""

from __future__ import annotations

from opsconsole.core.fleet import Alarm
from opsconsole.core.text import clean
from opsconsole.core.wording import age_text
from opsconsole.tui.paint import Row, cells, fit
from opsconsole.tui.pane import Pane
from opsconsole.tui.runs import name_of
from opsconsole.tui.widgets.alarms_table import counts_text

HINT = "  n next ▸ "


class AlarmStrip(Pane):
    GROUND = "panel"

    def rows(self, width: int, height: int) -> list[Row]:
        absence = self.app.travel.absence
        if absence is not None:
            return [self.row().put(" ◌ ", "info", True).column(f" {absence.words}", width - 3, "dim")]
        if self.app.link_trouble and not self.app.travel.is_on:
            return [self.row().put(" ✖ ", "strong", True, "crit_ground").column("  " + self.app.link_trouble, width - 3, "strong")]
        if self.frame is None:
            return [self.row().put("  waiting for the first word of the collector", "dim")]
        alarms = self.frame.fleet.alarms
        return [self._alarms(alarms, width) if alarms else self._calm(width)]

    def _interrupted(self, row: Row, room: int) -> Row:
        """A run that nobody goes on with must not be overlooked: it stands before the alarms."""
        runs = self.app.acting.interrupted
        if not runs:
            return row
        more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
        words = clean(f"run {name_of(runs[0])} was interrupted{more}")
        hint = f": {self.app.acting.key('plans')} Plans "
        return row.put(" ◌ ", "strong", True, "info_ground").put(
            fit(words, min(cells(words), max(10, room - row.used - cells(hint) - 3))) + hint, "strong", True, "info_ground"
        )

    def _calm(self, width: int) -> Row:
        if self.app.acting.interrupted:
            return self._interrupted(self.row(), width)
        frame = self.frame
        total, live = len(frame.roster.nodes), int(frame.fleet.answering.sum())
        if not total:
            return self.row().put(" – ", "dim").put(" the fleet file names no node", "dim")
        if live < total:
            return self.row().put(" ◐ ", "info", True).put(f" {live} of {total} nodes have answered, no alarm yet", "dim")
        return self.row().put(" ✔ ALL CLEAR ", "ok", True).put(" every node is fresh, nothing waits for you", "dim")

    def _alarms(self, alarms: tuple[Alarm, ...], width: int) -> Row:
        waiting, still = [alarm for alarm in alarms if alarm.is_open], counts_text(alarms)
        if not waiting:
            row = self.row().put(" ◐ NOTHING WAITS ", "info", True).put(f" {still}", "text")
            row.put(f": {self.app.acting.key('alarms')} alarms", "accent")
            return self._interrupted(row, width)
        critical = sum(alarm.severity == 2 for alarm in waiting)
        words = ("CRITICAL", "WARNING") if width >= 100 else ("CRIT", "WARN")
        label = f" {'✖' if critical else '▲'} {critical} {words[0]} · {len(waiting) - critical} {words[1]} "
        row = self.row().put(label, "strong", True, "crit_ground" if critical else "warn_ground")
        self._interrupted(row, width if width < 100 else width * 3 // 4)
        hint = (f" +{still} " if still else "") + (HINT if width >= 100 else "")
        for number, alarm in enumerate(waiting):
            if not self._put_alarm(row, alarm, width - len(hint), first=not number):
                break
        return row.to(width - len(hint)).put(hint, "accent")

    def _put_alarm(self, row: Row, alarm: Alarm, end: int, first: bool) -> bool:
        """Write one alarm when it fits; the first is cut to fit."""
        age = " " + age_text(self.frame.fleet.at - alarm.since)
        text = fit(alarm.text, cells(alarm.text)) if alarm.text.isprintable() else fit(alarm.text, 60)
        room = end - row.used - 4 - cells(age)
        if cells(text) > room:
            if not first or room < 8:
                return False
            text = fit(text, room)
        row.put("  ✖ " if alarm.severity == 2 else "  ▲ ", "crit" if alarm.severity == 2 else "warn", True)
        row.put(text, "strong" if first else "text").put(age, "dim")
        return True
