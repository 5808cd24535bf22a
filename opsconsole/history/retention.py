"""What is too old goes, a little after each second, so that the file stays as large as it is and is never held for long.

Nothing here needs room on the disk but what the write-ahead log takes for a moment; see reserve for a disk that has not even that.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Mapping
from functools import partial

from opsconsole.history.schema import writing
from opsconsole.history.tiers import SECONDS, TENS, TIERS, Tier

TICKS_AT_ONCE = 8
"""Removed after one new tick: faster than they come."""
NOTES_AT_ONCE = 100
TRIES_AT_ONCE = 2
"""Of all metrics and tiers, so many are looked at after one new tick: all of them in less than a window of seconds."""


class Retention:
    """keep_s: for how long each tier is kept; notes as long as the coarsest. Every method may raise sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection, metric_ids: Iterable[int], keep_s: Mapping[Tier, float]) -> None:
        self._connection, self._keep_s = connection, keep_s
        windows = [partial(self._remove_window, tier, metric) for tier in TIERS for metric in metric_ids]
        self._turns = itertools.cycle([*windows, self._remove_notes])

    def step(self, newest: int) -> bool:
        """Removes a little of what is too old; False when there was nothing. newest: the newest tick."""
        removed = self._remove_ticks(int(newest - self._keep_s[SECONDS]))
        for remove in itertools.islice(self._turns, TRIES_AT_ONCE):
            removed |= remove(newest)
        return removed

    def _remove_ticks(self, before: int) -> bool:
        connection = self._connection
        rows = connection.execute("select t from tick where t < ? order by t limit ?", (before, TICKS_AT_ONCE)).fetchall()
        if not rows:
            return False
        ends = (rows[0][0], rows[-1][0])
        with writing(connection):
            # naming the metrics lets the index on (metric, t) find the rows that were never sealed
            connection.execute("delete from frame where metric in (select id from metric) and t between ? and ?", ends)
            connection.execute("delete from tick where t between ? and ?", ends)
            connection.execute("delete from moment where t <= ?", (ends[1],))
            gone = connection.execute("delete from keyframe where id < (select keyframe from moment order by t limit 1)").rowcount
            if gone:
                connection.execute("delete from roster where key not in (select roster from keyframe)")
        return True

    def _remove_window(self, tier: Tier, metric: int, newest: int) -> bool:
        """The oldest window of chunks, once all of it is too old, and steps that were never sealed."""
        connection, key, before = self._connection, (tier.step_s, metric), newest - self._keep_s[tier]
        t0 = connection.execute("select min(t0) from chunk where step = ? and metric = ?", key).fetchone()[0]
        is_old = t0 is not None and t0 + tier.window_s <= before
        t = connection.execute("select min(t) from rollup where step = ? and metric = ?", key).fetchone()[0]
        has_old_steps = t is not None and t + tier.window_s <= before
        if is_old or has_old_steps:
            with writing(connection):
                connection.execute("delete from chunk where step = ? and metric = ? and t0 = ? and ?", (*key, t0, is_old))
                connection.execute("delete from rollup where step = ? and metric = ? and t <= ? and ?", (*key, t, has_old_steps))
        return is_old or has_old_steps

    def _remove_notes(self, newest: int) -> bool:
        before = newest - self._keep_s[TENS]
        old = self._connection.execute("select id from note where at < ? order by at limit ?", (before, NOTES_AT_ONCE)).fetchall()
        if old:
            with writing(self._connection):
                self._connection.executemany("delete from note where id = ?", old)
        return bool(old)
