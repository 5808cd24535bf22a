"""One node: its GPUs with what holds them back, a metric over the last ten minutes, and what runs there."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from opsconsole.tui.frame import Frame
from opsconsole.tui.newest import Newest
from opsconsole.tui.past import SPAN_S, SPANS, WINDOW_S, Past
from opsconsole.tui.screens.view import View
from opsconsole.tui.subject import FLEET, Subject
from opsconsole.tui.widgets.gpu_table import GpuTable
from opsconsole.tui.widgets.node_chart import NodeChart
from opsconsole.tui.widgets.node_facts import NodeFacts
from opsconsole.tui.widgets.runs_here import RunsHere

AROUND_S = 300.0
"""So much more than the window is read before and after a past moment, so that near moments need no read of their own."""


class NodeScreen(View):
    view_name = "node"
    past: Past | None = None

    def __init__(self) -> None:
        super().__init__()
        self._stretch: Past | None = None
        """The minutes around a past moment."""
        self._reads: Newest[tuple[Past, list[int]]] = Newest(self.run_worker, self._read_stretch)

    def compose_body(self) -> ComposeResult:
        yield NodeFacts()
        yield GpuTable()
        with Horizontal(id="charts"):
            yield NodeChart()
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
        if self.app.travel.is_on:
            past = self._past_then(frame, gpus)
            self.past = None  # what is live is loaded again after the journey
        elif past is None or (past.node, past.metric, len(past.values)) != (sight.node, sight.metric, gpus):
            past = self.past = Past(sight.node, sight.metric, gpus, frame.fleet.at)
            if self.app.session is not None and gpus:
                self.run_worker(self._load(past), exclusive=True, exit_on_error=False)
        past.add(frame)
        self.query_one(GpuTable).past = self.query_one(NodeChart).past = past

    def _past_then(self, frame: Frame, gpus: int) -> Past:
        """The minutes before a past moment; empty until they are read, because the live ones would be wrong there."""
        sight, at = self.app.sight, frame.fleet.at
        if self._stretch is not None and self._stretch.covers(sight.node, sight.metric, gpus, at):
            return self._stretch.cut(at)
        if gpus:
            indexes = frame.roster.gpu_index[frame.roster.gpus_of(frame.roster.node_row[sight.node])].tolist()
            stretch = Past(sight.node, sight.metric, gpus, at + AROUND_S, SPANS + int(2 * AROUND_S / SPAN_S))
            self._reads.want((stretch, indexes))
        return Past(sight.node, sight.metric, gpus, at)

    async def _read_stretch(self, question: tuple[Past, list[int]]) -> None:
        stretch, indexes = question
        try:
            for place, index in enumerate(indexes):
                series = await self.app.travel.past.series(
                    stretch.series, node=stretch.node, gpu=index, since=stretch.since, until=stretch.until
                )
                stretch.load(place, series.times, series.values)
        except Exception as error:  # as in _load
            self.app.say(f"no history: {error}")
        self._stretch = stretch
        if self.app.travel.is_on and self.app.view is self:
            self.show(self.frame)

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
            self.repaint(GpuTable, NodeChart)

    def next_metric(self) -> None:
        self.app.sight.next_metric()
        self.show(self.frame)

    def chart_subject(self) -> Subject:
        row = self.app.sight.chosen_row(self.frame) if self.frame else None
        if row is None:
            return FLEET
        indexes = self.frame.roster.gpu_index[self.frame.roster.gpus_of(row)].tolist()
        place = min(self.app.sight.gpu, len(indexes) - 1)
        return Subject("gpu", node=self.app.sight.node, gpu=indexes[place]) if indexes else Subject("node", node=self.app.sight.node)

    @property
    def page(self) -> int:
        return 4

    def move(self, rows: int) -> None:
        """Another GPU becomes the chosen one."""
        self.app.sight.gpu = max(0, self.app.sight.gpu + rows)
        self.repaint(GpuTable, NodeChart)
