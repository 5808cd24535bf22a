"""Six figures that stand for the whole fleet, each with the last five minutes as a sparkline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opsconsole.core.fleet import HEADLINES
from opsconsole.core.wording import UNKNOWN, count_text, number_text, power_text
from opsconsole.tui.frame import Frame
from opsconsole.tui.paint import Row, cells, is_known, milliseconds, spark
from opsconsole.tui.pane import Pane


@dataclass(frozen=True, slots=True)
class Tile:
    short: str
    name: str
    value: str
    note: str
    trend: np.ndarray
    trouble: str = ""
    """"", "warn" or "crit"."""
    high: float | None = None
    limit: float | None = None
    """Above it the sparkline changes its ink."""


class Headlines(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        tiles = tiles_of(self.frame) if self.frame else _EMPTY
        return self._tall(tiles, width) if height >= 3 else [self._flat(tiles, width)]

    def _flat(self, tiles: list[Tile], width: int) -> Row:
        row = self.row()
        for tile in tiles:
            if row.used + len(tile.short) + cells(tile.value) + 2 > width:
                break
            row.put(f" {tile.short} ", "dim").put(tile.value.replace(" ", ""), tile.trouble or "strong", True)
            if tile.short in ("ttft", "queue", "req/s") and row.used + 5 < width:
                spark(row.put(" "), tile.trend, 3, high=tile.high, limit=tile.limit, hot=tile.trouble or "warn")
            row.put(" ")
        return row

    def _tall(self, tiles: list[Tile], width: int) -> list[Row]:
        rows = [self.row() for _ in range(3)]
        mark = {"": "", "warn": " ▲", "crit": " ✖"}
        for number, tile in enumerate(tiles):
            start, end = width * number // len(tiles), width * (number + 1) // len(tiles)
            room, ink = end - start - 3, tile.trouble or "dim"
            rows[0].to(start).put(" ").column(tile.name + mark[tile.trouble], room, ink, bool(tile.trouble))
            rows[1].to(start).put(" ").put(tile.value, tile.trouble or "strong", True)
            rows[1].column(" " + tile.note, max(0, room - cells(tile.value)), ink, right=True)
            spark(rows[2].to(start).put(" "), tile.trend, room, high=tile.high, limit=tile.limit, hot=tile.trouble or "warn")
        return rows


def tiles_of(frame: Frame) -> list[Tile]:
    """The six tiles in the order of HEADLINES."""
    trend = dict(zip(HEADLINES, frame.fleet.trend, strict=False))
    return [
        _latency(frame, trend),
        _queue(frame, trend),
        _requests(frame, trend),
        _util(frame, trend),
        _power(frame, trend),
        _nodes(frame, trend),
    ]


def _latency(frame: Frame, trend: dict[str, np.ndarray]) -> Tile:
    objectives = {model.name: model.ttft_p95_ms for model in frame.roster.models if model.ttft_p95_ms}
    over = next((alarm.subject for alarm in frame.fleet.alarms if alarm.kind == "ttft"), "")
    note = f"over: {over}" if over else (f"objective {milliseconds(min(objectives.values()))}" if objectives else "")
    limit = objectives.get(over)
    value = milliseconds(frame.headlines["ttft_p95_ms"])
    return Tile("ttft", "TTFT p95, worst", value, note, trend["ttft_p95_ms"], "warn" if over else "", limit=limit)


def _queue(frame: Frame, trend: dict[str, np.ndarray]) -> Tile:
    queue, rate = frame.headlines["queue_depth"], frame.headlines["requests_per_s"]
    slots = sum(worker.slots or 0 for worker in frame.fleet.workers if worker.state == "READY")
    full = is_known(queue) and slots > 0 and queue > slots
    note = f"clears in {queue / rate:.0f} s" if is_known(queue) and is_known(rate) and rate > 0 and queue >= 1 else ""
    return Tile("queue", "QUEUED", count_text(queue), note, trend["queue_depth"], "warn" if full else "", limit=slots if full else None)


def _requests(frame: Frame, trend: dict[str, np.ndarray]) -> Tile:
    running = [worker.running for worker in frame.fleet.workers if worker.running is not None]
    note = f"{sum(running):,.0f} running" if running else ""
    return Tile("req/s", "REQUESTS/S", count_text(frame.headlines["requests_per_s"]), note, trend["requests_per_s"])


def _util(frame: Frame, trend: dict[str, np.ndarray]) -> Tile:
    util = frame.headlines["util_pct"]
    note = f"{100 - util:.0f} % idle" if is_known(util) else ""
    return Tile("util", "GPU UTIL", number_text(util, 0, "%"), note, trend["util_pct"], high=100.0)


def _power(frame: Frame, trend: dict[str, np.ndarray]) -> Tile:
    power, budget = frame.headlines["power_w"], frame.power_budget_w
    over = bool(budget) and is_known(power) and power > budget  # type: ignore[operator]
    note = f"of {power_text(budget)}" if budget else ""
    return Tile("power", "POWER", power_text(power), note, trend["power_w"], "warn" if over else "", high=budget, limit=budget)


def _nodes(frame: Frame, trend: dict[str, np.ndarray]) -> Tile:
    total, counts = len(frame.roster.nodes), frame.counts
    up = int(frame.fleet.answering.sum())
    parts = (
        ("✖", counts["crit"]),
        ("▲", counts["warn"]),
        ("◌", counts["stale"] + counts["connecting"]),
        ("◐", counts["loading"]),
        ("▽", counts["draining"]),
    )
    note = " ".join(f"{glyph}{count}" for glyph, count in parts if count)
    trouble = "crit" if counts["crit"] else ("warn" if counts["warn"] + counts["stale"] else "")
    value = f"{up}/{total}" if total else UNKNOWN
    return Tile("up", "NODES UP", value, note, total - trend["nodes_live"], trouble, high=float(max(total, 1)) / 4, limit=0.5)


_EMPTY = [
    Tile(short, name, UNKNOWN, "", np.zeros(0))
    for short, name in (
        ("ttft", "TTFT p95, worst"),
        ("queue", "QUEUED"),
        ("req/s", "REQUESTS/S"),
        ("util", "GPU UTIL"),
        ("power", "POWER"),
        ("up", "NODES UP"),
    )
]
