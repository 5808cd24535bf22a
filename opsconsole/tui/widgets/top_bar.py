"""The first line: which fleet, where in it, how fresh, and what time it is."""

from __future__ import annotations

import time

from opsconsole.core.fleet import STALE_AFTER_S
from opsconsole.core.wording import age_text
from opsconsole.tui.paint import Row, cells
from opsconsole.tui.pane import Pane
from opsconsole.tui.when import clock_text


class TopBar(Pane):
    GROUND = "head"

    def rows(self, width: int, height: int) -> list[Row]:
        in_past = self.app.travel.is_on
        ground = "info_ground" if in_past else ""
        right = self._replay(width, ground) if in_past else self._freshness(width)
        row = self.row(ground).put(" ▚ opsconsole  ", "strong", True)
        name = self.app.settings.fleet_name or (self.frame.roster.fleet_name if self.frame else "")
        crumb = " › ".join(("", *self.screen.crumb))
        row.column(name, min(cells(name), max(0, width - row.used - right.used - cells(crumb) - 2)), "text")
        row.column(crumb, min(cells(crumb), max(0, width - row.used - right.used - 1)), "strong", True).put(" ")
        for word, ground in (self._badges() if width >= 100 else ()):
            row.put(" ").put(f" {word} ", "strong", True, ground)
        return [row.to(width - right.used).add(right.segments, right.used)]

    def _replay(self, width: int, ground: str) -> Row:
        """The banner of the past: the whole line has its ground, so that nobody takes what is below for now."""
        travel, row, now = self.app.travel, self.row(ground), self.app.wall()
        if travel.absence is not None or self.frame is None or travel.is_reading:
            at, how = travel.moment, "nothing to show" if travel.absence is not None else "reading …"
        else:
            at, how = self.frame.fleet.at, f"{age_text(max(0.0, now - self.frame.fleet.at))} ago"
        row.put(" ◀ REPLAY ", "strong", True, "warn_ground")
        row.put(f" ▶ {travel.speed}×" if travel.is_playing else (" ⏸ " if width >= 100 else " "), "strong", True)
        row.put(f" {how}{', read only' if width >= 100 else ''} ", "text")
        return row.put(f" {clock_text(at, now)} UTC ", "strong", True)

    def _badges(self) -> list[tuple[str, str]]:
        badges = []
        if self.app.settings.environment == "production":
            badges.append(("PRODUCTION", "info_ground"))
        if self.app.read_only:
            badges.append(("READ ONLY", "warn_ground"))
        return badges

    def _freshness(self, width: int) -> Row:
        row = self.row()
        if self.frame and width >= 100:
            roster = self.frame.roster
            row.put(f"{len(roster.nodes):,} nodes · {len(roster.gpu_index):,} GPUs   ", "dim")
        now = self.app.wall()
        self._link(row, now)
        return row.put(time.strftime(" %H:%M:%S UTC ", time.gmtime(now)), "strong", True)

    def _link(self, row: Row, now: float) -> None:
        if self.app.link_trouble:
            row.put(" ✖ NO COLLECTOR ", "crit", True)
        elif self.frame is None:
            row.put(" ◐ connecting … ", "info", True)
        else:
            age_s = max(0.0, now - self.frame.fleet.at)
            if age_s > STALE_AFTER_S:
                row.put(" ◌ STALE ", "warn", True).put(age_text(age_s) + " ", "warn")
            else:
                row.put(" ● LIVE ", "ok", True)
