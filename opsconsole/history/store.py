"""The one connection that writes history: ticks and notes in, old ticks out, each in one short transaction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opsconsole.history.catalog import METRICS
from opsconsole.history.schema import open_writer
from opsconsole.history.ticks import Slots, Tick

PRUNED_AT_ONCE = 4
"""Old ticks removed after one new one: four times as fast as they come, and never a long transaction."""

Note = tuple[float, str, str, str, str]
"""at, kind, subject, text, actor."""


class Store:
    """A history file open for writing. Every method may raise sqlite3.Error."""

    def __init__(self, path: Path):
        self.path = path
        self._connection = open_writer(path)
        self._metric_ids = self._name_metrics()

    def _name_metrics(self) -> dict[str, int]:
        rows = [(metric.name, metric.unit, metric.scale) for metric in METRICS.values()]
        self._connection.execute("begin immediate")
        self._connection.executemany("insert or ignore into metric(name, unit, scale) values(?, ?, ?)", rows)
        self._connection.execute("commit")
        return dict(self._connection.execute("select name, id from metric"))

    def slots(self) -> Slots:
        return Slots(self._connection.execute("select kind, slot, name from entity").fetchall())

    def newest_tick(self) -> int | None:
        return self._connection.execute("select max(t) from tick").fetchone()[0]

    def write(self, ticks: Sequence[Tick], notes: Sequence[Note]) -> None:
        """All of it or nothing. A tick that is already there is left as it is."""
        connection = self._connection
        connection.execute("begin immediate")
        try:
            for tick in ticks:
                self._write_tick(tick)
            connection.executemany("insert into note(at, kind, subject, text, actor) values(?, ?, ?, ?, ?)", notes)
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise

    def _write_tick(self, tick: Tick) -> None:
        connection = self._connection
        connection.executemany("insert or ignore into entity(kind, slot, name) values(?, ?, ?)", tick.entities)
        if connection.execute("insert or ignore into tick(t, at) values(?, ?)", (tick.t, tick.at)).rowcount:
            rows = [(self._metric_ids[name], tick.t, data) for name, data in tick.frames]
            connection.executemany("insert into frame(metric, t, data) values(?, ?, ?)", rows)

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
