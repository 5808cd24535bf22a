"""Stranded GPUs, the dearest first: where, why, and what would free them."""

from __future__ import annotations

from opsconsole.tui.paint import Row, title
from opsconsole.tui.pane import Pane
from opsconsole.tui.widgets.capacity_sums import dollars


class StrandedTable(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        if self.frame is None:
            return [title(self.look, "STRANDED GPUS", width)]
        now, then = self.app.foresight.looks(self.frame)
        found = (then or now).capacity.stranded
        count = sum(one.gpus for one in found)
        lines = [title(self.look, "STRANDED GPUS", width, str(count) if count else "", "warn")]
        if not found:
            return [*lines, self.row().put("  ✔ ", "ok", True).put("none: every idle GPU can take a worker", "dim")]
        is_tall = 3 * len(found) + 1 <= height
        for one in found:
            where = one.node or one.site
            cost = f" {dollars(one.usd_per_h)}/h" if one.usd_per_h is not None else ""
            row = self.row().put("  ").put(f"{one.gpus} {one.chip} ", "warn", True).name(where, min(24, len(where)))
            row.put(f" {one.reason}", "strong")
            row.column("" if is_tall else f": {one.text}", max(0, width - row.used - len(cost)), "text").put(cost, "dim")
            lines += [row, self.row().put("    ").column(one.text, width - 4, "text")] if is_tall else [row]
            lines.append(self.row().put("    ").column(one.mend, width - 4, "accent"))
        fits = max(1, height)
        return lines if len(lines) <= fits else [*lines[: fits - 1], self.row().put("  … more: opsconsole capacity", "dim")]
