"""The one connection that writes history: ticks and notes in, old ticks out, each in one short transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from opsconsole.history.catalog import METRICS
from opsconsole.history.happenings import Note
from opsconsole.history.schema import open_writer
from opsconsole.history.ticks import Slots, Tick

PRUNED_AT_ONCE = 4
"""Old ticks removed after one new one: four times as fast as they come, and never a long transaction."""

class Store:
    """A history file open for writing. Every method may raise sqlite3.Error."""

    def __init__(self, path: Path, scales: Mapping[str, float] | None = None):
        """scales: what the ticks that will be written are counted in, where they were made before the file."""
        self.path = path
        self._connection = open_writer(path)
        self._keyframe: int | None = None
        self._metric_ids = self._name_metrics(scales or {})

    def _name_metrics(self, scales: Mapping[str, float]) -> dict[str, int]:
        rows = [(metric.name, metric.unit, scales.get(metric.name, metric.scale)) for metric in METRICS.values()]
        self._connection.execute("begin immediate")
        self._connection.executemany("insert or ignore into metric(name, unit, scale) values(?, ?, ?)", rows)
        self._connection.execute("commit")
        return dict(self._connection.execute("select name, id from metric"))

    def slots(self) -> Slots:
        known = self._connection.execute("select kind, slot, name from entity").fetchall()
        return Slots(known, dict(self._connection.execute("select name, scale from metric")))

    def newest_tick(self) -> int | None:
        return self._connection.execute("select max(t) from tick").fetchone()[0]

    def write(self, ticks: Sequence[Tick], notes: Sequence[Note]) -> None:
        """All of it or nothing. A tick that is already there is left as it is."""
        connection = self._connection
        connection.execute("begin immediate")
        try:
            for tick in ticks:
                self._write_tick(tick)
            connection.executemany("insert into note(at, kind, severity, subject, text, actor) values(?, ?, ?, ?, ?, ?)", notes)
            connection.execute("commit")
        except BaseException:
            self._keyframe = None
            if connection.in_transaction:
                connection.execute("rollback")
            raise

    def _write_tick(self, tick: Tick) -> None:
        connection = self._connection
        connection.executemany("insert or ignore into entity(kind, slot, name) values(?, ?, ?)", tick.entities)
        connection.executemany("insert or replace into worker(name, model, node, chip) values(?, ?, ?, ?)", tick.workers)
        added = connection.execute("insert or ignore into tick(t, at, headlines) values(?, ?, ?)", (tick.t, tick.at, tick.headlines))
        if added.rowcount:
            rows = [(self._metric_ids[name], tick.t, data) for name, data in tick.frames]
            connection.executemany("insert into frame(metric, t, data) values(?, ?, ?)", rows)
            self._write_moment(tick)

    def _write_moment(self, tick: Tick) -> None:
        connection, keyframe = self._connection, tick.keyframe
        if keyframe.t != self._keyframe:
            connection.execute("insert or ignore into roster(key, data) values(?, ?)", (keyframe.roster, keyframe.roster_data))
            row = (keyframe.t, keyframe.roster, keyframe.data)
            connection.execute("insert or replace into keyframe(t, roster, data) values(?, ?, ?)", row)
            self._keyframe = keyframe.t
        connection.execute("insert or replace into moment(t, keyframe, data) values(?, ?, ?)", (tick.t, keyframe.t, tick.moment))

    def prune(self, before: int) -> int:
        """Remove a few of the ticks older than `before`; returns how many."""
        connection = self._connection
        rows = connection.execute("select t from tick where t < ? order by t limit ?", (before, PRUNED_AT_ONCE)).fetchall()
        if not rows:
            return 0
        ends = (rows[0][0], rows[-1][0])
        connection.execute("begin immediate")
        try:
            # naming the metrics lets the index on (metric, t) find the rows
            connection.execute("delete from frame where metric in (select id from metric) and t between ? and ?", ends)
            connection.execute("delete from tick where t between ? and ?", ends)
            connection.execute("delete from moment where t <= ?", (ends[1],))
            connection.execute("delete from keyframe where t < (select keyframe from moment order by t limit 1)")
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise
        return len(rows)

    def prune_notes(self, before: float) -> None:
        self._connection.execute("delete from note where id in (select id from note where at < ? order by at limit 100)", (before,))

    def close(self) -> None:
        self._connection.close()
