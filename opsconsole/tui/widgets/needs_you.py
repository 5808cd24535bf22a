"""What waits for a person, worst first, each with the key that helps."""

from __future__ import annotations

from opsconsole.core.fleet import Alarm
from opsconsole.core.mends import mends
from opsconsole.core.run import Run
from opsconsole.core.wording import age_text
from opsconsole.tui.paint import Row, cells, title
from opsconsole.tui.pane import Pane
from opsconsole.tui.runs import name_of, progress_text
from opsconsole.tui.widgets.alarms_table import counts_text

RUNS_MOST = 3
"""Interrupted runs told here; the plans screen has them all."""


class NeedsYou(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        known = self.frame.fleet.alarms if self.frame else ()
        alarms = tuple(alarm for alarm in known if alarm.is_open)
        runs = self.app.acting.interrupted
        count = len(alarms) + len(runs)
        rows = [title(self.look, "WHAT NEEDS YOU", width, str(count) if count else "", "warn", indent=1)]
        for run in runs[:RUNS_MOST]:
            rows += self._run(run, width)
        if not count:
            rows.append(self.row().put(" ✔ ", "ok", True).put("nothing" if self.frame else "not known yet", "dim"))
        if still := counts_text(known):
            rows.append(self.row().put(" ◐ ", "info", True).column(f"{still}: {self.app.acting.key('alarms')} alarms", width - 3, "dim"))
        fits = max(0, height - len(rows)) // 2
        shown = alarms if len(alarms) <= fits else alarms[: max(0, fits - 1)]
        for alarm in shown:
            rows += self._alarm(alarm, width)
        if len(shown) < len(alarms):
            rows.append(self.row().column(f"   … and {len(alarms) - len(shown)} more: n goes through them", width, "dim"))
        return rows

    def _run(self, run: Run, width: int) -> list[Row]:
        age = age_text(max(0.0, self.app.wall() - run.began_at))
        first = self.row().put(" ◌ ", "info", True).column(f"interrupted: {name_of(run)}", width - 4 - cells(age), "strong")
        helps = f"{self.app.acting.key('plans')} plans"
        second = self.row().put("   ").column(f"{progress_text(run)} steps done, nobody goes on with it", width - 5 - cells(helps), "dim")
        return [first.put(age + " ", "dim"), second.put(" " + helps + " ", "accent")]

    def _alarm(self, alarm: Alarm, width: int) -> list[Row]:
        ink, glyph = ("crit", "✖") if alarm.severity == 2 else ("warn", "▲")
        chosen = bool(alarm.node) and alarm.node == self.sight.node
        age = age_text(self.frame.fleet.at - alarm.since)
        first = self.row().put(f" {glyph} ", ink, True)
        first.column(alarm.text, width - 4 - cells(age), "strong", chosen).put(age + " ", "dim")
        helps = "  ".join(self._helps(alarm))
        second = (
            self.row()
            .put("   ")
            .column(alarm.detail or alarm.cause or self._where(alarm), width - 5 - cells(helps), "dim")
            .put(" " + helps + " ", "accent")
        )
        return [first, second]

    def _where(self, alarm: Alarm) -> str:
        row = self.frame.roster.node_row.get(alarm.node)
        if row is None:
            return ""
        node = self.frame.roster.nodes[row]
        models = sorted({worker.model for worker in self.frame.fleet.workers_of_node.get(node.name, ())})
        return " · ".join(part for part in (node.site, node.rack, node.chip, *models) if part)

    def _helps(self, alarm: Alarm) -> list[str]:
        by_id = {action.id: action for action in self.app.actions_now}
        wanted = [mend.action for mend in mends(self.frame.fleet, alarm) if mend.action] or (["open"] if alarm.node else [])
        return [f"{by_id[name].key_shown} {by_id[name].name}" for name in wanted if name in by_id]
