"""A history that an older release wrote is migrated where it lies: its seconds stay readable, are sealed, and new ones follow."""

import sqlite3
import struct
import zlib

import numpy as np
import pytest
from sqlite_utils import Database, Migrations

from opsconsole.history import schema
from opsconsole.history.samples import HistoryError, Reader, Recorder
from tests.history.fleets import fleet_at

START = 1_700_000_040
SECONDS = 400


def old_frame(counts):
    """As it was written before there were chunks: byte planes, compressed."""
    lowest = int(counts.min())
    planes = (counts - lowest + 1).astype("<u2").view(np.uint8).reshape(-1, 2).T
    return struct.pack("<Bq", 2, lowest) + zlib.compress(planes.tobytes(), 1)


@pytest.fixture
def old(tmp_path):
    """A file with the first two migrations and 400 seconds of the power of six GPUs, counted in half watts."""
    path = tmp_path / "history.db"
    connection = sqlite3.connect(path, isolation_level=None)
    migrations = Migrations(schema.MIGRATION_SET)
    for name in schema.MIGRATION_NAMES[:2]:
        migrations(name=name)(getattr(schema, name))
    migrations.apply(Database(connection))
    connection.execute("begin")
    connection.execute("insert into metric(id, name, unit, scale) values(1, 'gpu.power_w', 'W', 0.5)")
    places = [("gpu", 2 * node + gpu, f"node{node}/{gpu}") for node in range(3) for gpu in range(2)]
    connection.executemany("insert into entity(kind, slot, name) values(?, ?, ?)", places)
    connection.executemany("insert into tick(t, at) values(?, ?)", [(START + n, START + n + 0.5) for n in range(SECONDS)])
    frames = [(1, START + n, old_frame(600 + np.arange(6) * 100 + n % 50)) for n in range(SECONDS)]
    connection.executemany("insert into frame(metric, t, data) values(?, ?, ?)", frames)
    connection.execute("insert into note(at, kind, subject, text, actor) values(?, 'action', 'w0', 'drain', 'ana')", (START + 5,))
    connection.execute("commit")
    connection.close()
    return path


def test_who_may_only_read_is_told_how_it_is_brought_up_to_date(old):
    with Reader(old) as reader, pytest.raises(HistoryError, match="an older opsconsole; a collector that"):
        reader.span()


def test_it_is_read_migrated_and_gone_on_with(old, wait_for):
    recorder = Recorder(old)
    recorder.start()
    for n in range(SECONDS, SECONDS + 30):
        recorder.record(fleet_at(START + n))
        wait_for(lambda n=n: recorder.acknowledged == START + n)
    recorder.close()
    expected = [(600 + 300 + n % 50) * 0.5 for n in range(SECONDS)]
    with Reader(old) as reader:
        with reader._opened() as connection:
            assert connection.execute("select count(*) from chunk where metric = 1 and step = 1").fetchone()[0] == 3
        series = reader.series("gpu.power_w", "node1", 1, since=START, until=START + SECONDS - 1)
        assert series.values.tolist() == expected
        new = reader.series("gpu.power_w", "node1", 1, since=START + SECONDS, until=START + SECONDS + 29)
        watts = [fleet_at(START + n).gpu("power_w")[3] for n in range(SECONDS, SECONDS + 30)]
        assert new.values.tolist() == pytest.approx(watts, abs=0.25), "counted as the file counts"
        assert reader.at(START + SECONDS + 3).at == START + SECONDS + 3
        assert [mark.text for mark in reader.marks(START, START + 10)] == ["drain"]
        with pytest.raises(HistoryError, match="only series were kept, by an older opsconsole"):
            reader.at(START + 7)
