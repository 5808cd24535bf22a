"""Rows of the history into files that other tools read: CSV and plain SQLite here, and how any of them comes to be whole or not at all."""

from __future__ import annotations

import csv
import glob
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from opsconsole.core.text import clean
from opsconsole.history.moments import WORD_LIMIT
from opsconsole.history.reader import Reader
from opsconsole.history.rows import IDENTITY, Block, Wanted, blocks, event_blocks
from opsconsole.history.schema import HistoryError

KINDS = (*IDENTITY, "event")
WORDS = frozenset(("site", "chip", "node", "model", "worker", "kind", "subject", "text", "actor"))
WHOLE = frozenset(("gpu", "severity"))


def table_name(kind: str) -> str:
    """What the rows of a kind are called wherever SQL asks for them."""
    return "events" if kind == "event" else f"{kind}_samples"


def rows_of(reader: Reader, wanted: Wanted) -> tuple[Sequence[str], Iterator[Block]]:
    """The columns of a kind and its rows."""
    found = event_blocks(reader, wanted) if wanted.kind == "event" else blocks(reader, wanted)
    return wanted.names, found


def write_csv(stream: TextIO, names: Sequence[str], found: Iterable[Block]) -> int:
    """Lines of comma-separated values, moments as ISO 8601 in UTC, nothing where nothing is known; how many rows."""
    writer, count = csv.writer(stream, lineterminator="\n"), 0
    writer.writerow(names)
    for block in found:
        columns = [_as_text(name, block[name]) for name in names]
        writer.writerows(zip(*columns, strict=True))
        count += len(block["at"])
    return count


def _as_text(name: str, values: np.ndarray) -> list[Any]:
    if name == "at":
        return [f"{moment}Z" for moment in np.datetime_as_string((values * 1000).astype("datetime64[ms]"), unit="ms").tolist()]
    if values.dtype == object:
        return [clean(word, WORD_LIMIT) if isinstance(word, str) else word for word in values.tolist()]
    return ["" if value != value else f"{value:.10g}" for value in values.tolist()]


def write_sqlite(path: Path, tables: Iterable[tuple[str, Sequence[str], Iterator[Block]]]) -> int:
    """A plain SQLite file with a table for each (name, columns, rows); how many rows. Raises HistoryError."""
    count = 0
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("pragma synchronous=off")  # a file that is not whole is thrown away
            db.execute("begin")
            for table, names, found in tables:
                count += _fill(db, table, names, found)
            db.execute("commit")
    except sqlite3.Error as error:
        raise HistoryError(f"{path} cannot be written: {error}") from None
    return count


def _fill(db: sqlite3.Connection, table: str, names: Sequence[str], found: Iterable[Block]) -> int:
    # whole seconds are stored as such, an event's part of a second stays
    kinds = {name: "text" if name in WORDS else "integer" if name in WHOLE or name == "at" else "real" for name in names}
    columns = ", ".join(f'"{name}" {kinds[name]}' for name in names)
    db.execute(f"create table {table} ({columns}, time text generated always as (datetime(at, 'unixepoch')) virtual)")
    insert = f"insert into {table} values ({', '.join('?' * len(names))})"
    count = 0
    for block in found:
        # NaN becomes NULL by itself: SQLite knows no NaN
        db.executemany(insert, zip(*[block[name].tolist() for name in names], strict=True))
        count += len(block["at"])
    db.execute(f"create index {table}_at on {table} (at)")
    return count


@contextmanager
def whole_or_not_at_all(path: Path, force: bool) -> Iterator[Path]:
    """Where to write what shall be `path` when it is whole: beside it, mode 0600. Raises HistoryError, also when it is there already."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists() and not force:
            raise FileExistsError
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        yield draft
        draft.chmod(0o600)  # some writers make the file anew
        if force:
            draft.replace(path)
        else:
            os.link(draft, path)  # fails where somebody has made it meanwhile, as a rename would not
    except FileExistsError:
        raise HistoryError(f"{path} exists; --force replaces it") from None
    except OSError as error:
        raise HistoryError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        for left in path.parent.glob(f"{glob.escape(draft.name)}*"):  # with what its writer keeps beside it
            left.unlink(missing_ok=True)


