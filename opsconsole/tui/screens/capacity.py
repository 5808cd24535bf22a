"""Capacity: headroom of models and sites, what ends first, stranded GPUs, power and money; and what would be after a change."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container

from opsconsole.tui.screens.view import View
from opsconsole.tui.widgets.capacity_sums import CapacitySums
from opsconsole.tui.widgets.ends import Ends
from opsconsole.tui.widgets.model_headroom import ModelHeadroom
from opsconsole.tui.widgets.site_headroom import SiteHeadroom
from opsconsole.tui.widgets.stranded_table import StrandedTable

BESIDE_WIDTH = 140
"""From here what ends and what is stranded stand side by side."""


class CapacityScreen(View):
    view_name = "capacity"

    def compose_body(self) -> ComposeResult:
        yield CapacitySums()
        yield ModelHeadroom()
        yield SiteHeadroom()
        with Container(id="lower"):
            yield Ends()
            yield StrandedTable()

    def arrange_body(self, width: int, height: int) -> None:
        models = len(self.frame.roster.models) if self.frame else 3
        sites = len(self.frame.roster.sites) if self.frame else 2
        self.query_one(ModelHeadroom).styles.height = max(3, min(models + 2, height // 4))
        self.query_one(SiteHeadroom).styles.height = max(3, min(sites + 2, height // 5))
        self.query_one("#lower").styles.layout = "horizontal" if width >= BESIDE_WIDTH else "vertical"

    def move(self, rows: int) -> None:
        if self.frame is None:
            return
        names = [model.name for model in self.frame.roster.models]
        place = names.index(self.app.sight.model) if self.app.sight.model in names else 0
        self.app.sight.model = names[max(0, min(len(names) - 1, place + rows))] if names else ""
        self.repaint(ModelHeadroom)

    def open_chosen(self) -> None:
        self.app.open_view("workers")

    def back(self) -> None:
        """Takes a what-if off first."""
        if self.app.foresight.what_if and not self.app.acting.close_shown():
            self.app.foresight.imagine("")
        else:
            super().back()
