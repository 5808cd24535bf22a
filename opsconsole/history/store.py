"""The one connection that writes history: ticks and notes in, what is over sealed, what is old out, each in one short transaction."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from opsconsole.history.catalog import METRICS
from opsconsole.history.happenings import Note
from opsconsole.history.retention import Retention
from opsconsole.history.schema import open_writer, writing
from opsconsole.history.sealing import Sealer
from opsconsole.history.ticks import Slots, Tick
from opsconsole.history.tiers import MINUTES, SECONDS, TENS, Tier

SEALING_LIMIT_S = 0.015
"""No further window is sealed after one tick when sealing has taken so long."""
RETENTION_AT_ONCE = 100
"""Steps of retention when room is needed."""
PAGES_FOR_A_TICK = 64
"""Free pages of the file with which recording goes on while the disk is full."""
KEEP_S = {SECONDS: 48 * 3600.0, MINUTES: 30 * 86400.0, TENS: 365 * 86400.0}


class Store:
    """A history file open for writing. Every method may raise sqlite3.Error."""

    def __init__(self, path: Path, scales: Mapping[str, float] | None = None, keep_s: Mapping[Tier, float] = KEEP_S):
        """scales: what the ticks that will be written are counted in, where they were made before the file."""
        self.path = path
        self.connection = open_writer(path)
        self._keyframe: int | None = None
        self._metric_ids = self._name_metrics(scales or {})
        self._sealer = Sealer(self.connection, self._metric_ids.values())
        self._retention = Retention(self.connection, self._metric_ids.values(), keep_s)

    def _name_metrics(self, scales: Mapping[str, float]) -> dict[str, int]:
        rows = [(metric.name, metric.unit, scales.get(metric.name, metric.scale)) for metric in METRICS.values()]
        with writing(self.connection):
            self.connection.executemany("insert or ignore into metric(name, unit, scale) values(?, ?, ?)", rows)
        return dict(self.connection.execute("select name, id from metric"))

    def slots(self) -> Slots:
        known = self.connection.execute("select kind, slot, name from entity").fetchall()
        return Slots(known, dict(self.connection.execute("select name, scale from metric")))

    def newest_tick(self) -> int | None:
        return self.connection.execute("select max(t) from tick").fetchone()[0]

    def write(self, ticks: Sequence[Tick], notes: Sequence[Note]) -> None:
        """All of it or nothing. A tick that is already there is left as it is."""
        before = self._keyframe
        try:
            with writing(self.connection):
                for tick in ticks:
                    self._write_tick(tick)
                self.connection.executemany("insert into note(at, kind, severity, subject, text, actor) values(?, ?, ?, ?, ?, ?)", notes)
        except BaseException:
            self._keyframe = before
            raise

    def _write_tick(self, tick: Tick) -> None:
        connection = self.connection
        connection.executemany("insert or ignore into entity(kind, slot, name) values(?, ?, ?)", tick.entities)
        connection.executemany("insert or replace into worker(name, model, node, chip) values(?, ?, ?, ?)", tick.workers)
        added = connection.execute("insert or ignore into tick(t, at, headlines) values(?, ?, ?)", (tick.t, tick.at, tick.headlines))
        if added.rowcount:
            rows = [(self._metric_ids[name], tick.t, data) for name, data in tick.frames]
            connection.executemany("insert into frame(metric, t, data) values(?, ?, ?)", rows)
            self._write_moment(tick)

    def _write_moment(self, tick: Tick) -> None:
        connection, keyframe = self.connection, tick.keyframe
        if keyframe.id != self._keyframe:
            connection.execute("insert or ignore into roster(key, data) values(?, ?)", (keyframe.roster, keyframe.roster_data))
            row = (keyframe.id, keyframe.roster, keyframe.data)
            connection.execute("insert or replace into keyframe(id, roster, data) values(?, ?, ?)", row)
            self._keyframe = keyframe.id
        connection.execute("insert or replace into moment(t, keyframe, data) values(?, ?, ?)", (tick.t, keyframe.id, tick.moment))

    def tidy(self, newest: int) -> None:
        """Seals a little of what is over and removes a little of what is old. newest: the newest tick."""
        begun = time.monotonic()
        while self._sealer.step(newest) and time.monotonic() - begun < SEALING_LIMIT_S:
            pass
        self._retention.step(newest)

    def has_room(self, newest: int) -> bool:
        """Whether pages of the file are free for what comes, on a disk that is full: what is too old at `newest` goes, to have some."""
        for _ in range(RETENTION_AT_ONCE):
            if self._retention.step(newest):
                self.checkpoint()
        free = self.connection.execute("pragma freelist_count").fetchone()[0]
        return free >= PAGES_FOR_A_TICK

    def checkpoint(self) -> None:
        """The write-ahead log into the file, and its room back to the disk."""
        self.connection.execute("pragma wal_checkpoint(truncate)").fetchall()

    def settle(self, newest: int) -> None:
        """Seals all that is over, however long that takes: for a file that nothing more is written to. newest: as in tidy."""
        while self._sealer.step(newest):
            pass

    def close(self) -> None:
        self.connection.close()
