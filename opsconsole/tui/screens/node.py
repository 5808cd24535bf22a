"""One node: its GPUs with what holds them back, a metric over the last ten minutes, and what runs there."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from opsconsole.tui.frame import Frame
from opsconsole.tui.past import SPANS, WINDOW_S, Past
from opsconsole.tui.screens.view import View
from opsconsole.tui.widgets.chart import Chart
from opsconsole.tui.widgets.gpu_table import GpuTable
from opsconsole.tui.widgets.node_facts import NodeFacts
from opsconsole.tui.widgets.runs_here import RunsHere


class NodeScreen(View):
    view_name = "node"
    past: Past | None = None

    def compose_body(self) -> ComposeResult:
        yield NodeFacts()
        yield GpuTable()
        with Horizontal(id="charts"):
            yield Chart()
            with Vertical(id="beside"):
                yield RunsHere()

    @property
    def crumb(self) -> tuple[str, ...]:
        return ("Fleet", self.app.sight.node) if self.app.sight.node else ("Node",)

    def arrange_body(self, width: int, height: int) -> None:
        self._fit_table()
        self.query_one("#beside").styles.width = min(64, width * 40 // 100)

    def _fit_table(self) -> None:
        """As many lines as the node has GPUs, at most half of the screen."""
        row = self.app.sight.chosen_row(self.frame) if self.frame else None
        count = int(self.frame.roster.gpu_start[row + 1] - self.frame.roster.gpu_start[row]) if row is not None else 8
        wanted = max(3, min(count + (1 if self.is_small else 2), self.app.size.height // 2))
        table = self.query_one(GpuTable)
        if table.styles.height is None or table.styles.height.value != wanted:
            table.styles.height = wanted

    def show(self, frame: Frame | None) -> None:
        if frame is not None and self.is_composed:
            self._keep_past(frame)
            self._fit_table()
        super().show(frame)

    def _keep_past(self, frame: Frame) -> None:
        sight, past = self.app.sight, self.past
        row = sight.chosen_row(frame)
        gpus = 0 if row is None else int(frame.roster.gpu_start[row + 1] - frame.roster.gpu_start[row])
        if past is None or (past.node, past.metric, len(past.values)) != (sight.node, sight.metric, gpus):
            past = self.past = Past(sight.node, sight.metric, gpus, frame.fleet.at)
            if self.app.session is not None and gpus:
                self.run_worker(self._load(past), exclusive=True, exit_on_error=False)
        past.add(frame)
        self.query_one(GpuTable).past = self.query_one(Chart).past = past

    async def _load(self, past: Past) -> None:
        """Fill the past from history, GPU by GPU; what history can not tell stays a gap."""
        for gpu in range(len(past.values)):
            try:
                series = await self.app.session.history(
                    past.series, node=past.node, gpu=gpu, since=past.until - WINDOW_S, until=past.until, points=SPANS
                )
            except Exception as error:  # an unknown series or a lost collector: the live values still come
                self.app.say(f"no history: {error}")
                return
            past.load(gpu, series.times, series.values)
        if past is self.past:
            self.repaint(GpuTable, Chart)

    def next_metric(self) -> None:
        self.app.sight.next_metric()
        self.show(self.frame)

    @property
    def page(self) -> int:
        return 4

    def move(self, rows: int) -> None:
        """Another GPU becomes the chosen one."""
        self.app.sight.gpu = max(0, self.app.sight.gpu + rows)
        self.repaint(GpuTable, Chart)
