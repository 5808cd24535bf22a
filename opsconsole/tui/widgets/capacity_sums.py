"""The head of the capacity screen: GPUs, power and money of the whole fleet, and how much history the figures stand on."""

from __future__ import annotations

from opsconsole.core.forecast import DAY_S
from opsconsole.core.money import bill_usd, fleet_usd_per_h, midnight
from opsconsole.core.power import drawn_w
from opsconsole.core.wording import UNKNOWN, age_text, power_text
from opsconsole.tui.paint import Row, cells
from opsconsole.tui.pane import Pane


def dollars(value: float | None) -> str:
    """An amount in at most nine cells: 16.80 $, 1,244 $."""
    if value is None:
        return UNKNOWN
    return f"{value:,.2f} $" if abs(value) < 100 else f"{value:,.0f} $"


class CapacitySums(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        if self.frame is None:
            return [self.row().put("  not known yet", "dim")]
        now, then = self.app.foresight.looks(self.frame)
        look = then or now
        return [self._gpus(look, width), self._money(look, width), self._learned(width)]

    def _facts(self, facts: list[tuple[str, str, str]], width: int) -> Row:
        row = self.row().put(" ")
        for name, value, ink in facts:
            if row.used + len(name) + cells(value) + 3 > width:
                break
            row.put(f" {name} ", "dim").put(value, ink, ink != "text").put(" ")
        return row

    def _gpus(self, look, width: int) -> Row:
        counts, fleet = look.capacity.gpus(), look.capacity.fleet
        drawn = sum(drawn_w(fleet, site) for site in fleet.roster.sites) if fleet.roster.sites else None
        budgets = [site.power_budget_kw for site in fleet.roster.sites]
        budget = power_text(sum(budgets) * 1e3) if budgets and None not in budgets else UNKNOWN
        return self._facts([
            ("GPUs", str(counts.total), "strong"), ("serve", str(counts.serving), "text"), ("free", str(counts.free), "text"),
            ("stranded", str(counts.stranded), "warn" if counts.stranded else "text"),
            ("not heard", str(counts.unheard), "warn" if counts.unheard else "text"),
            ("draws", f"{power_text(drawn)} of {budget}", "text"),
        ], width)

    def _money(self, look, width: int) -> Row:
        fleet, capacity = look.capacity.fleet, look.capacity
        today = midnight(fleet.at)
        if fleet_usd_per_h(fleet) is None:
            return self._facts([("money", "not known: a GPU is at no site, or its chip has no price there", "dim")], width)
        return self._facts([
            ("$/h", dollars(fleet_usd_per_h(fleet)), "strong"), ("today", dollars(bill_usd(fleet, today, fleet.at)), "text"),
            ("by midnight", dollars(bill_usd(fleet, today, today + DAY_S)), "text"),
            ("idle", f"{dollars(capacity.idle_usd_per_h)}/h", "text"),
            ("stranded", f"{dollars(capacity.stranded_usd_per_h)}/h", "warn" if capacity.stranded_usd_per_h else "text"),
        ], width)

    def _learned(self, width: int) -> Row:
        foresight = self.app.foresight
        learned = foresight.learned
        if foresight.trouble:
            return self.row().put("  ✖ ", "crit", True).column(foresight.trouble, width - 4, "crit")
        if foresight.what_if:
            words = f"{foresight.what_if}: shown as it would be; f changes it"
            return self.row().put("  ◆ what if ", "accent", True).column(words, width - 12, "accent")
        seen = f"learned from {age_text(learned.span_s)} of history" if learned.span_s else "no history: figures stand on this moment alone"
        return self.row().put("  ").column(learned.note or seen, width - 2, "dim")
