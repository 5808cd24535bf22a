"""Numbers out of the file: of the whole fleet at one tick, or of some of it over a span of time."""

from __future__ import annotations

import sqlite3
from math import ceil, floor

import numpy as np

from opsconsole.history.catalog import METRICS, Metric
from opsconsole.history.codec import pick, unpack

GAP_S = 3
"""Ticks further apart than this have a gap between them: nobody recorded."""


class Numbers:
    """Answers for one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        rows = connection.execute("select name, id, scale from metric").fetchall()
        self._ids = {name: number for name, number, _ in rows}
        self._scales = {name: scale for name, _, scale in rows}
        """Those that the file was written with, which an older release may have chosen otherwise."""

    def at(self, t: int) -> dict[str, np.ndarray]:
        """(S,) of each metric at a tick; what is damaged, or has no reading, is absent."""
        found = {}
        for name in METRICS.keys() & self._ids.keys():
            row = self._connection.execute("select data from frame where metric = ? and t = ?", (self._ids[name], t)).fetchone()
            if row is not None:
                try:
                    found[name] = unpack(row[0], self._scales[name])
                except ValueError:
                    continue
        return found

    def ticks(self, since: float, until: float) -> np.ndarray:
        """The seconds that were recorded, with one more behind each tick that a gap follows."""
        rows = self._connection.execute("select t from tick where t between ? and ? order by t", (ceil(since), floor(until)))
        ticks = np.array([t for (t,) in rows], np.int64)
        ends = ticks[:-1][np.diff(ticks) > GAP_S]
        return np.sort(np.concatenate([ticks, ends + 1])) if len(ends) else ticks

    def one(self, metric: Metric, slot: int, ticks: np.ndarray) -> np.ndarray:
        """(T,) of one slot at each of `ticks`."""
        values = np.full(len(ticks), np.nan)
        for place, data in self._frames(metric, ticks):
            try:
                values[place] = pick(data, slot, self._scales[metric.name])
            except ValueError:  # one damaged frame is a gap of one second
                continue
        return values

    def many(self, metric: Metric, slots: np.ndarray, ticks: np.ndarray) -> np.ndarray:
        """(S, T) of some slots at each of `ticks`."""
        values = np.full((len(slots), len(ticks)), np.nan)
        for place, data in self._frames(metric, ticks):
            try:
                column = unpack(data, self._scales[metric.name])
            except ValueError:
                continue
            there = slots < len(column)
            values[there, place] = column[slots[there]]
        return values

    def _frames(self, metric: Metric, ticks: np.ndarray):
        if metric.name not in self._ids or not len(ticks):
            return
        places = {t: place for place, t in enumerate(ticks.tolist())}
        query = "select t, data from frame where metric = ? and t between ? and ?"
        for t, data in self._connection.execute(query, (self._ids[metric.name], int(ticks[0]), int(ticks[-1]))):
            if t in places:
                yield places[t], data
