"""The chosen node in five lines, so that moving through the table tells more than its row."""

from __future__ import annotations

import numpy as np

from opsconsole.core.fleet import REACH_WORDS
from opsconsole.core.totals import node_state
from opsconsole.core.wording import age_text, number_text, power_text
from opsconsole.tui.frame import GLYPHS, HOT_C, INKS
from opsconsole.tui.paint import Row, is_known, meter, title
from opsconsole.tui.pane import Pane


class NodePanel(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        row = self.sight.chosen_row(self.frame) if self.frame else None
        if row is None:
            return [title(self.look, "NO NODE", width, indent=1)]
        frame, node = self.frame, self.frame.roster.nodes[row]
        state = frame.state(row)
        reach = REACH_WORDS[frame.fleet.reach[row]]
        right = reach if reach != "LIVE" else node_state(frame.fleet.workers_of_node.get(node.name, ()), row in frame.fleet.cordons)
        lines = [title(self.look, node.name, width, f"{GLYPHS[state]} {right}", INKS[state], indent=1)]
        lines.append(self._reason(row, width))
        lines.append(self._load(row, width))
        lines.append(self._facts(row))
        lines.append(self._workers(row, width))
        return lines

    def _reason(self, row: int, width: int) -> Row:
        severity, reason = self.frame.severity[row], self.frame.reason(row)
        return self.row().put(" ").column(reason or "calm", width - 1, ("dim", "warn", "crit")[severity] if reason else "dim")

    def _load(self, row: int, width: int) -> Row:
        frame = self.frame
        util, power = frame.column("util_pct")[row], frame.column("power_w")[row]
        ink = self._ink(row)
        line = self.row().put(" last " if frame.is_lost(row) else " util ", "dim").put(number_text(util, 0, "%"), ink).put(" ")
        meter(line, util / 100 if is_known(util) else None, max(4, min(16, width - 46)), "bar" if ink == "text" else "faint")
        gpus = frame.roster.gpus_of(row)
        temps = frame.fleet.gpu("temp_c")[gpus]
        if temps.size and not np.isnan(temps).all():
            hottest = int(np.nanargmax(temps))
            line.put("  hottest ", "dim").put(
                f"GPU{int(frame.roster.gpu_index[gpus][hottest])} {temps[hottest]:.0f}°",
                "warn" if temps[hottest] >= HOT_C and ink == "text" else ink,
            )
        return line.put("  ", "dim").put(power_text(power), ink)

    def _ink(self, row: int) -> str:
        """Last known values of a lost node are faint."""
        return "faint" if self.frame.is_lost(row) else "text"

    def _facts(self, row: int) -> Row:
        frame, node = self.frame, self.frame.roster.nodes[row]
        used, total = frame.column("mem_used_mib")[row], frame.column("mem_total_mib")[row]
        line = self.row().put(" memory ", "dim").put(f"{number_text(used / 1024)} of {number_text(total / 1024)} GiB", self._ink(row))
        if node.rack:
            line.put("  rack ", "dim").column(node.rack, min(10, len(node.rack)), "text")
        age_s = frame.fleet.age_s[row]
        line.put("  heard ", "dim").put(f"{age_text(age_s)} ago" if is_known(age_s) else "never", "warn" if age_s > 3 else "text")
        return line

    def _workers(self, row: int, width: int) -> Row:
        name = self.frame.roster.nodes[row].name
        workers = self.frame.fleet.workers_of_node.get(name, ())
        words = [f"{worker.model} {worker.state.lower().replace('_', ' ')}" for worker in workers]
        said = (
            ""
            if self.frame.is_lost(self.frame.roster.node_row[name])
            else ", ".join(f"{words.count(word)} × {word}" if words.count(word) > 1 else word for word in dict.fromkeys(words))
        )
        return (
            self.row()
            .put(" runs ", "dim")
            .column(said or (f"{len(workers)} workers, not heard" if workers else "no worker"), width - 6, "text" if said else "dim")
        )
