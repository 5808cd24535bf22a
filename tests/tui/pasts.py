"""A past that needs no file: it has the methods of control.past.Past and answers from a night that was made up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import numpy as np

from opsconsole.core.fleet import Fleet
from opsconsole.core.marks import Mark
from tests.tui import fleets

NOW = fleets.NOW
SINCE = NOW - 2 * 3600
BEGAN = NOW - 1400
"""When the bad night began, 02:49:27."""
GAP = (NOW - 3000, NOW - 2400)
"""Seconds between which nobody recorded: from 02:22:47 to 02:32:47."""
MARKS = (
    Mark(NOW - 5000, "action", 0, "llama-8b", "launch 2 llama-8b", "dana"),
    Mark(BEGAN, "alarm", 2, "h100-010", "h100-010 unreachable"),
    Mark(BEGAN, "alarm", 1, "h200-004", "h200-004 held back: HW thermal slowdown"),
    Mark(NOW - 1100, "action", 0, "h100-015", "drain h100-015", "dana"),
    Mark(NOW - 600, "clear", 2, "h100-010", "h100-010 answers again"),
    Mark(NOW - 300, "event", 0, "h200-001", "h200-001 stale"),
)


class Trouble(Exception):
    """As history.HistoryError, which this test needs no file for."""


@dataclass(frozen=True)
class Band:
    times: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Series(Band):
    series: str
    unit: str
    values: np.ndarray
    step_s: float


class MadeUp:
    """at: calm before BEGAN and bad after it. gate: when set, a read waits for it."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.asked_series: list[tuple[str, dict]] = []
        self.gate: asyncio.Event | None = None
        self.trouble = ""
        self._calm, self._bad = fleets.calm(), fleets.alarm()

    async def at(self, moment: float) -> Fleet:
        self.asked.append(moment)
        if self.gate is not None:
            await self.gate.wait()
        if self.trouble:
            raise Trouble(self.trouble)
        if moment < SINCE:
            raise Trouble("nothing is recorded before 01:12:47 UTC")
        second = float(GAP[0] if GAP[0] < moment < GAP[1] else min(moment, NOW - 1))
        fleet = self._bad if second >= BEGAN else self._calm
        alarms = tuple(replace(alarm, since=BEGAN) for alarm in fleet.alarms)
        return replace(fleet, at=second, alarms=alarms, trend=np.roll(fleet.trend, int(second) % 50, axis=1))

    async def span(self) -> tuple[float, float]:
        return SINCE, NOW - 1

    async def marks(self, since: float, until: float, limit: int = 1000) -> tuple[Mark, ...]:
        return tuple(mark for mark in MARKS if since <= mark.at <= until)[:limit]

    async def series(self, series: str, *, since: float, until: float, points: int | None = None, **query: object) -> Series:
        self.asked_series.append((series, {**query, "since": since, "until": until}))
        step_s = max(1.0, np.ceil((until - since) / points) if points else 1.0)
        times = np.arange(np.ceil(max(since, SINCE - 86400 * 2)), min(until, NOW) + 1, step_s)
        values = _values(series, times, int(query.get("gpu") or 0))
        values[(times > GAP[0]) & (times < GAP[1])] = np.nan
        values[(times < SINCE) & (times > SINCE - 3600)] = np.nan
        return Series(times, values, values, series, _unit(series), values, step_s)

    async def peers(self, series: str, **query: object) -> Band:
        found = await self.series(series, **{**query, "gpu": 0})
        return Band(found.times, found.values * 0.9 - 2, found.values * 1.05 + 1)

    async def close(self) -> None:
        self.closed = True


def _values(series: str, times: np.ndarray, gpu: int) -> np.ndarray:
    wave = np.sin(times / 90 + gpu)
    bad = np.clip((times - BEGAN) / 300, 0, 1)
    name = series.partition(".")[2]
    if name == "nodes_live":
        return 24 - 2.0 * (times >= BEGAN)
    if name.startswith("ttft"):
        return 300 + 20 * wave + 500 * bad
    if name == "temp_c":
        return 66 + 3 * wave + 22 * bad
    if name == "queue_depth":
        return np.maximum(0.0, 8 + 4 * wave + 60 * bad)
    return 60 + 15 * wave + 10 * bad


def _unit(series: str) -> str:
    name = series.partition(".")[2]
    endings = (("_pct", "%"), ("_ms", "ms"), ("_w", "W"), ("_c", "°C"), ("_mib", "MiB"), ("_mhz", "MHz"), ("per_s", "1/s"))
    return next((unit for ending, unit in endings if name.endswith(ending)), "")
