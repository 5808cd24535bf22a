"""The head of the node screen: what is wrong with it in words, and what it is."""

from __future__ import annotations

from opsconsole.core.fleet import REACH_WORDS, Rack
from opsconsole.core.power import W_PER_KW, drawn_w, feeds_of_nodes
from opsconsole.core.wording import age_text, number_text, power_text
from opsconsole.tui.frame import GLYPHS, INKS, Frame
from opsconsole.tui.paint import Row, cells, fit, is_known
from opsconsole.tui.pane import Pane


def rack_text(frame: Frame, row: int) -> str:
    """A node's rack, with what it draws of its budget where it has one."""
    name = frame.roster.nodes[row].rack
    for feed in feeds_of_nodes(frame.roster)[row]:
        if isinstance(feed, Rack):
            return f"{name}, {power_text(drawn_w(frame.fleet, feed))} of {power_text(feed.power_budget_kw * W_PER_KW)}"
    return name


class NodeFacts(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        row = self.sight.chosen_row(self.frame) if self.frame else None
        if row is None:
            return [self.row().put("  no node is chosen", "dim")]
        node, state = self.frame.roster.nodes[row], self.frame.state(row)
        head = self.row().put(f" {GLYPHS[state]} ", INKS[state], True).name(node.name, min(40, cells(node.name)), "strong", True)
        head.put(f"  {REACH_WORDS[self.frame.fleet.reach[row]]}  ", INKS[state])
        head.column(self.frame.reason(row) or "calm", max(0, width - head.used), "strong" if self.frame.severity[row] else "dim")
        return [head, self._facts(row, width)]

    def _facts(self, row: int, width: int) -> Row:
        frame, node = self.frame, self.frame.roster.nodes[row]
        age_s, offset_s = frame.fleet.age_s[row], frame.fleet.clock_offset_s[row]
        load, disk = frame.fleet.node("load1")[row], frame.fleet.node("disk_free_mib")[row]
        facts = (
            ("site", node.site),
            ("rack", rack_text(frame, row)),
            ("chip", node.chip),
            ("heard", f"{age_text(age_s)} ago" if is_known(age_s) else "never"),
            ("driver", node.driver),
            ("host", node.hostname),
            ("load", number_text(load, 1) if is_known(load) else ""),
            ("disk free", f"{number_text(disk / 1024)} GiB" if is_known(disk) else ""),
            ("clock off", f"{offset_s:+.0f} s" if abs(offset_s) >= 2 else ""),
        )
        line = self.row().put("  ")
        for name, value in facts:
            if value and line.used + len(name) + cells(value) + 3 <= width:
                line.put(f" {name} ", "dim").put(fit(value, min(cells(value), 30)), "warn" if name == "clock off" else "text").put(" ")
        return line
