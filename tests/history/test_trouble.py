"""A full disk, a lock, a damaged or a newer file: the recorder says so, the collector goes on, recording resumes by itself."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from opsconsole.history.catalog import METRICS_OF_KIND
from opsconsole.history.reserve import Reserve
from opsconsole.history.samples import HistoryError, Reader, Recorder
from opsconsole.history.store import Store
from tests.history.fleets import fleet_at, roster

START = 1_700_000_000
SCALES = np.array([metric.scale for metric in METRICS_OF_KIND["gpu"]])[:, None, None]


def as_kept(values):
    return np.rint(values / SCALES) * SCALES


def write_history(path, count=20, of=None):
    recorder = Recorder(path)
    for n in range(count):
        recorder._fleets.append(fleet_at(START + n, of))
        if n % 25 == 24:
            recorder._work()
    recorder.start()
    recorder.close()
    assert recorder.acknowledged == START + count - 1


def ticks_in(path):
    with sqlite3.connect(path) as connection:
        return [t for (t,) in connection.execute("select t from tick order by t")]


def test_a_locked_file_pauses_and_loses_nothing(tmp_path, wait_for):
    path = tmp_path / "history.db"
    write_history(path, 2)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    recorder = Recorder(path)
    recorder.start()
    for n in range(2, 12):
        recorder.record(fleet_at(START + n))
    wait_for(lambda: "locked" in recorder.trouble)
    other.execute("rollback")
    wait_for(lambda: recorder.trouble == "" and recorder.acknowledged == START + 11)
    recorder.close()
    other.close()
    assert ticks_in(path) == [START + n for n in range(12)]


def test_the_holder_of_the_lock_is_named(tmp_path, wait_for):
    path = tmp_path / "history.db"
    write_history(path, 2)
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
    script += "c.execute('begin immediate'); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        recorder = Recorder(path)
        recorder.start()
        recorder.record(fleet_at(START + 5))
        wait_for(lambda: f"process {holder.pid}" in recorder.trouble)
        holder.stdin.close()
    wait_for(lambda: recorder.acknowledged == START + 5)
    recorder.close()


def test_a_full_disk_pauses_and_resumes(tmp_path, wait_for):
    path = tmp_path / "history.db"
    recorder = Recorder(path)
    recorder.start()
    recorder.record(fleet_at(START))
    wait_for(lambda: recorder.acknowledged == START)
    recorder._file.store.connection.execute("pragma max_page_count=1")
    n = 0
    while not recorder.trouble and n < 400:
        n += 1
        recorder.record(fleet_at(START + n))
        wait_for(lambda n=n: recorder.acknowledged == START + n or recorder.trouble)
    assert "full" in recorder.trouble
    recorder._file.store.connection.execute("pragma max_page_count=100000")
    wait_for(lambda: recorder.trouble == "" and recorder.acknowledged == START + n)
    recorder.close()
    assert ticks_in(path) == [START + k for k in range(n + 1)]


@pytest.mark.parametrize("damage", ["header", "middle", "truncated", "not a database"])
def test_a_damaged_file_is_set_aside(tmp_path, wait_for, damage):
    path = tmp_path / "history.db"
    write_history(path, 60)
    size = path.stat().st_size
    with path.open("r+b") as file:
        if damage == "truncated":
            file.truncate(size // 2)
        else:
            file.seek(0 if damage in ("header", "not a database") else 16384)
            file.write(b"once upon a time " * (6 if damage == "header" else 2000))
    recorder = Recorder(path)
    recorder.start()
    recorder.record(fleet_at(START + 900))
    wait_for(lambda: recorder.acknowledged == START + 900)
    recorder.close()
    assert recorder.trouble == "" and "set aside" in recorder.notice
    assert list(tmp_path.glob("history.db.corrupt-*"))
    assert ticks_in(path)[-1] == START + 900 and set(ticks_in(path)[:-1]) <= {START + n for n in range(60)}
    assert any(note["kind"] == "history" and "damaged" in note["text"] for note in Reader(path).notes(0, 2e9 * 2))


def damage_numbers(path):
    """Overwrites a page of chunks and one of frames."""
    with sqlite3.connect(path) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
        size = connection.execute("pragma page_size").fetchone()[0]
        query = "select min(pageno), count(*) from dbstat where name = ? and pagetype = 'leaf'"
        pages = [connection.execute(query, (table,)).fetchone() for table in ("chunk", "frame")]
    connection.close()
    assert all(count > 3 for _, count in pages)
    with path.open("r+b") as file:
        for page, _ in pages:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)


def test_what_can_be_read_of_a_damaged_file_is_salvaged(tmp_path, wait_for):
    path = tmp_path / "history.db"
    of = roster(12, 8)
    write_history(path, 180, of)
    with closing(Store(path)) as store:
        store.settle(START + 179)
    whole = {START + n: fleet_at(START + n, of) for n in range(180)}
    try:
        damage_numbers(path)
    except sqlite3.OperationalError:
        pytest.skip("needs an SQLite that tells which page holds what (dbstat)")
    recorder = Recorder(path)
    recorder.start()
    recorder.record(fleet_at(START + 500, of))
    wait_for(lambda: recorder.acknowledged == START + 500 and "were salvaged" in recorder.notice)
    recorder.record(fleet_at(START + 501, of))
    wait_for(lambda: recorder.acknowledged == START + 501)
    recorder.close()
    assert "180 seconds" in recorder.notice and not recorder.trouble
    assert ticks_in(path) == [*whole, START + 500, START + 501]
    with Reader(path) as reader:
        expected = np.stack([fleet.gpu_values for fleet in whole.values()], axis=2)  # (GPU_COLUMNS, G, seconds)
        found = np.stack([reader.at(second).gpu_values for second in whole], axis=2)
        known = ~np.isnan(found)
        assert 0.5 < known.mean() < 1.0
        np.testing.assert_allclose(found[known], as_kept(expected)[known])
        assert reader.at(START + 42).roster.nodes == whole[START].roster.nodes
        assert reader.at(START + 501).at == START + 501


def test_damage_that_is_found_while_it_records_loses_nothing_new(tmp_path, wait_for, monkeypatch):
    path = tmp_path / "history.db"
    write_history(path, 20)
    recorder = Recorder(path)
    recorder.start()
    recorder.record(fleet_at(START + 100))
    wait_for(lambda: recorder.acknowledged == START + 100 and not recorder._file.is_doubtful)
    monkeypatch.setattr(recorder._file._check, "damage", "row 1 missing from index")
    recorder.record(fleet_at(START + 101))
    wait_for(lambda: "salvaged" in recorder.notice)
    recorder.close()
    assert ticks_in(path) == [*(START + n for n in range(20)), START + 100, START + 101]
    with Reader(path) as reader:
        assert reader.at(START + 101).at == START + 101 and reader.at(START + 3).at == START + 3


def test_a_second_writer_of_the_same_file_is_refused_until_the_first_has_ended(tmp_path, wait_for):
    path = tmp_path / "history.db"
    first, second = Recorder(path), Recorder(path)
    first.start()
    first.record(fleet_at(START))
    wait_for(lambda: first.acknowledged == START)
    second.start()
    second.record(fleet_at(START + 1))
    wait_for(lambda: f"process {os.getpid()} writes" in second.trouble)
    assert ticks_in(path) == [START]
    first.close()
    wait_for(lambda: second.acknowledged == START + 1 and not second.trouble)
    second.close()


def test_a_full_disk_goes_on_in_the_room_that_retention_frees(tmp_path, wait_for, monkeypatch):
    """A real file system that is full: history pauses with a sentence, and what is too old makes room for what comes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    monkeypatch.setattr("opsconsole.history.upkeep.Reserve", lambda path: Reserve(path, 1024 * 1024))
    monkeypatch.setattr("opsconsole.history.schema.CHECKPOINT_PAGES", 32)
    monkeypatch.setattr("opsconsole.history.store.PAGES_FOR_A_TICK", 16)
    recorder, of = Recorder(disk / "history.db", hours=0.03), roster(20, 8)
    recorder.start()
    try:
        n = fill(recorder, wait_for, of, 0, lambda: (disk / "history.db.reserve").exists() and recorder.acknowledged >= START + 125)
        (disk / "filler").write_bytes(b"x" * free_bytes(disk))
        n = begun = fill(recorder, wait_for, of, n, lambda: "disk is full" in recorder.trouble)
        assert not (disk / "history.db.reserve").exists()
        n = fill(recorder, wait_for, of, n, lambda: recorder.acknowledged >= START + begun + 120)
        assert free_bytes(disk) < 2 * 1024 * 1024, "the disk is as full as before"
        (disk / "filler").unlink()
        n = fill(recorder, wait_for, of, n, lambda: (disk / "history.db.reserve").exists() and not recorder.trouble)
        recorder.close()
        assert recorder.lost_ticks == 0 and ticks_in(disk / "history.db")[-1] == START + n - 1
    finally:
        recorder.close()
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def free_bytes(disk):
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


def fill(recorder, wait_for, of, n, until):
    """Records seconds from the n-th on, as fast as they are taken, until something is so; returns the next."""
    for second in range(n, n + 2000):
        if until():
            return second
        recorder.record(fleet_at(START + second, of))
        wait_for(lambda: not recorder._fleets)
    raise AssertionError(f"it did not come so: {recorder.trouble}")


def test_a_file_that_vanishes_is_made_again(tmp_path, wait_for):
    path = tmp_path / "history.db"
    recorder = Recorder(path)
    recorder.start()
    recorder.record(fleet_at(START))
    wait_for(lambda: recorder.acknowledged == START)
    for file in tmp_path.iterdir():
        file.unlink()
    recorder.record(fleet_at(START + 1))
    wait_for(lambda: recorder.acknowledged == START + 1)
    recorder.close()
    assert len(Reader(path).series("gpu.temp_c", "node1", 1, since=START, until=START + 9).values) == 1


def test_a_directory_in_its_place_is_said(tmp_path, wait_for):
    path = tmp_path / "history.db"
    path.mkdir()
    recorder = Recorder(path)
    recorder.start()
    recorder.record(fleet_at(START))
    wait_for(lambda: recorder.trouble)
    path.rmdir()
    wait_for(lambda: recorder.trouble == "" and recorder.acknowledged == START)
    recorder.close()


def test_a_newer_file_is_left_alone(tmp_path, wait_for):
    path = tmp_path / "history.db"
    write_history(path, 3)
    with sqlite3.connect(path) as connection:
        connection.execute("insert into _sqlite_migrations(migration_set, name) values('opsconsole-history', 'm999_future')")
    connection.close()
    before = path.read_bytes()
    recorder = Recorder(path)
    recorder.start()
    recorder.record(fleet_at(START + 50))
    wait_for(lambda: "newer opsconsole" in recorder.trouble)
    recorder.close()
    assert path.read_bytes() == before
    with pytest.raises(HistoryError, match="newer opsconsole"):
        Reader(path).series("fleet.power_w", since=0, until=1)


WRITER = """
import sys
import time
from pathlib import Path
from opsconsole.history.samples import Recorder
from opsconsole.history.catalog import METRICS_OF_KIND
from opsconsole.history.reserve import Reserve
from tests.history.fleets import fleet_at, roster
recorder = Recorder(Path(sys.argv[1]))
recorder.start()
t = int(sys.argv[2])
seen = None
while True:
    recorder.record(fleet_at(t))
    while recorder.acknowledged != t:
        time.sleep(0.0005)
    print(t, flush=True)
    t += 1
"""


def test_killed_while_writing_it_keeps_every_acknowledged_tick(tmp_path):
    path = tmp_path / "history.db"
    acknowledged = []
    for attempt in range(4):
        command = [sys.executable, "-c", WRITER, str(path), str(START + attempt * 10_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=os.getcwd()) as writer:
            for _ in range(10 + 17 * attempt):
                acknowledged.append(int(writer.stdout.readline()))
            writer.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in writer.stdout if line.endswith(b"\n")]
    assert set(acknowledged) <= set(ticks_in(path))
    with sqlite3.connect(path) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    reader = Reader(path)
    assert len(reader.series("gpu.temp_c", "node0", 0, since=START, until=START + 9000).values) >= 10
