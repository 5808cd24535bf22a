"""The first line: which fleet, where in it, how fresh, and what time it is."""

from __future__ import annotations

import time

from opsconsole.core.fleet import STALE_AFTER_S
from opsconsole.core.wording import age_text
from opsconsole.tui.paint import Row, cells
from opsconsole.tui.pane import Pane


class TopBar(Pane):
    GROUND = "head"

    def rows(self, width: int, height: int) -> list[Row]:
        console = self.app
        right = self._freshness(width)
        row = self.row().put(" ▚ opsconsole  ", "strong", True)
        name = console.settings.fleet_name
        crumb = " › ".join(("", *self.screen.crumb))
        row.column(name, min(cells(name), max(0, width - row.used - right.used - cells(crumb) - 2)), "text")
        row.column(crumb, min(cells(crumb), max(0, width - row.used - right.used - 1)), "strong", True).put(" ")
        for word, ground in (self._badges() if width >= 100 else ()):
            row.put(" ").put(f" {word} ", "strong", True, ground)
        return [row.to(width - right.used).add(right.segments, right.used)]

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
