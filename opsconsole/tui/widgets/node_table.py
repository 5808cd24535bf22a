"""Every node as one row with the reason in words; only the visible rows are built."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter

import numpy as np

from opsconsole.core.wording import UNKNOWN, age_text, count_text, number_text
from opsconsole.tui.frame import BROKEN_CELL, GLYPHS, HOT_C, HOT_CELL, INKS, Frame
from opsconsole.tui.paint import BARS, Fields, Row, columns, fit_fields, is_known, meter, milliseconds, title, watts
from opsconsole.tui.pane import Pane

WIDE = (
    ("", 2, False),
    ("NODE", 14, False),
    ("SITE", 8, False),
    ("CHIP", 7, False),
    ("MODEL", 14, False),
    ("GPUS", 9, False),
    ("UTIL", 12, False),
    ("MEM", 10, True),
    ("POWER", 8, True),
    ("TEMP", 6, True),
    ("REQ/S", 7, True),
    ("QUEUE", 6, True),
    ("TTFT", 7, True),
    ("AGE", 7, True),
    ("WHY", 0, False),
)
MIDDLE = (
    ("", 2, False),
    ("NODE", 13, False),
    ("MODEL", 13, False),
    ("GPUS", 9, False),
    ("UTIL", 10, False),
    ("MEM", 10, True),
    ("POWER", 8, True),
    ("TEMP", 5, True),
    ("QUEUE", 6, True),
    ("TTFT", 7, True),
    ("AGE", 7, True),
    ("WHY", 0, False),
)
NARROW = (
    ("", 2, False),
    ("NODE", 10, False),
    ("MODEL", 11, False),
    ("GPUS", 9, False),
    ("UTIL", 5, True),
    ("°C", 3, True),
    ("QUE", 4, True),
    ("TTFT", 6, True),
    ("WHY", 0, False),
)
SPARED = ("REQ/S", "CHIP", "POWER", "SITE", "MEM", "GPUS", "MODEL")
"""Left out in this order where long names leave too little room for WHY: the map shows each GPU, and the node's own screen all of it."""
WHY_CELLS_LEAST = 20


def fields_for(width: int, longest_name: int) -> Fields:
    """The fields that fit, with as much room for names as they need."""
    fields = WIDE if width >= 150 else (MIDDLE if width >= 110 else NARROW)
    return fit_fields(fields, width, {"NODE": longest_name}, SPARED, WHY_CELLS_LEAST)


class NodeTable(Pane):
    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self._top = 0
        self._ready: dict[tuple[int, bool, bool], Row] = {}
        self._ready_for: tuple[object, ...] = ()

    @property
    def page(self) -> int:
        """Rows of nodes that fit."""
        return max(1, self.size.height - (2 if self.size.width >= 100 else 1))

    def rows(self, width: int, height: int) -> list[Row]:
        fields = fields_for(width, self.frame.longest_name if self.frame else 10)
        head = columns(self.row(), fields[:-1]).column(fields[-1][0], 9, "dim")
        if self.frame is None:
            return [*self._title(width, 0, 0), head]
        frame, sight = self.frame, self.sight
        rows, place = sight.rows(frame), sight.place(frame)
        page = self.page
        self._top = max(0, min(max(place - page + 1, min(self._top, place)), max(0, len(rows) - page)))
        self._forget_old(width)
        lines = [self._line(row, fields, width) for row in rows[self._top : self._top + page]]
        if not rows:
            lines = [self._nothing()]
        return [*self._title(width, len(rows), page), head, *lines]

    def _nothing(self) -> Row:
        if self.sight.filter.text:
            return (
                self.row()
                .put("  no node passes the filter ", "dim")
                .column(self.sight.filter.text, 40, "text")
                .put("  esc takes it off", "accent")
            )
        return self.row().put("  the fleet file names no node: add [[nodes]]", "dim")

    def _title(self, width: int, count: int, page: int) -> list[Row]:
        if width < 100:
            return []
        sight = self.sight
        parts = [f"filter {sight.filter.text}"] if sight.filter.text else []
        parts += [f"◆ {len(sight.marked)} marked"] if sight.marked else []
        span = f"{self._top + 1}–{min(count, self._top + page)} of {count:,}" if count else "none"
        return [title(self.look, "NODES", width, " · ".join((*parts, sight.sort, span, "o sort")), "accent" if parts else "dim")]

    def _forget_old(self, width: int) -> None:
        key = (self.frame, width, self.look)
        if self._ready_for != key:
            self._ready_for = key
            self._ready.clear()

    def _line(self, row: int, fields: Fields, width: int) -> Row:
        name = self.frame.roster.nodes[row].name
        key = (row, name == self.sight.node, name in self.sight.marked)
        if key not in self._ready:
            self._ready[key] = NodeLine(self.frame, row, Row(self.look, "chosen" if key[1] else "ground"), *key[1:]).write(fields, width)
        return self._ready[key]


class NodeLine:
    """Writes one node into one row, field by field."""

    def __init__(self, frame: Frame, row: int, line: Row, chosen: bool, marked: bool) -> None:
        self.frame, self.row, self.line, self.chosen, self.marked = frame, row, line, chosen, marked
        self.node = frame.roster.nodes[row]
        self.workers = frame.fleet.workers_of_node.get(self.node.name, ())
        self.state = frame.state(row)
        self.severity = frame.severity[row]
        self.lost = frame.is_lost(row)
        self.plain = "strong" if chosen else ("faint" if self.lost else "text")
        self.quiet = "text" if chosen else ("faint" if self.lost else "dim")

    def write(self, fields: Fields, width: int) -> Row:
        for name, cells, _right in fields:
            start = self.line.used
            _WRITERS[name](self, cells or max(0, width - start))
            if cells:
                self.line.to(start + cells)
        return self.line

    def number(self, text: str, cells: int, ink: str = "", bold: bool = False) -> None:
        unknown = text.startswith(UNKNOWN)
        self.line.column(
            UNKNOWN if unknown else text, cells - 1, "faint" if unknown else (ink or self.plain), bold and not unknown, right=True
        )

    def glyph(self, cells: int) -> None:
        glyph, ink = ("◆", "accent") if self.marked else (GLYPHS[self.state], INKS[self.state])
        self.line.put(glyph, ink, self.severity > 0)

    def name(self, cells: int) -> None:
        ink = "strong" if (self.chosen or self.severity) else self.plain
        self.line.name(self.node.name, cells - 1, ink, self.chosen or self.severity > 0)

    def models(self, cells: int) -> None:
        names = list(dict.fromkeys(worker.model for worker in self.workers))
        text = names[0] + (f" +{len(names) - 1}" if len(names) > 1 else "") if names else ""
        self.line.column(text, cells - 1, self.plain if self.severity else self.quiet)

    def gpus(self, cells: int) -> None:
        """One bar a GPU, at most as many as fit."""
        frame, gpus = self.frame, self.frame.roster.gpus_of(self.row)
        utils = frame.fleet.gpu("util_pct")[gpus]
        marks = frame.marks[gpus].tolist()
        calm = "faint" if self.lost else ("info" if self.state == "stale" else ("ok" if self.chosen else "bar"))
        shown = [self._bar_of(util, mark, calm) for util, mark in list(zip(utils.tolist(), marks, strict=False))[: cells - 1]]
        for ink, run in groupby(shown, itemgetter(1)):
            self.line.put("".join(bar for bar, _ in run), ink)

    def _bar_of(self, util: float, mark: int, calm: str) -> tuple[str, str]:
        """The glyph of one GPU and its ink."""
        if mark == BROKEN_CELL:
            return "×", "crit"
        if self.lost:
            return "×" if self.severity == 2 else "·", calm
        return BARS[1 + int(min(6, util * 0.0699))] if is_known(util) else "·", "warn" if mark == HOT_CELL else calm

    def util(self, cells: int) -> None:
        util = np.nan if self.lost else self.frame.column("util_pct")[self.row]
        if cells <= 6:
            return self.number(number_text(util) + "%", cells)
        self.line.column(
            number_text(util) + "%" if is_known(util) else UNKNOWN, 4, self.plain if is_known(util) else "faint", right=True
        ).put(" ")
        meter(
            self.line,
            util / 100 if is_known(util) else None,
            cells - 6,
            "ok" if self.chosen else ("info" if self.state == "stale" else "bar"),
            rest="faint" if self.chosen else "line",
        )

    def memory(self, cells: int) -> None:
        used, total = self.column("mem_used_mib"), self.column("mem_total_mib")
        self.number(f"{used / 1024:.0f}/{total / 1024:.0f}G" if is_known(used) and is_known(total) else UNKNOWN, cells, self.quiet)

    def temperature(self, cells: int) -> None:
        temp = self.column("temp_c")
        hot = is_known(temp) and temp >= HOT_C
        self.number(number_text(temp) + ("°" if cells > 3 else ""), cells, "warn" if hot else "", hot)

    def queue(self, cells: int) -> None:
        queue = self.total("queue_depth")
        slots = sum(worker.slots or 0 for worker in self.workers)
        full = queue is not None and queue > max(slots, 1)
        self.number(count_text(queue), cells, "warn" if full else "", full)

    def ttft(self, cells: int) -> None:
        known = [worker.ttft_p95_ms for worker in self.workers if worker.ttft_p95_ms is not None]
        objectives = {model.name: model.ttft_p95_ms for model in self.frame.roster.models}
        over = any(worker.ttft_p95_ms and worker.ttft_p95_ms > (objectives.get(worker.model) or 1e12) for worker in self.workers)
        self.number(milliseconds(max(known, default=None) if not self.lost else None), cells, "warn" if over else "", over)

    def age(self, cells: int) -> None:
        """Nothing while the node is fresh: only an old sample is worth the reader's time."""
        age_s = self.frame.fleet.age_s[self.row]
        text = (
            (age_text(age_s) if is_known(age_s) else "never")
            if self.state in ("stale", "crit", "connecting") and (age_s > 2 or age_s != age_s)
            else ""
        )
        self.line.column(text, cells - 1, self.quiet, right=True)

    def why(self, cells: int) -> None:
        ink = "strong" if self.chosen else ("dim", "warn", "crit")[self.severity]
        self.line.column(self.frame.reason(self.row), cells, ink)

    def text(self, text: str, cells: int) -> None:
        self.line.column(text, cells - 1, self.quiet)

    def column(self, name: str) -> float:
        return float("nan") if self.lost else float(self.frame.column(name)[self.row])

    def total(self, field: str) -> float | None:
        known = [value for worker in self.workers if (value := getattr(worker, field)) is not None]
        return sum(known) if known and not self.lost else None


_WRITERS = {
    "": NodeLine.glyph,
    "NODE": NodeLine.name,
    "MODEL": NodeLine.models,
    "GPUS": NodeLine.gpus,
    "UTIL": NodeLine.util,
    "MEM": NodeLine.memory,
    "SITE": lambda line, cells: line.text(line.node.site, cells),
    "CHIP": lambda line, cells: line.text(line.node.chip, cells),
    "POWER": lambda line, cells: line.number(watts(line.column("power_w")), cells, line.quiet),
    "TEMP": NodeLine.temperature,
    "°C": NodeLine.temperature,
    "REQ/S": lambda line, cells: line.number(count_text(line.total("requests_per_s")), cells),
    "QUEUE": NodeLine.queue,
    "QUE": NodeLine.queue,
    "TTFT": NodeLine.ttft,
    "AGE": NodeLine.age,
    "WHY": NodeLine.why,
}
