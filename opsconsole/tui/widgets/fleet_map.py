"""Every GPU as one cell: where the heat, the load or the trouble sits, at a glance."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from opsconsole.core.fleet import CONNECTING
from opsconsole.tui.frame import BROKEN_CELL, HOT_CELL, LOST_CELL, METRICS, RAMP_STEPS, STALE_CELL, UNKNOWN_CELL, Frame, Group
from opsconsole.tui.looks import Look
from opsconsole.tui.paint import SHADES, Row, title
from opsconsole.tui.pane import Pane

LABEL_CELLS = 13
WIDEST_CELL = 3
TAIL_CELLS = 22
_TROUBLE = {
    HOT_CELL: ("▲", "warn"),
    BROKEN_CELL: ("✖", "crit"),
    STALE_CELL: ("◌", "info"),
    LOST_CELL: ("✖", "crit"),
    UNKNOWN_CELL: ("·", "faint"),
}
_SHADE_RANK = {BROKEN_CELL: 5, LOST_CELL: 4, HOT_CELL: 3, STALE_CELL: 2, UNKNOWN_CELL: 0}


@lru_cache(4096)
def half(look: Look, upper: int, lower: int) -> Segment:
    """One character that shows two cells, one above the other."""
    if look.is_native:
        worst = max(upper, lower, key=lambda cell: _SHADE_RANK.get(cell, 1))
        if worst in _TROUBLE:
            glyph, ink = _TROUBLE[worst]
            return Segment(glyph, look.style(ink, "ground", worst != UNKNOWN_CELL))
        return Segment(SHADES[min(4, (upper + lower) // 2 * 5 // RAMP_STEPS)], look.style("ok"))
    return Segment("▀", Style(color=_colour(look, upper), bgcolor=_colour(look, lower)))


def _colour(look: Look, cell: int) -> Color:
    names = {HOT_CELL: "warn", BROKEN_CELL: "crit", STALE_CELL: "info", LOST_CELL: "crit", UNKNOWN_CELL: "line"}
    return Color.parse(look.colours[names[cell]] if cell in names else look.ramp[cell])


class FleetMap(Pane):
    """Zooms out by itself: a cell a GPU, then a character a node, then two nodes a character.

    The lines without the cursor are kept as long as frame, metric, look and size stay, so that moving costs one line or two."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self._bare: list[Row] = []
        self._bare_for: tuple[object, ...] = ()
        self._place_of: dict[int, tuple[int, int, int]] = {}
        """Row of a node -> its line, and the first cell of it and the cell behind it."""
        self._is_boxed = True
        """Whether the cursor stands around a node, not in its place."""

    def rows(self, width: int, height: int) -> list[Row]:
        if self.frame is None or not self.frame.groups or width < 30 or height < 3:
            return [title(self.look, "FLEET MAP", width)]
        key = (self.frame, self.sight.metric, self.look, width, height)
        if self._bare_for != key:
            self._bare_for = key
            self._bare = self._drawn_map(width, height)
        place = self._place_of.get(self.sight.chosen_row(self.frame))
        if place is None:
            return self._bare
        lines = list(self._bare)
        if place[0] < height - 1:
            lines[place[0]] = self._with_cursor(lines[place[0]], *place[1:])
        return lines

    def _with_cursor(self, row: Row, start: int, end: int) -> Row:
        strip, marked = Strip(row.segments, row.used), self.row()
        if self._is_boxed:
            parts = [strip.crop(0, start - 1), self._mark("▐"), strip.crop(start, end), self._mark("▌"), strip.crop(end + 1)]
        else:
            parts = [strip.crop(0, start), self._mark("▐" if self.look.is_native else "█"), strip.crop(end)]
        return marked.add([segment for part in parts for segment in part], row.used)

    def _mark(self, glyph: str) -> list[Segment]:
        return [Segment(glyph, self.look.style("accent", "ground", True))]

    def _drawn_map(self, width: int, height: int) -> list[Row]:
        self._place_of = {}
        room, unit = height - 2, METRICS[self.sight.metric][3]
        caption, blocks = self._closest(self.frame.cells(self.sight.metric), width, room)
        words = f"{self.sight.metric} {unit} · {caption}" + (" · m metric" if width >= 60 else "")
        return [title(self.look, "FLEET MAP", width, words), *self._placed(blocks, room, width), self._legend(width)]

    def _closest(self, cells: np.ndarray, width: int, room: int) -> tuple[str, list[list[Row]]]:
        """What a cell is, and the lines of each group, as large as they fit."""
        groups = self.frame.groups
        scale = self._scale(width, room)
        if scale:
            self._is_boxed = True
            return "1 cell = 1 GPU", [self._by_gpu(group, cells, width, scale) for group in groups]
        self._is_boxed = False
        blocks = [self._by_node(group, cells, width) for group in groups]
        if sum(map(len, blocks)) <= room:
            return "1 cell = 1 node, max / min GPU", blocks
        return "2 nodes a cell", [self._by_two_nodes(group, cells, width) for group in groups]

    def _scale(self, width: int, room: int) -> int:
        """Characters a column of GPUs: as many as need no more lines than one would; 0: even one does not fit."""
        lines = [
            sum(-(-len(group.rows) // self._per_line(group, width, scale)) for group in self.frame.groups)
            for scale in range(1, WIDEST_CELL + 1)
        ]
        return 0 if lines[0] > room else max(scale for scale, count in enumerate(lines, 1) if count == lines[0])

    def _columns(self, group: Group) -> int:
        return max(1, -(-max(self._gpu_counts(group)) // 2))

    def _per_line(self, group: Group, width: int, scale: int) -> int:
        return max(1, (width - LABEL_CELLS - 1) // (self._columns(group) * scale + 1))

    def _placed(self, blocks: list[list[Row]], room: int, width: int) -> list[Row]:
        """The groups one below the other, apart when there is room, and a word when some do not fit."""
        spare = room - sum(map(len, blocks)) >= len(blocks)
        lines: list[Row] = []
        for group, block in zip(self.frame.groups, blocks, strict=False):
            for node in group.rows.tolist():
                line, start, end = self._place_of[node]
                self._place_of[node] = (1 + len(lines) + line, start, end)
            lines += [*block, *((self.row(),) if spare else ())]
        if len(lines) > room:
            hidden = len(lines) - room + 1
            lines = [*lines[: room - 1], self.row().column(f" … {hidden} more lines; filter with /", width, "dim")]
        return lines + [self.row() for _ in range(room - len(lines))]

    def _by_gpu(self, group: Group, cells: np.ndarray, width: int, scale: int) -> list[Row]:
        columns, per_line = self._columns(group) * scale, self._per_line(group, width, scale)
        count = max(1, -(-len(group.rows) // per_line))
        lines = []
        for number in range(count):
            row = self._label(group, number, count)
            for node in group.rows[number * per_line : (number + 1) * per_line].tolist():
                row.put(" ")
                self._place_of[node] = (number, row.used, row.used + columns)
                row.add(self._node_cells(cells[self.frame.roster.gpus_of(node)].tolist(), columns, scale), columns)
            lines.append(row.put(" "))
        return lines

    def _node_cells(self, levels: list[int], columns: int, scale: int) -> list[Segment]:
        look = self.look
        if not levels:
            return [Segment("·" * columns, look.style("faint"))]
        across = columns // scale
        upper, lower = levels[:across], levels[across : 2 * across] if len(levels) > across else levels
        cells = [
            half(look, above, lower[place] if place < len(lower) else above) for place, above in enumerate(upper) for _ in range(scale)
        ]
        missing = columns - len(cells)
        return [*cells, Segment(" " * missing, look.style())] if missing else cells

    def _gpu_counts(self, group: Group) -> list[int]:
        starts = self.frame.roster.gpu_start
        return (starts[group.rows + 1] - starts[group.rows]).tolist() or [1]

    def _by_node(self, group: Group, cells: np.ndarray, width: int) -> list[Row]:
        room = width - LABEL_CELLS - (TAIL_CELLS if len(group.rows) <= width - LABEL_CELLS - TAIL_CELLS else 1)
        halves = [half(self.look, top, low) for top, low in _extremes(self.frame, group, cells)]
        return self._folded(group, halves, room, width, 1)

    def _by_two_nodes(self, group: Group, cells: np.ndarray, width: int) -> list[Row]:
        worst = [top if top >= RAMP_STEPS else (low if low >= RAMP_STEPS else top) for top, low in _extremes(self.frame, group, cells)]
        worst += worst[-1:] * (len(worst) % 2)
        pairs = [half(self.look, upper, lower) for upper, lower in zip(worst[::2], worst[1::2], strict=False)]
        return self._folded(group, pairs, width - LABEL_CELLS - 1, width, 2)

    def _folded(self, group: Group, segments: list[Segment], per_line: int, width: int, nodes_per_cell: int) -> list[Row]:
        for place, node in enumerate(group.rows.tolist()):
            line, column = divmod(place // nodes_per_cell, per_line)
            self._place_of[node] = (line, LABEL_CELLS + column, LABEL_CELLS + column + 1)
        count = -(-len(segments) // per_line)
        lines = []
        for number in range(max(1, count)):
            part = segments[number * per_line : (number + 1) * per_line]
            lines.append(self._label(group, number, count).add(part, len(part)))
        if len(lines) == 1 and width - lines[0].used > TAIL_CELLS - 1:
            self._tail(lines[0], group, width)
        return lines

    def _tail(self, row: Row, group: Group, width: int) -> None:
        fleet, rows = self.frame.fleet, group.rows
        up, severities = int(fleet.answering[rows].sum()), [self.frame.severity[row] for row in rows.tolist()]
        row.to(width - TAIL_CELLS).column(f"{up}/{len(rows)}", 9, "dim", right=True)
        row.column(self._average(group), 5, "text", right=True)
        row.column(f" ✖{severities.count(2)}" if 2 in severities else "", 4, "crit", True)
        row.column(f"▲{severities.count(1)}" if 1 in severities else "", 4, "warn", True)

    def _label(self, group: Group, number: int, count: int) -> Row:
        """Site, chip, size and load of a group, in as many lines as it has."""
        names = [part for part in (group.site, group.chip) if part] or ["nodes"]
        head = [" ".join(names)] if count < 3 else names
        lines = [*head, f"{len(group.rows)} × {max(self._gpu_counts(group))}", self._average(group)]
        if number >= len(lines):
            return self.row().put(" " * LABEL_CELLS)
        return self.row().put(" ").column(lines[number], LABEL_CELLS - 2, "dim" if number else "text", not number).put(" ")

    def _average(self, group: Group) -> str:
        util = self.frame.column("util_pct")[group.rows]
        util = util[self.frame.fleet.answering[group.rows] & ~np.isnan(util)]
        return f"{util.mean():.0f} %" if util.size else "–"

    def _legend(self, width: int) -> Row:
        _, low, high, unit = METRICS[self.sight.metric]
        bounds = ("0", "100") if high == 1.0 else (f"{low:.0f}", f"{high:.0f}")
        row = self.row().to(LABEL_CELLS - 1).put(f"{bounds[0]} ", "dim")
        steps = range(0, RAMP_STEPS, 4 if self.look.is_native else 1)
        row.add([half(self.look, step, step) for step in steps], len(steps)).put(f" {bounds[1]} {unit.split()[0]}", "dim")
        for glyph, ink, word in (("✖", "crit", "down"), ("▲", "warn", "hot/slowed"), ("◌", "info", "stale"), ("▐▌", "accent", "cursor")):
            row.put(f"  {glyph} ", ink, True).put(word, "dim")
        return row


def _extremes(frame: Frame, group: Group, cells: np.ndarray) -> list[tuple[int, int]]:
    """Highest and lowest cell of each node of a group; a node with trouble is trouble whole."""
    roster = frame.roster
    high = np.full(len(roster.nodes), UNKNOWN_CELL)
    low = high.copy()
    filled = np.diff(roster.gpu_start) > 0
    starts = roster.gpu_start[:-1][filled]
    if len(starts):
        high[filled] = np.maximum.reduceat(cells, starts)
        low[filled] = np.where(high[filled] >= RAMP_STEPS, high[filled], np.minimum.reduceat(cells, starts))
    gone = frame.lost & (frame.fleet.reach != CONNECTING)
    high[gone] = low[gone] = LOST_CELL
    return list(zip(high[group.rows].tolist(), low[group.rows].tolist(), strict=False))
