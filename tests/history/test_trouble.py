"""A full disk, a lock, a damaged or a newer file: the recorder says so, the collector goes on, recording resumes by itself."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from opsconsole.history.samples import HistoryError, Reader, Recorder
from tests.history.fleets import fleet_at

START = 1_700_000_000


def write_history(path, count=20):
    recorder = Recorder(path)
    recorder.start()
    for n in range(count):
        recorder.record(fleet_at(START + n))
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
    recorder._store._connection.execute("pragma max_page_count=1")
    n = 0
    while not recorder.trouble and n < 400:
        n += 1
        recorder.record(fleet_at(START + n))
        wait_for(lambda n=n: recorder.acknowledged == START + n or recorder.trouble)
    assert "full" in recorder.trouble
    recorder._store._connection.execute("pragma max_page_count=100000")
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
    assert ticks_in(path) == [START + 900]
    notes = Reader(path).notes(0, 2e9 * 2)
    assert notes[0]["kind"] == "history" and "damaged" in notes[0]["text"]


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
from pathlib import Path
from opsconsole.history.samples import Recorder
from tests.history.fleets import fleet_at
recorder = Recorder(Path(sys.argv[1]))
recorder.start()
t = int(sys.argv[2])
seen = None
while True:
    recorder.record(fleet_at(t))
    while recorder.acknowledged != t:
        pass
    print(t, flush=True)
    t += 1
"""


def test_killed_while_writing_it_keeps_every_acknowledged_tick(tmp_path):
    path = tmp_path / "history.db"
    acknowledged = []
    for attempt in range(6):
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
