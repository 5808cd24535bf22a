"""The shape of a history file and how older files grow into it: ordered migrations, each in its own transaction."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MIGRATION_SET = "opsconsole-history"
MIGRATION_NAMES = ("m001_frames", "m002_notes", "m003_moments", "m004_chunks")
PAGE_SIZE_BYTES = 16384
CHECKPOINT_PAGES = 512
"""The write-ahead log goes into the file when it has so many, 8 MiB: what a full disk must still take (see reserve)."""
WAL_KEPT_BYTES = 64 * 1024 * 1024
"""It is cut back to this after a long reader kept it from going."""


class HistoryError(ValueError):
    """What was asked of the history cannot be answered; str(error) is one sentence."""


def m001_frames(db):
    """`frame` holds one metric of the whole fleet at one tick; `entity` says whose value stands in which slot of it."""
    db["metric"].create({"id": int, "name": str, "unit": str, "scale": float}, pk="id", not_null={"name", "scale"})
    db["metric"].create_index(["name"], unique=True)
    db["entity"].create({"kind": str, "slot": int, "name": str}, pk=("kind", "slot"), not_null={"name"})
    db["entity"].create_index(["kind", "name"], unique=True)
    db["tick"].create({"t": int, "at": float}, pk="t", not_null={"at"})
    db.execute("create table frame(metric integer not null, t integer not null, data blob not null, unique(metric, t))")


def m002_notes(db):
    """`note` holds actions and events: what happened to whom, said by whom."""
    db["note"].create({"id": int, "at": float, "kind": str, "subject": str, "text": str, "actor": str}, pk="id", not_null={"at", "kind"})
    db["note"].create_index(["at"])


def m003_moments(db):
    """`moment` holds what is no number of each tick, against a `keyframe`; `roster` what the fleet consisted of; see moments."""
    db.execute("alter table tick add column headlines blob")
    db.execute("alter table note add column severity integer not null default 0")
    db["roster"].create({"key": str, "data": bytes}, pk="key", not_null={"data"})
    db["keyframe"].create({"id": int, "roster": str, "data": bytes}, pk="id", not_null={"roster", "data"})
    db["moment"].create({"t": int, "keyframe": int, "data": bytes}, pk="t", not_null={"keyframe", "data"})
    db["worker"].create({"name": str, "model": str, "node": str, "chip": str}, pk="name", not_null={"model", "node", "chip"})


def m004_chunks(db):
    """`chunk` holds one metric of a block of slots over a window, `rollup` a step of a coarser tier until it is sealed; see chunks."""
    columns = "mean blob not null, below blob, above blob, readings blob"
    db.execute(f"create table chunk(step integer not null, metric integer not null, t0 integer not null, block integer not null,"
               f" {columns}, unique(step, metric, t0, block))")
    db.execute(f"create table rollup(step integer not null, metric integer not null, t integer not null,"
               f" {columns}, unique(step, metric, t))")


def open_writer(path: Path, wait_s: float = 1.0) -> sqlite3.Connection:
    """The file at `path`, made if need be (mode 0600) and migrated.

    Raises HistoryError for a newer file, otherwise sqlite3.Error and OSError.
    """
    with suppress(FileExistsError):  # one that is there is not opened here: closing it would end the locks that our readers hold on it
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=wait_s)
    try:
        for pragma in (
            f"page_size={PAGE_SIZE_BYTES}", "journal_mode=wal", "synchronous=normal", f"journal_size_limit={WAL_KEPT_BYTES}",
            f"wal_autocheckpoint={CHECKPOINT_PAGES}",
        ):
            connection.execute(f"pragma {pragma}")
        refuse_newer(connection, path)
        _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def read_uri(path: Path) -> str:
    """How SQLite is told to open the file for reading. A file at rest in a folder that may only be read has no place for a lock."""
    at_rest = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if at_rest else ''}"


def open_reader(path: Path) -> sqlite3.Connection:
    """The file at `path` for reading only. Raises HistoryError."""
    if not path.exists():
        raise HistoryError(f"there is no history at {path} yet; it begins with the first collector")
    try:
        connection = sqlite3.connect(read_uri(path), uri=True, isolation_level=None, timeout=2.0,
                                     check_same_thread=False)
    except sqlite3.Error as error:
        raise HistoryError(f"the history at {path} cannot be opened: {error}") from None
    try:
        connection.execute("pragma wal_autocheckpoint=0")
        refuse_newer(connection, path)
        _refuse_older(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise HistoryError(f"the history at {path} cannot be read: {error}") from None
    except HistoryError:
        connection.close()
        raise
    return connection


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """All of what is done within, or nothing of it."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def file_at(path: Path) -> tuple[int, int] | None:
    """Which file stands at `path`: a damaged one may have been set aside for a new one since it was opened."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def refuse_newer(connection: sqlite3.Connection, path: Path) -> None:
    """Raises HistoryError when a later release has migrated the file."""
    if newer := newer_migration(connection, MIGRATION_SET, MIGRATION_NAMES):
        raise HistoryError(f"the history at {path} was written by a newer opsconsole ({newer}); upgrade this one, or move the file away")


def _refuse_older(connection: sqlite3.Connection, path: Path) -> None:
    """Raises HistoryError for what only a writer can bring up to date."""
    has_any = connection.execute("select 1 from sqlite_master where name = '_sqlite_migrations'").fetchone()
    applied = {name for (name,) in connection.execute("select name from _sqlite_migrations")} if has_any else set()
    if MIGRATION_NAMES[0] not in applied:
        raise HistoryError(f"there is no history at {path} yet; it begins with the first collector")
    if not applied.issuperset(MIGRATION_NAMES):
        raise HistoryError(f"the history at {path} was written by an older opsconsole; a collector that records into it mends that")


def newer_migration(connection: sqlite3.Connection, migration_set: str, known: Collection[str]) -> str:
    """The name of a migration in the file that this release does not know, "" when there is none."""
    if not connection.execute("select 1 from sqlite_master where name = '_sqlite_migrations'").fetchone():
        return ""
    applied = connection.execute("select name from _sqlite_migrations where migration_set = ?", (migration_set,))
    return min((name for (name,) in applied if name not in known), default="")


def _migrate(connection: sqlite3.Connection) -> None:
    # imported here: it costs 0.2 s, and only the collector writes
    from sqlite_utils import Database, Migrations

    migrations = Migrations(MIGRATION_SET)
    for name in MIGRATION_NAMES:
        migrations(name=name)(globals()[name])
    migrations.apply(Database(connection))


def set_aside(path: Path, at: float) -> Path:
    """Move a damaged file and its companions out of the way, as PATH.corrupt-TIME; returns the new name."""
    away = path.with_name(f"{path.name}.corrupt-{int(at)}")
    number = 1
    while away.exists():
        number += 1
        away = path.with_name(f"{path.name}.corrupt-{int(at)}-{number}")
    for ending in ("", "-wal", "-shm"):
        companion = path.with_name(path.name + ending)
        if companion.exists():
            companion.replace(away.with_name(away.name + ending))
    return away
