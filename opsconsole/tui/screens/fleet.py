"""The whole fleet: map, what needs a person, and every node worst first."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from opsconsole.tui.screens.view import View
from opsconsole.tui.widgets.fleet_map import FleetMap
from opsconsole.tui.widgets.footer import Footer
from opsconsole.tui.widgets.headlines import Headlines
from opsconsole.tui.widgets.needs_you import NeedsYou
from opsconsole.tui.widgets.node_panel import NodePanel
from opsconsole.tui.widgets.node_table import NodeTable


class FleetScreen(View):
    view_name = "fleet"

    def compose_body(self) -> ComposeResult:
        yield Headlines()
        with Horizontal(id="middle"):
            yield FleetMap()
            with Vertical(id="aside"):
                yield NeedsYou()
                yield NodePanel()
        yield NodeTable()

    def arrange_body(self, width: int, height: int) -> None:
        self.query_one("#middle").styles.height = 7 if self.is_small else max(12, min(20, height * 36 // 100))
        self.query_one("#aside").styles.width = min(62, width * 42 // 100)

    @property
    def page(self) -> int:
        return self.query_one(NodeTable).page

    def move(self, rows: int) -> None:
        if self.frame:
            sight = self.app.sight
            sight.move(self.frame, sight.place(self.frame) + rows)
            self.repaint(NodeTable, FleetMap, NodePanel, NeedsYou)

    def open_chosen(self) -> None:
        if self.app.sight.node:
            self.app.open_view("node")

    def open_filter(self) -> None:
        self.app.open_filter()

    def back(self) -> None:
        """Takes off what narrows the view: a finished run, then marks, then the filter."""
        sight = self.app.sight
        if self.app.acting.close_shown():
            return
        if sight.marked:
            sight.marked.clear()
        else:
            self.app.set_filter("")
        self.repaint(NodeTable, Footer)
