"""The GPUs of one node: what each does, what holds it back in words, and the last minutes as a strip of heat."""

from __future__ import annotations

import numpy as np

from opsconsole.core.wording import UNKNOWN, number_text, throttle_words
from opsconsole.protocol import THROTTLE_LIMITING
from opsconsole.tui.frame import HOT_C, HOT_CELL, RAMP_STEPS, UNKNOWN_CELL
from opsconsole.tui.paint import Row, buckets, columns, is_known, meter
from opsconsole.tui.pane import Pane
from opsconsole.tui.past import Past
from opsconsole.tui.widgets.fleet_map import half

WIDE = (
    ("", 3, False),
    ("GPU", 4, False),
    ("UTIL", 16, False),
    ("MEMORY GiB", 11, True),
    ("TEMP", 6, True),
    ("POWER W", 10, True),
    ("CLOCK", 10, True),
    ("HELD BACK BY", 22, False),
    ("ECC", 6, True),
    ("XID", 5, True),
)
NARROW = (
    ("", 2, False),
    ("GPU", 4, False),
    ("UTIL", 5, True),
    ("MEM", 5, True),
    ("°C", 4, True),
    ("W", 5, True),
    ("HELD BY", 9, False),
    ("ECC", 4, True),
)
_SHORT = {
    "SW power cap": "pwr cap",
    "HW slowdown": "HW slow",
    "SW thermal slowdown": "thermal",
    "HW thermal slowdown": "HW therm",
    "HW power brake": "pwr brk",
}


class GpuTable(Pane):
    past: Past | None = None

    def rows(self, width: int, height: int) -> list[Row]:
        fields = WIDE if width >= 120 else NARROW
        used = sum(cells for _, cells, _ in fields)
        metric = self.sight.metric
        head = columns(self.row(), fields).column(f" {metric}, last 10 min", width - used, "dim")
        node_row = self.sight.chosen_row(self.frame) if self.frame else None
        if node_row is None:
            return [head]
        gpus = range(*self.frame.roster.gpus_of(node_row).indices(len(self.frame.roster.gpu_index)))
        if not gpus:
            reason = self.frame.roster.nodes[node_row].gpu_error or "this node has not told of any GPU yet"
            return [head, self.row().put("  ").column(reason, width - 2, "dim")]
        self.sight.gpu = max(0, min(self.sight.gpu, len(gpus) - 1))
        page = height - 1
        top = max(0, min(self.sight.gpu - page // 2, len(gpus) - page))
        return [head, *(self._line(place, gpus[place], fields, width, node_row) for place in range(top, min(len(gpus), top + page)))]

    def _line(self, place: int, gpu: int, fields: tuple[tuple[str, int, bool], ...], width: int, node_row: int) -> Row:
        row = Row(self.look, "chosen" if place == self.sight.gpu else "ground")
        values = {
            name: float(self.frame.fleet.gpu(name)[gpu])
            for name in (
                "util_pct",
                "mem_used_mib",
                "temp_c",
                "power_w",
                "power_limit_w",
                "sm_clock_mhz",
                "throttle",
                "ecc_corrected",
                "ecc_uncorrected",
                "xid",
            )
        }
        if self.frame.is_lost(node_row):
            values = dict.fromkeys(values, float("nan"))
        values["mem_total_mib"] = float(self.frame.roster.gpu_fact("mem_total_mib")[gpu])
        self._state(row, gpu, values, wide=fields is WIDE)
        (self._wide if fields is WIDE else self._narrow)(row, gpu, values)
        self._heat(row, place, width)
        return row

    def _state(self, row: Row, gpu: int, values: dict[str, float], wide: bool) -> None:
        broken = gpu in self.frame.fleet.gpu_errors
        held = throttle_words(values["throttle"], THROTTLE_LIMITING & ~0x4)
        glyph, ink = (
            ("✖", "crit")
            if broken
            else (("▲", "warn") if held or values["temp_c"] >= HOT_C else (("●", "ok") if is_known(values["util_pct"]) else ("·", "faint")))
        )
        row.put((" " if wide else "") + glyph + " ", ink, ink in ("crit", "warn")).column(
            str(int(self.frame.roster.gpu_index[gpu])), 4 if wide else 4, "text"
        )

    def _number(self, row: Row, text: str, cells: int, ink: str = "text", bold: bool = False) -> None:
        unknown = text.startswith(UNKNOWN)
        row.column(UNKNOWN if unknown else text, cells - 1, "faint" if unknown else ink, bold and not unknown, right=True).put(" ")

    def _temperature(self, row: Row, values: dict[str, float], cells: int, unit: str) -> None:
        hot = values["temp_c"] >= HOT_C
        self._number(row, number_text(values["temp_c"]) + unit, cells, "warn" if hot else "text", hot)

    def _held(self, row: Row, gpu: int, values: dict[str, float], cells: int, short: bool) -> None:
        words = throttle_words(values["throttle"], THROTTLE_LIMITING)
        said = ", ".join(_SHORT.get(word, word) if short else word for word in words)
        harmful = any(word != "SW power cap" for word in words)
        error = self.frame.fleet.gpu_errors.get(gpu, "")
        text, ink = (
            (error, "crit")
            if error
            else (said or (UNKNOWN if not is_known(values["throttle"]) else "nothing"), "warn" if harmful else "dim")
        )
        row.column(text, cells - 1, ink if words or error else "faint").put(" ")

    def _wide(self, row: Row, gpu: int, values: dict[str, float]) -> None:
        util = values["util_pct"]
        self._number(row, number_text(util) + "%", 5)
        meter(row, util / 100 if is_known(util) else None, 10).put(" ")
        self._number(row, f"{number_text(values['mem_used_mib'] / 1024)}/{number_text(values['mem_total_mib'] / 1024)}", 11, "dim")
        self._temperature(row, values, 6, "°")
        self._number(row, f"{number_text(values['power_w'])}/{number_text(values['power_limit_w'])}", 10)
        self._number(row, number_text(values["sm_clock_mhz"]) + " MHz", 10, "text")
        self._held(row, gpu, values, 22, short=False)
        self._ecc(row, values, 6)
        self._number(row, number_text(values["xid"]), 5, "crit", True)

    def _narrow(self, row: Row, gpu: int, values: dict[str, float]) -> None:
        self._number(row, number_text(values["util_pct"]) + "%", 5)
        self._number(row, number_text(values["mem_used_mib"] / 1024) + "G", 5, "dim")
        self._temperature(row, values, 4, "")
        self._number(row, number_text(values["power_w"]), 5)
        self._held(row, gpu, values, 9, short=True)
        self._ecc(row, values, 4)

    def _ecc(self, row: Row, values: dict[str, float], cells: int) -> None:
        uncorrected, corrected = values["ecc_uncorrected"], values["ecc_corrected"]
        bad = uncorrected > 0
        self._number(row, f"{uncorrected:.0f}!" if bad else number_text(corrected), cells, "crit" if bad else "dim", bad)

    def _heat(self, row: Row, place: int, width: int) -> None:
        past, room = self.past, width - row.used
        if past is None or place >= len(past.values) or room < 4:
            return
        low, high = past.bounds(self.frame)
        low = 40.0 if past.metric == "temp" else low
        spans = buckets(past.values[place], room)
        steps = np.nan_to_num(np.clip((spans - low) * (RAMP_STEPS / ((high - low) or 1)), 0, RAMP_STEPS - 1), nan=UNKNOWN_CELL).astype(int)
        if past.metric == "temp":
            steps = np.where(spans >= HOT_C, HOT_CELL, steps)
        row.add([half(self.look, step, step) for step in steps.tolist()], room)
