"""Where the operator looks: chosen node and model, marks, filter, sort and metric, shared by all screens."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from opsconsole.core.filter import Filter, parse
from opsconsole.tui.frame import METRICS, Frame

SORTS = {
    "worst first": "",
    "by name": "name",
    "by util": "util_pct",
    "by temp": "temp_c",
    "by power": "power_w",
    "by queue": "queue_depth",
    "by ttft": "ttft_p95_ms",
}
"""Orders of the node table and the column each needs."""


@dataclass
class Sight:
    node: str = ""
    """Name of the chosen node; "" before the first fleet."""
    model: str = ""
    worker: str = ""
    run: str = ""
    """Id of the chosen run."""
    alarm: str = ""
    """Id of the chosen alarm."""
    gpu: int = 0
    """Position of the chosen GPU on its node."""
    marked: set[str] = field(default_factory=set)
    filter: Filter = field(default_factory=lambda: parse(""))
    sort: str = "worst first"
    metric: str = "util"
    _rows_of: tuple[object, ...] = ()
    _rows: list[int] = field(default_factory=list)

    def rows(self, frame: Frame) -> list[int]:
        """Rows of the nodes that the filter lets through, in the chosen order."""
        key = (frame, self.filter.text, self.sort)
        if self._rows_of != key:
            self._rows_of, self._rows = key, self._ordered(frame)
        return self._rows

    def _ordered(self, frame: Frame) -> list[int]:
        rows = frame.worst_first
        if self.filter.text:
            kept = self.filter.nodes(frame.fleet).tolist()
            rows = [row for row in rows if kept[row]]
        column = SORTS[self.sort]
        if column == "name":
            return sorted(rows, key=lambda row: frame.roster.nodes[row].name)
        if column:
            values = np.nan_to_num(frame.column(column)[rows], nan=-1.0)
            return [rows[place] for place in np.argsort(-values, kind="stable").tolist()]
        return rows

    def place(self, frame: Frame) -> int:
        """Position of the chosen node in `rows`; the first when it is not there. It becomes the chosen one."""
        rows = self.rows(frame)
        row = frame.roster.node_row.get(self.node, -1)
        place = rows.index(row) if row in rows else 0
        if rows and row not in rows:
            self.node = frame.roster.nodes[rows[0]].name
        return place

    def settle_model(self, frame: Frame) -> None:
        """Choose a model where none is chosen yet, or the chosen one is gone."""
        names = [model["name"] for model in frame.models]
        if self.model not in names:
            self.model = names[0] if names else ""

    def move(self, frame: Frame, place: int) -> None:
        """Choose the node at a position, held inside the list."""
        rows = self.rows(frame)
        if rows:
            self.node = frame.roster.nodes[rows[max(0, min(len(rows) - 1, place))]].name

    def chosen_row(self, frame: Frame) -> int | None:
        """Row of the chosen node; None in an empty fleet."""
        return frame.roster.node_row.get(self.node)

    def next_metric(self) -> None:
        names = list(METRICS)
        self.metric = names[(names.index(self.metric) + 1) % len(names)]

    def next_sort(self) -> None:
        names = list(SORTS)
        self.sort = names[(names.index(self.sort) + 1) % len(names)]
