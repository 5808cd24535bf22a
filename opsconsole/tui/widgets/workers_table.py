"""The workers of the chosen model, slowest first: which of them to drain."""

from __future__ import annotations

from rich.cells import cell_len

from opsconsole.core.fleet import Worker
from opsconsole.core.wording import UNKNOWN, age_text, count_text, number_text
from opsconsole.tui.paint import Fields, Row, columns, fit_fields, is_known, meter, milliseconds, title
from opsconsole.tui.pane import Pane
from opsconsole.tui.widgets.runs_here import WORKER_GLYPHS, note_of

WIDE = (
    ("", 3, False),
    ("WORKER", 20, False),
    ("NODE", 15, False),
    ("GPUS", 9, False),
    ("STATE", 18, False),
    ("SLOTS", 19, False),
    ("QUEUED", 8, True),
    ("TTFT p95", 10, True),
    ("ITL p95", 9, True),
    ("TOK/S", 8, True),
    ("KV CACHE", 16, False),
    ("UP", 8, True),
    ("NOTE", 0, False),
)
NARROW = (
    ("", 2, False),
    ("WORKER", 15, False),
    ("NODE", 12, False),
    ("STATE", 10, False),
    ("SLOTS", 7, True),
    ("QUE", 5, True),
    ("TTFT", 7, True),
    ("TOK/S", 7, True),
    ("KV", 5, True),
    ("NOTE", 0, False),
)
SPARED = ("UP", "TOK/S", "KV", "KV CACHE", "ITL p95", "GPUS")
"""Left out in this order where long names leave too little room for the note: none of them says which worker to drain."""
NOTE_CELLS_LEAST = 7
_ORDER = ("FAILED", "NOT_READY", "DRAINING", "STARTING", "PENDING", "READY", "DRAINED", "STOPPING", "STOPPED")


def slowest_first(workers: tuple[Worker, ...]) -> list[Worker]:
    return sorted(
        workers, key=lambda worker: (_ORDER.index(worker.state) if worker.state in _ORDER else 9, -(worker.ttft_p95_ms or 0.0), worker.name)
    )


def fields_for(width: int, workers: list[Worker]) -> Fields:
    """The fields that fit, with as much room for names as they need."""
    longest = {"WORKER": max((cell_len(worker.name) for worker in workers), default=0),
               "NODE": max((cell_len(worker.node) for worker in workers), default=0)}
    return fit_fields(WIDE if width >= 140 else NARROW, width, longest, SPARED, NOTE_CELLS_LEAST)


class WorkersTable(Pane):
    def listed(self) -> list[Worker]:
        if self.frame is None:
            return []
        return slowest_first(self.frame.fleet.workers_of_model.get(self.sight.model, ()))

    def place(self) -> int:
        """Position of the chosen worker; the first becomes it when it is gone."""
        workers = self.listed()
        names = [worker.name for worker in workers]
        if names and self.sight.worker not in names:
            self.sight.worker = names[0]
        return names.index(self.sight.worker) if names else 0

    @property
    def page(self) -> int:
        return max(1, self.size.height - 2)

    def rows(self, width: int, height: int) -> list[Row]:
        place, workers = self.place(), self.listed()
        fields = fields_for(width, workers)
        marked = len(self.sight.marked)
        right = " · ".join(([f"◆ {marked} marked"] if marked else []) + [f"{len(workers)} · slowest first"])
        lines = [
            title(
                self.look, f"WORKERS OF {self.sight.model}" if self.sight.model else "WORKERS", width, right, "accent" if marked else "dim"
            )
        ]
        lines.append(columns(self.row(), fields[:-1]).column("NOTE", 5, "dim"))
        if not workers:
            return [*lines, self.row().put("  none; L launches some", "dim")]
        top = max(0, min(place - self.page // 2, len(workers) - self.page))
        return lines + [WorkerLine(self, worker, fields, width).write() for worker in workers[top : top + self.page]]


class WorkerLine:
    def __init__(self, table: WorkersTable, worker: Worker, fields: Fields, width: int) -> None:
        self.table, self.worker, self.fields, self.width = table, worker, fields, width
        frame = table.frame
        self.node_row = frame.roster.node_row.get(worker.node)
        self.heard = self.node_row is not None and bool(frame.fleet.answering[self.node_row])
        self.chosen = worker.name == table.sight.worker
        self.marked = worker.name in table.sight.marked
        self.row = Row(table.look, "chosen" if self.chosen else "ground")
        self.ink = "strong" if self.chosen else ("text" if self.heard else "faint")

    def write(self) -> Row:
        for name, cells, _ in self.fields:
            start = self.row.used
            _WORKER_WRITERS[name](self, cells or max(0, self.width - start))
            if cells:
                self.row.to(start + cells)
        return self.row

    def number(self, text: str, cells: int, ink: str = "", bold: bool = False) -> None:
        unknown = text.startswith(UNKNOWN)
        self.row.column(
            UNKNOWN if unknown else text, cells - 1, "faint" if unknown else (ink or self.ink), bold and not unknown, right=True
        )

    def glyph(self, cells: int) -> None:
        glyph, ink = WORKER_GLYPHS.get(self.worker.state, ("·", "faint")) if self.heard else ("◌", "info")
        glyph, ink = ("◆", "accent") if self.marked else (glyph, ink)
        self.row.put((" " if cells > 2 else "") + glyph, ink, ink in ("warn", "crit"))

    def name(self, text: str, cells: int, ink: str = "") -> None:
        self.row.name(text, cells - 1, ink or self.ink)

    def text(self, text: str, cells: int, ink: str = "") -> None:
        self.row.column(text, cells - 1, ink or self.ink)

    def state(self, cells: int) -> None:
        state = self.worker.state.lower().replace("_", " ")
        phase = f": {self.worker.phase}" if self.worker.phase and self.worker.state == "STARTING" else ""
        self.text(
            state + phase if self.heard else "not heard",
            cells,
            WORKER_GLYPHS.get(self.worker.state, ("", "dim"))[1] if self.heard else "info",
        )

    def slots(self, cells: int) -> None:
        running, slots = self.worker.running, self.worker.slots
        full = is_known(running) and bool(slots) and running >= slots
        said = f"{number_text(running)}/{number_text(slots)}" if is_known(running) else UNKNOWN
        if cells < 12:
            return self.number(said, cells, "warn" if full else "")
        self.row.column(said, 7, "faint" if said == UNKNOWN else ("warn" if full else self.ink), right=True).put(" ")
        meter(self.row, running / slots if is_known(running) and slots else None, cells - 9, "warn" if full else "bar")

    def latency(self, cells: int) -> None:
        objective = next((model.ttft_p95_ms for model in self.table.frame.roster.models if model.name == self.worker.model), None)
        over = bool(objective and self.worker.ttft_p95_ms and self.worker.ttft_p95_ms > objective)
        self.number(milliseconds(self.worker.ttft_p95_ms), cells, "warn" if over else "", over)

    def cache(self, cells: int) -> None:
        used = self.worker.kv_used_pct
        full = is_known(used) and used > 95
        if cells < 8:
            return self.number(number_text(used) + "%", cells, "warn" if full else "")
        self.row.column(
            number_text(used) + "%" if is_known(used) else UNKNOWN,
            5,
            "faint" if not is_known(used) else ("warn" if full else self.ink),
            right=True,
        ).put(" ")
        meter(self.row, used / 100 if is_known(used) else None, cells - 8, "warn" if full else "bar")

    def note(self, cells: int) -> None:
        worker = self.worker
        if not self.heard and self.node_row is not None:
            return self.row.column(self.table.frame.reason(self.node_row), cells, "dim")
        ink = "crit" if worker.state == "FAILED" else ("warn" if worker.restarts else "dim")
        self.row.column(note_of(worker, self.table.frame.roster.models), cells, ink)

    def up(self, cells: int) -> None:
        started = self.worker.started_wall
        self.row.column(age_text(self.table.frame.fleet.at - started) if started else UNKNOWN, cells - 1, "dim", right=True)


_WORKER_WRITERS = {
    "": WorkerLine.glyph,
    "WORKER": lambda line, cells: line.name(line.worker.name, cells),
    "NODE": lambda line, cells: line.name(line.worker.node, cells, "dim" if not line.chosen else ""),
    "GPUS": lambda line, cells: line.text(",".join(map(str, line.worker.gpus)), cells, "dim"),
    "STATE": WorkerLine.state,
    "SLOTS": WorkerLine.slots,
    "QUEUED": lambda line, cells: line.number(count_text(line.worker.queue_depth), cells),
    "QUE": lambda line, cells: line.number(count_text(line.worker.queue_depth), cells),
    "TTFT p95": WorkerLine.latency,
    "TTFT": WorkerLine.latency,
    "ITL p95": lambda line, cells: line.number(milliseconds(line.worker.itl_p95_ms), cells),
    "TOK/S": lambda line, cells: line.number(count_text(line.worker.tokens_per_s), cells),
    "KV CACHE": WorkerLine.cache,
    "KV": WorkerLine.cache,
    "UP": WorkerLine.up,
    "NOTE": WorkerLine.note,
}
