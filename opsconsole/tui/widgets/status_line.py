"""The whole fleet in one line, for a terminal too small for more."""

from __future__ import annotations

from opsconsole.core.wording import count_text
from opsconsole.tui.paint import Row
from opsconsole.tui.pane import Pane
from opsconsole.tui.when import clock_text


class StatusLine(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        row, travel = self.row(), self.app.travel
        if travel.is_on:
            row.put(f"◀ REPLAY {clock_text(travel.moment)} ", "strong", True, "info_ground")
            if travel.absence is not None or self.frame is None:
                return [row.column(travel.absence.words if travel.absence else "reading …", max(0, width - row.used), "info")]
        elif self.app.link_trouble:
            return [row.column("✖ " + self.app.link_trouble, width, "crit")]
        if self.frame is None:
            return [row.column("◐ connecting …", width, "info")]
        frame = self.frame
        alarms = [alarm for alarm in frame.fleet.alarms if alarm.is_open]
        critical = sum(alarm.severity == 2 for alarm in alarms)
        warning = len(alarms) - critical
        glyph, ink = ("✖", "crit") if critical else (("▲", "warn") if warning else ("●", "ok"))
        up = f"{int(frame.fleet.answering.sum())}/{len(frame.roster.nodes)} up"
        words = f"{glyph} {up} ✖{critical} ▲{warning} queue {count_text(frame.headlines['queue_depth'])}"
        return [row.column(words, max(0, width - row.used), ink)]
