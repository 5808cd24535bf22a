"""Each model on the capacity screen: what it is asked for, what it can serve, when that is full, and what it costs."""

from __future__ import annotations

from rich.cells import cell_len

from opsconsole.core.burn import budget_left
from opsconsole.core.capacity import ModelCapacity
from opsconsole.core.energy import energy_now
from opsconsole.core.outlook import Outlook
from opsconsole.core.saturation import Saturation
from opsconsole.core.situation import FULL_SHARE
from opsconsole.core.wording import UNKNOWN, age_text, count_text, number_text
from opsconsole.tui.paint import Fields, Row, columns, fit_fields, meter, title
from opsconsole.tui.pane import Pane

WIDE: Fields = (
    ("", 3, False), ("MODEL", 18, False), ("READY", 7, True), ("ASKED", 8, True), ("CAN SERVE", 13, True), ("FULL", 18, False),
    ("FULL IN", 10, True), ("CAN ADD", 9, True), ("BURN", 8, True), ("BUDGET", 8, True), ("$/M TOK", 9, True), ("J/TOK", 7, True),
    ("AHEAD", 0, False),
)
NARROW: Fields = (
    ("", 2, False), ("MODEL", 13, False), ("READY", 6, True), ("ASKED", 6, True), ("SERVE", 10, True), ("FULL", 6, True),
    ("FULL IN", 8, True), ("ADD", 6, True), ("BURN", 6, True), ("$/M", 7, True), ("AHEAD", 0, False),
)
SPARED = ("J/TOK", "BUDGET", "BURN", "CAN ADD", "ADD")
AHEAD_CELLS_LEAST = 8


class ModelHeadroom(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        head = title(self.look, "MODELS", width, "tokens/s at the objective · ↵ workers" if width >= 100 else "tokens/s")
        if self.frame is None:
            return [head, self.row().put("  not known yet", "dim")]
        now, then = self.app.foresight.looks(self.frame)
        look = then or now
        models = look.capacity.models
        longest = {"MODEL": max((cell_len(model.name) for model in models), default=0)}
        fields = fit_fields(WIDE if width >= 130 else NARROW, width, longest, SPARED, AHEAD_CELLS_LEAST)
        lines = [head, columns(self.row(), fields[:-1]).column("HIGHEST AHEAD", 13, "dim")]
        if not models:
            return [*lines, self.row().put("  the fleet file names no model: add [[models]]", "dim")]
        page = max(1, height - 2)
        names = [model.name for model in models]
        place = names.index(self.sight.model) if self.sight.model in names else 0
        top = max(0, min(place - page // 2, len(models) - page))
        return lines + [_Line(self, look, model, fields, width).write() for model in models[top : top + page]]


def load_text(load: float | None) -> str:
    """Demand over capacity in at most five cells."""
    return UNKNOWN if load is None else f"{100 * load:.0f}%" if load < 9.995 else ">999%"


class _Line:
    def __init__(self, table: ModelHeadroom, look: Outlook, model: ModelCapacity, fields: Fields, width: int) -> None:
        self.look, self.model, self.fields, self.width = look, model, fields, width
        self.ends: Saturation = next(one for one in look.saturation if (one.kind, one.subject) == ("model", model.name))
        self.row = Row(table.look, "chosen" if model.name == table.sight.model else "ground")
        self.is_full = self.ends.full_in_s == 0
        self.ink = "crit" if self.is_full else "warn" if self.ends.full_in_s is not None or (model.load or 0.0) > FULL_SHARE else "ok"

    @property
    def text_ink(self) -> str:
        return "text" if self.ink == "ok" else self.ink

    def write(self) -> Row:
        for name, room, right in self.fields:
            start = self.row.used
            room = room or max(0, self.width - start)
            if name == "":
                self.row.put((" " if room > 2 else "") + {"crit": "✖", "warn": "▲", "ok": "●"}[self.ink], self.ink, self.ink != "ok")
            elif name == "MODEL":
                self.row.name(self.model.name, room - 1, "strong")
            elif name == "FULL" and room > 8:
                self._full(room)
            else:
                text, ink = self._cell(name)
                self.row.column(text, room - 1, "faint" if text == UNKNOWN else ink, right=right)
            self.row.to(start + room)
        return self.row

    def _full(self, room: int) -> None:
        load = self.model.load
        self.row.column(load_text(load), 5, self.text_ink, right=True).put(" ")
        meter(self.row, load, room - 8, "bar" if self.ink == "ok" else self.ink)

    def _cell(self, name: str) -> tuple[str, str]:
        model, learned = self.model, self.look.capacity.learned
        burns = learned.burns.get(model.name, ())
        burn = burns[0].burn if burns else None
        left = budget_left(burns)
        cells = {
            "READY": lambda: (str(model.ready), "text"), "ASKED": lambda: (count_text(model.demand_tokens_per_s), "text"),
            "CAN SERVE": self._serve, "SERVE": self._serve,
            "FULL": lambda: (load_text(model.load), self.text_ink),
            "FULL IN": self._when,
            "CAN ADD": lambda: (count_text(model.addable_tokens_per_s), "text"),
            "ADD": lambda: (count_text(model.addable_tokens_per_s), "text"),
            "BURN": lambda: (UNKNOWN if burn is None else f"{burn:.1f}x", "crit" if burn and burn > 1 else "text"),
            "BUDGET": lambda: (UNKNOWN if left is None else f"{100 * left:.0f}%", "crit" if left is not None and left <= 0 else "text"),
            "$/M TOK": lambda: (number_text(model.usd_per_million_tokens, 2), "text"),
            "$/M": lambda: (number_text(model.usd_per_million_tokens, 2), "text"),
            "J/TOK": self._joules, "AHEAD": self._ahead,
        }
        return cells[name]()

    def _serve(self) -> tuple[str, str]:
        spread = self.model.spread
        return count_text(self.model.capacity_tokens_per_s) + (f" ±{100 * spread:.0f}%" if spread is not None else ""), "text"

    def _when(self) -> tuple[str, str]:
        seconds = self.ends.full_in_s
        if seconds is not None:
            return ("now" if seconds == 0 else age_text(seconds)), self.ink
        return (f"> {age_text(self.ends.horizon_s)}", "dim") if self.ends.horizon_s else (UNKNOWN, "faint")

    def _joules(self) -> tuple[str, str]:
        known = {**energy_now(self.look.capacity.fleet), **self.look.capacity.learned.energy}
        found = [one.joules_per_token for (model, _), one in known.items() if model == self.model.name]
        return (number_text(min(found), 2) if found else UNKNOWN), "text"

    def _ahead(self) -> tuple[str, str]:
        """The highest of the forecast, its band, and how wrong the same way was before."""
        ahead = self.look.capacity.learned.demand.get(self.model.name)
        if ahead is None:
            return "no forecast yet", "dim"
        peak = int(ahead.mean.argmax())
        low, mean, high = (count_text(float(line[peak])) for line in (ahead.low, ahead.mean, ahead.high))
        error = "" if ahead.error_pct != ahead.error_pct else f", off by {ahead.error_pct:.0f}%"
        return f"{mean} ({low}-{high}){error}", "text"
