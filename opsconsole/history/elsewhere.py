"""A history from elsewhere: looked at as a stranger's file before anything in it is believed."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from opsconsole.history.schema import MIGRATION_NAMES, MIGRATION_SET, HistoryError, read_uri, refuse_newer

MAGIC = b"SQLite format 3\x00"
TABLES = ("entity", "frame", "metric", "note", "tick")
"""What every history has, of whatever age."""


def from_elsewhere(path: Path) -> Path:
    """The history at `path` (in a state directory, if that is one), once it was found to be one that this release can read.

    Raises HistoryError with a sentence for whatever is no history, newer, damaged, or made to do more than to be read.
    """
    if path.is_dir():
        path = path / "history.db"
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise HistoryError(f"{path} is no file")
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise HistoryError(f"{path} is no history: it is no SQLite file")
    except OSError as error:
        raise HistoryError(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        with closing(sqlite3.connect(read_uri(path), uri=True, timeout=2.0)) as connection:
            connection.execute("pragma trusted_schema=off")
            connection.execute("pragma cell_size_check=on")
            _check(connection, path)
    except sqlite3.Error as error:
        raise HistoryError(f"the history at {path} cannot be read: {error}") from None
    return path


def _check(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("select name, type, sql from sqlite_master").fetchall()
    tables = {name for name, kind, sql in found if kind == "table"}
    if "_sqlite_migrations" not in tables or not connection.execute(
        "select 1 from _sqlite_migrations where migration_set = ?", (MIGRATION_SET,)
    ).fetchone():
        raise HistoryError(f"{path} is no history: it is a SQLite file of something else")
    refuse_newer(connection, path)
    known = {name for (name,) in connection.execute("select name from _sqlite_migrations where migration_set = ?", (MIGRATION_SET,))}
    if set(MIGRATION_NAMES) - known:
        raise HistoryError(
            f"{path} was written by an older opsconsole; copy it into a state directory of its own as history.db"
            " and let a collector begin there, which brings it up to date"
        )
    made = [name for name, kind, sql in found if kind in ("view", "trigger") or (sql or "").lower().startswith("create virtual")]
    if made:
        # a table that is a view in truth could make the simplest question endless
        raise HistoryError(f"{path} holds what no history has ({made[0]}, a view, trigger or virtual table); do not trust it")
    if missing := sorted(set(TABLES) - tables):
        raise HistoryError(f"the history at {path} is not whole: it lacks {', '.join(missing)}")
    complaint = connection.execute("pragma quick_check(1)").fetchone()[0]
    if complaint != "ok":
        raise HistoryError(f"the history at {path} is damaged: {complaint}")
