"""Models and their workers: what waits, how slow it is, and which worker to drain. Enter goes from the models to the workers of one."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container

from opsconsole.tui.frame import Frame
from opsconsole.tui.screens.view import View
from opsconsole.tui.subject import FLEET, Subject
from opsconsole.tui.widgets.headlines import Headlines
from opsconsole.tui.widgets.if_nothing import IfNothing
from opsconsole.tui.widgets.models_table import ModelsTable
from opsconsole.tui.widgets.workers_table import WorkersTable

BESIDE_WIDTH = 150
"""From here the panel stands beside the workers, below it under them."""
PANEL_WIDTH, PANEL_HEIGHT = 54, 7


class WorkersScreen(View):
    view_name = "workers"
    inside = False
    """Whether keys move through the workers, not the models."""

    def compose_body(self) -> ComposeResult:
        yield Headlines()
        yield ModelsTable()
        with Container(id="lower"):
            yield WorkersTable()
            yield IfNothing()

    @property
    def crumb(self) -> tuple[str, ...]:
        return ("Workers", self.app.sight.model) if self.inside else ("Workers",)

    def show(self, frame: Frame | None) -> None:
        if frame is not None:
            self.app.sight.settle_model(frame)
        super().show(frame)

    def arrange_body(self, width: int, height: int) -> None:
        count = len(self.frame.models) if self.frame else 4
        self.query_one(ModelsTable).styles.height = max(3, min(count + 3, height // 3))
        beside = width >= BESIDE_WIDTH
        self.query_one("#lower").styles.layout = "horizontal" if beside else "vertical"
        panel = self.query_one(IfNothing)
        panel.display = not self.is_small
        panel.styles.width, panel.styles.height = (PANEL_WIDTH, "1fr") if beside else ("1fr", PANEL_HEIGHT)

    @property
    def page(self) -> int:
        return self.query_one(WorkersTable).page

    def move(self, rows: int) -> None:
        sight = self.app.sight
        if self.frame is None:
            return
        if self.inside:
            table = self.query_one(WorkersTable)
            workers = table.listed()
            sight.worker = workers[max(0, min(len(workers) - 1, table.place() + rows))].name if workers else ""
        else:
            names = [model["name"] for model in self.frame.models]
            place = names.index(sight.model) if sight.model in names else 0
            sight.model = names[max(0, min(len(names) - 1, place + rows))] if names else ""
        self.repaint()

    def open_chosen(self) -> None:
        """From the models into the workers, from a worker to its node."""
        if not self.inside:
            self.inside = True
            self.repaint()
            return
        worker = next((worker for worker in self.query_one(WorkersTable).listed() if worker.name == self.app.sight.worker), None)
        if worker is not None:
            self.app.sight.node = worker.node
            self.app.open_view("node")

    def back(self) -> None:
        if self.inside and not self.app.acting.close_shown():
            self.inside = False
            self.repaint()
        elif not self.inside:
            super().back()

    def chart_subject(self) -> Subject:
        sight = self.app.sight
        if self.inside and sight.worker:
            return Subject("worker", name=sight.worker)
        return Subject("model", name=sight.model) if sight.model else FLEET

    def chosen_name(self) -> str:
        return self.app.sight.worker

    def mark(self) -> None:
        self.inside = True
        super().mark()
