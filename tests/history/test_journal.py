"""The journal of runs: what was put is there for whoever opens it next, and what cannot be kept is one sentence."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from opsconsole.history import journal as journal_room
from opsconsole.history.journal import Journal, JournalError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


@pytest.fixture
def journal(path):
    made = Journal(path)
    yield made
    made.close()


def run(name, state="OPEN", began_at=1.0, **more):
    return {"id": name, "state": state, "began_at": began_at, **more}


def test_the_newest_word_about_each_run_is_kept(journal, path):
    assert journal.runs() == [] and not path.exists()
    journal.put(run("a", steps=[{"state": "WAITING"}]))
    journal.put(run("b", began_at=2.0))
    journal.put(run("a", "DONE", steps=[{"state": "DONE"}]))
    again = Journal(path)
    assert again.runs() == [run("b", began_at=2.0), run("a", "DONE", steps=[{"state": "DONE"}])]
    again.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_ended_runs_are_forgotten_oldest_first_and_open_ones_never(journal, monkeypatch):
    monkeypatch.setattr(journal_room, "ENDED_KEPT", 2)
    for number, state in enumerate(("INTERRUPTED", "DONE", "OPEN", "FAILED", "DONE", "HELD")):
        journal.put(run(f"r{number}", state, float(number)))
    assert [one["id"] for one in journal.runs()] == ["r5", "r4", "r2", "r0"]


def test_a_writer_that_is_killed_loses_nothing_it_was_told_is_kept(path):
    script = (
        "import sys; from pathlib import Path; from opsconsole.history.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for number in range(100000):\n"
        "    journal.put({'id': 'r', 'state': 'OPEN', 'began_at': 1.0, 'number': number}); print(number, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        for _ in range(20):
            kept = int(writer.stdout.readline())
        writer.kill()
        kept = max([kept, *map(int, writer.stdout.read().split("\n")[:-1])])
    again = Journal(path)
    assert again.runs()[0]["number"] >= kept
    again.close()


def test_a_newer_file_is_refused_in_words(journal, path):
    journal.put(run("a"))
    journal.close()
    with sqlite3.connect(path) as db:
        newer = "insert into _sqlite_migrations (migration_set, name, applied_at) values (?, 'm009_more', '')"
        db.execute(newer, (journal_room.MIGRATION_SET,))
    with pytest.raises(JournalError, match="newer opsconsole .m009_more."):
        journal.runs()


@pytest.mark.parametrize("spoil", [
    lambda path: path.mkdir(), lambda path: path.symlink_to("/dev/null"), lambda path: path.write_bytes(b"no database" * 500),
], ids=["directory", "symlink", "garbage"])
def test_what_cannot_be_used_is_one_sentence_and_is_tried_again(journal, path, spoil):
    spoil(path)
    with pytest.raises(JournalError, match="cannot be used"):
        journal.put(run("a"))
    os.rmdir(path) if path.is_dir() else path.unlink()
    journal.put(run("a"))
    assert len(journal.runs()) == 1


def test_threads_share_it(journal):
    threads = [threading.Thread(target=lambda name=name: journal.put(run(name))) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(journal.runs()) == 8
