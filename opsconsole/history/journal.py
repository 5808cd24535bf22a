"""The journal of runs: how far each has come is on disk before the next order leaves, so that a console that was killed knows it again."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

from opsconsole.history.schema import newer_migration

MIGRATION_SET = "opsconsole-runs"
MIGRATION_NAMES = ("m001_runs",)
ENDED_KEPT = 500
"""Runs that have ended are forgotten beyond so many, oldest first; open ones never."""
OPEN_STATES = ("OPEN", "INTERRUPTED")
WAIT_S = 2.0


class JournalError(Exception):
    """The journal cannot be written or read; the text is one sentence."""


def m001_runs(db):
    """`run` holds one run a row; body: all of it as JSON."""
    db["run"].create(
        {"id": str, "began_at": float, "state": str, "body": str}, pk="id", not_null={"began_at", "state", "body"}
    )
    db["run"].create_index(["began_at"])


class Journal:
    """Runs as plain values, each with its id, began_at and state; opened when it is first needed, safe between threads.

    A failure is raised as JournalError and the file is opened anew at the next call: a full disk must not keep anybody from watching.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None

    def put(self, run: dict[str, Any]) -> None:
        """The run as it is now in place of what was known of it, on disk when this returns."""
        row = (run["id"], run["began_at"], run["state"], json.dumps(run))
        self._do(lambda db: _put(db, row))

    def runs(self) -> list[dict[str, Any]]:
        """All that are kept, newest first; nothing where there is no file."""
        if self._db is None and not self._path.exists():
            return []
        rows = self._do(lambda db: db.execute("select body from run order by began_at desc, rowid desc").fetchall())
        try:
            return [json.loads(body) for (body,) in rows]
        except ValueError as error:
            raise JournalError(f"the run journal {self._path} is damaged: {error}") from None

    def _do(self, work: Any) -> Any:
        with self._lock:
            try:
                if self._db is None:
                    self._db = _open(self._path)
                return work(self._db)
            except (OSError, sqlite3.Error) as error:
                self._forget()
                raise JournalError(f"the run journal {self._path} cannot be used: {error}") from error

    def _forget(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def close(self) -> None:
        with self._lock:
            self._forget()


def _put(db: sqlite3.Connection, row: tuple[Any, ...]) -> None:
    db.execute("begin immediate")
    try:
        db.execute("insert into run values (?,?,?,?) on conflict(id) do update set state = excluded.state, body = excluded.body", row)
        kept = "select id from run where state not in (?,?) order by began_at desc limit ?"
        db.execute(f"delete from run where state not in (?,?) and id not in ({kept})", (*OPEN_STATES, *OPEN_STATES, ENDED_KEPT))
        db.execute("commit")
    except BaseException:
        db.execute("rollback")
        raise


def _open(path: Path) -> sqlite3.Connection:
    """The file, made (mode 0600) and migrated if need be. Raises JournalError for a newer one, sqlite3.Error and OSError."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=WAIT_S)
    try:
        db.execute("pragma journal_mode=wal")
        db.execute("pragma synchronous=full")  # an order that was sent must be known after a power cut
        if newer := newer_migration(db, MIGRATION_SET, MIGRATION_NAMES):
            written = f"was written by a newer opsconsole ({newer})"
            raise JournalError(f"the run journal {path} {written}; upgrade this one, or move the file away")
        _migrate(db)
    except BaseException:
        db.close()
        raise
    return db


def _migrate(db: sqlite3.Connection) -> None:
    # imported here: it costs 0.2 s, and most collectors never act
    from sqlite_utils import Database, Migrations

    migrations = Migrations(MIGRATION_SET)
    for name in MIGRATION_NAMES:
        migrations(name=name)(globals()[name])
    migrations.apply(Database(db))
