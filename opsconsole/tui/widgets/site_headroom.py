"""Each site on the capacity screen: GPUs by what becomes of them, power against its budget, what ends first, and the bill."""

from __future__ import annotations

from rich.cells import cell_len

from opsconsole.core.fleet import Site
from opsconsole.core.money import bill_usd, midnight, site_usd_per_h
from opsconsole.core.outlook import Outlook
from opsconsole.core.power import at_feed, drawn_w, limits_w, overhead_w, pue_of
from opsconsole.core.saturation import Saturation
from opsconsole.core.wording import UNKNOWN, age_text, power_text
from opsconsole.tui.paint import Fields, Row, columns, fit_fields, meter, title
from opsconsole.tui.pane import Pane
from opsconsole.tui.widgets.capacity_sums import dollars

WIDE: Fields = (
    ("", 3, False), ("SITE", 14, False), ("GPUS", 7, True), ("SERVE", 7, True), ("FREE", 6, True), ("STRANDED", 10, True),
    ("DRAWS", 10, True), ("OF BUDGET", 18, False), ("AT CAPS", 10, True), ("PUE", 6, True),
    ("$/H", 11, True), ("TODAY", 11, True), ("ENDS", 0, False),
)
NARROW: Fields = (
    ("", 2, False), ("SITE", 10, False), ("GPUS", 6, True), ("FREE", 6, True), ("STRAND", 7, True), ("DRAWS", 9, True), ("BUDGET", 9, True),
    ("$/H", 9, True), ("TODAY", 9, True), ("ENDS", 0, False),
)
SPARED = ("PUE", "AT CAPS", "TODAY")
ENDS_CELLS_LEAST = 12


class SiteHeadroom(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        head = title(self.look, "SITES", width, "power at the feed, PUE and the nodes' rest in it" if width >= 100 else "power at the feed")
        if self.frame is None:
            return [head, self.row().put("  not known yet", "dim")]
        now, then = self.app.foresight.looks(self.frame)
        look = then or now
        sites = look.capacity.fleet.roster.sites
        longest = {"SITE": max((cell_len(site.name) for site in sites), default=0)}
        fields = fit_fields(WIDE if width >= 130 else NARROW, width, longest, SPARED, ENDS_CELLS_LEAST)
        lines = [head, columns(self.row(), fields[:-1]).column("ENDS FIRST", 10, "dim")]
        if not sites:
            return [*lines, self.row().put("  the fleet file names no site: add [[sites]]", "dim")]
        lines += [self._site(look, site, fields, width) for site in sites[: max(1, height - 2)]]
        return lines

    def _site(self, look: Outlook, site: Site, fields: Fields, width: int) -> Row:
        fleet, counts = look.capacity.fleet, look.capacity.gpus(site)
        ends: Saturation = next(one for one in look.saturation if (one.kind, one.subject) == ("site", site.name))
        drawn, budget_w = drawn_w(fleet, site), None if site.power_budget_kw is None else site.power_budget_kw * 1e3
        ink = "crit" if ends.in_s == 0 else "warn" if ends.ends else "ok"
        today = midnight(fleet.at)
        caps_w = (float(limits_w(fleet)[at_feed(fleet.roster, site)].sum()) + overhead_w(fleet, site)) * pue_of(site)
        texts = {
            "GPUS": str(counts.total), "SERVE": str(counts.serving), "FREE": str(counts.free), "STRANDED": str(counts.stranded),
            "STRAND": str(counts.stranded), "DRAWS": power_text(drawn), "BUDGET": power_text(budget_w), "AT CAPS": power_text(caps_w),
            "PUE": UNKNOWN if site.pue is None else f"{site.pue:.2f}", "$/H": dollars(site_usd_per_h(fleet, site, fleet.at)),
            "TODAY": dollars(bill_usd(fleet, today, fleet.at, site)), "ENDS": _ends(ends),
        }
        row = self.row()
        for name, room, right in fields:
            start = row.used
            room = room or max(0, width - start)
            if name == "":
                row.put((" " if room > 2 else "") + {"crit": "✖", "warn": "▲", "ok": "●"}[ink], ink, ink != "ok")
            elif name == "SITE":
                row.name(site.name, room - 1, "strong")
            elif name == "OF BUDGET":
                self._budget(row, drawn, budget_w, room)
            else:
                warm = name in ("STRANDED", "STRAND") and counts.stranded or name == "ENDS" and ends.ends
                row.column(texts[name], room - 1, "faint" if texts[name] == UNKNOWN else "warn" if warm else "text", right=right)
            row.to(start + room)
        return row

    def _budget(self, row: Row, drawn_w: float, budget_w: float | None, room: int) -> None:
        share = drawn_w / budget_w if budget_w else None
        over = share is not None and share > 1 - self.frame.roster.policy.power_headroom_pct / 100
        row.put(" ")
        meter(row, share, max(room - 10, 0), "warn" if over else "bar")
        row.column(power_text(budget_w), 8, "text" if budget_w else "faint", right=True)


def _ends(one: Saturation) -> str:
    if one.ends:
        return f"{one.ends} " + ("now" if one.in_s == 0 else f"in {age_text(one.in_s)}" if one.in_s is not None else "perhaps")
    return f"nothing in {age_text(one.horizon_s)}" if one.horizon_s else "no history yet"
