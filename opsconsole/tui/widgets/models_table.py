"""Every model: is it served as promised, what waits for it, how full its cache is."""

from __future__ import annotations

import numpy as np
from rich.cells import cell_len

from opsconsole.core.wording import UNKNOWN, count_text, number_text
from opsconsole.tui.paint import Fields, Row, columns, fit_fields, is_known, meter, milliseconds, spark, title
from opsconsole.tui.pane import Pane

WIDE = (
    ("", 3, False),
    ("MODEL", 22, False),
    ("READY", 9, True),
    ("RUNNING", 9, True),
    ("QUEUED", 8, True),
    ("LAST 5 MIN", 24, False),
    ("TTFT p95", 10, True),
    ("/ OBJECTIVE", 13, False),
    ("ITL p95", 9, True),
    ("REQ/S", 8, True),
    ("TOK/S", 9, True),
    ("KV CACHE", 16, False),
    ("WHY", 0, False),
)
NARROW = (
    ("", 2, False),
    ("MODEL", 13, False),
    ("READY", 7, True),
    ("QUEUE", 6, True),
    ("5 MIN", 9, False),
    ("TTFT", 7, True),
    ("/OBJ", 7, False),
    ("TOK/S", 7, True),
    ("KV", 5, True),
    ("WHY", 0, False),
)
SPARED = ("5 MIN", "KV", "TOK/S", "KV CACHE", "REQ/S", "RUNNING")
"""Left out in this order where long names leave too little room for WHY."""
WHY_CELLS_LEAST = 12


class ModelsTable(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        models = self.frame.models if self.frame else []
        longest = max((cell_len(model["name"]) for model in models), default=0)
        fields = fit_fields(WIDE if width >= 150 else NARROW, width, {"MODEL": max(11, longest)}, SPARED, WHY_CELLS_LEAST)
        head = columns(self.row(), fields[:-1]).column("WHY", 4, "dim")
        lines = [
            title(
                self.look, "MODELS", width, "worst against its objective first" + (" · ↵ its workers · L launch" if width >= 100 else "")
            ),
            head,
        ]
        if not models:
            return [*lines, self.row().put("  the fleet file names no model: add [[models]]" if self.frame else "  not known yet", "dim")]
        names = [model["name"] for model in models]
        page = max(1, height - 2)
        top = max(0, min(self._place(names) - page // 2, len(names) - page))
        return lines + [ModelLine(self, model, fields, width).write() for model in models[top : top + page]]

    def _place(self, names: list[str]) -> int:
        return names.index(self.sight.model) if self.sight.model in names else 0


class ModelLine:
    def __init__(self, table: ModelsTable, model: dict, fields: Fields, width: int) -> None:
        self.model, self.fields, self.width = model, fields, width
        self.chosen = model["name"] == table.sight.model
        self.row = Row(table.look, "chosen" if self.chosen else "ground")
        self.trend = table.frame.fleet.model_queue_trend.get(model["name"], np.zeros(0))
        objective, latency = model["objective"]["ttft_p95_ms"], model["ttft_p95_ms"]
        self.over = bool(objective and latency and latency > objective)
        self.short = model["ready"] < model["min_ready"]
        self.crowded = bool(
            model["queue_depth"] and model["running"] is not None and model["queue_depth"] > max(1, model["slots"] * model["ready"])
        )

    def write(self) -> Row:
        for name, cells, _ in self.fields:
            start = self.row.used
            _MODEL_WRITERS[name](self, cells or max(0, self.width - start))
            if cells:
                self.row.to(start + cells)
        return self.row

    def number(self, text: str, cells: int, ink: str = "text", bold: bool = False) -> None:
        unknown = text.startswith(UNKNOWN)
        self.row.column(UNKNOWN if unknown else text, cells - 1, "faint" if unknown else ink, bold and not unknown, right=True)

    def glyph(self, cells: int) -> None:
        glyph, ink = (
            ("✖", "crit") if self.short else (("▲", "warn") if self.over else (("●", "ok") if self.model["ready"] else ("·", "faint")))
        )
        self.row.put((" " if cells > 2 else "") + glyph, ink, self.short or self.over)

    def name(self, cells: int) -> None:
        self.row.name(
            self.model["name"], cells - 1, "strong" if self.chosen or self.over or self.short else "text", self.over or self.short
        )

    def ready(self, cells: int) -> None:
        ready, total = self.model["ready"], self.model["workers"]
        self.number(f"{ready}/{total}", cells, "crit" if self.short else ("info" if ready < total else "text"), self.short)

    def queue(self, cells: int) -> None:
        self.number(count_text(self.model["queue_depth"]), cells, "warn" if self.crowded else "text", self.crowded)

    def past(self, cells: int) -> None:
        spark(self.row, self.trend, cells - 2, ground=self.row.ground, hot="warn", limit=None)

    def latency(self, cells: int) -> None:
        self.number(milliseconds(self.model["ttft_p95_ms"]), cells, "warn" if self.over else "text", self.over)

    def objective(self, cells: int) -> None:
        objective = self.model["objective"]["ttft_p95_ms"]
        self.row.column(("/ " if cells > 8 else "/") + milliseconds(objective) if objective else "", cells - 1, "dim")

    def cache(self, cells: int) -> None:
        used = self.model["kv_used_pct"]
        ink = "warn" if is_known(used) and used > 95 else "text"
        if cells < 8:
            return self.number(number_text(used) + "%", cells, ink)
        self.row.column(number_text(used) + "%" if is_known(used) else UNKNOWN, 5, ink if is_known(used) else "faint", right=True).put(" ")
        meter(self.row, used / 100 if is_known(used) else None, cells - 8, "warn" if ink == "warn" else "bar")

    def why(self, cells: int) -> None:
        words = [self.model["reason"]] if self.model["reason"] else []
        words += ["more wait than its slots hold"] if self.crowded else []
        self.row.column(", ".join(words), cells, "crit" if self.short else ("warn" if words else "dim"))


_MODEL_WRITERS = {
    "": ModelLine.glyph,
    "MODEL": ModelLine.name,
    "READY": ModelLine.ready,
    "QUEUED": ModelLine.queue,
    "QUEUE": ModelLine.queue,
    "LAST 5 MIN": ModelLine.past,
    "5 MIN": ModelLine.past,
    "TTFT p95": ModelLine.latency,
    "TTFT": ModelLine.latency,
    "/ OBJECTIVE": ModelLine.objective,
    "/OBJ": ModelLine.objective,
    "RUNNING": lambda line, cells: line.number(count_text(line.model["running"]), cells),
    "ITL p95": lambda line, cells: line.number(milliseconds(line.model["itl_p95_ms"]), cells),
    "REQ/S": lambda line, cells: line.number(count_text(line.model["requests_per_s"]), cells),
    "TOK/S": lambda line, cells: line.number(count_text(line.model["tokens_per_s"]), cells),
    "KV CACHE": ModelLine.cache,
    "KV": ModelLine.cache,
    "WHY": ModelLine.why,
}
