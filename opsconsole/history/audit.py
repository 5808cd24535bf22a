"""Who did what to the fleet, why and with what result: a file that is only ever added to, and that shows when it was changed.

Each row carries the hash of the row before it and its own, over everything in it, so a row that is changed, taken out or put in
between breaks the chain there. What the chain alone cannot show is rows cut off at the end, or all rows written anew: every order takes
the head of the audit to its node, which keeps it, and a file that no longer has that row was cut or rewritten.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START = "0" * 64
"""What the first row names as the hash before it."""
COLUMNS = ("seq", "at", "kind", "run", "actor", "body", "previous", "hash")
WAIT_S = 2.0
ID_LENGTH = 32


class AuditError(Exception):
    """The audit cannot be written or read; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Row:
    """kind: begin (a confirmed plan), order (one step is about to be sent) or receipt (how it ended). at: Unix time."""

    seq: int
    at: float
    kind: str
    run: str
    actor: str
    body: str
    """JSON."""
    previous: str
    hash: str

    def content(self) -> dict[str, Any]:
        return json.loads(self.body)

    def expected_hash(self) -> str:
        """SHA-256 over all that the row says and the hash before it; JSON keeps the parts apart."""
        said = json.dumps([self.previous, self.seq, self.at, self.kind, self.run, self.actor, self.body])
        return hashlib.sha256(said.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What checking the whole file found. head: the last row's hash; broken: "" when every row follows from the one before."""

    rows: int
    head: str
    broken: str


class Audit:
    """The one writer of a file; safe between threads. Raises AuditError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=WAIT_S)
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=full")  # what was confirmed must outlive a power cut
            self._db.execute(
                "create table if not exists audit(seq integer primary key, at real not null, kind text not null, run text not null,"
                " actor text not null, body text not null, previous text not null, hash text not null)"
            )
            self.id = _identity(self._db)
        except (OSError, sqlite3.Error) as error:
            raise AuditError(f"the audit {path} cannot be opened: {error}") from error

    def append(self, at: float, kind: str, run: str, actor: str, body: dict[str, Any]) -> Row:
        """Add a row, on disk when this returns. Raises AuditError."""
        text = json.dumps(body, sort_keys=True)
        with self._lock:
            try:
                self._db.execute("begin immediate")
                try:
                    last = self._db.execute("select seq, hash from audit order by seq desc limit 1").fetchone() or (0, START)
                    row = Row(last[0] + 1, at, kind, run, actor, text, last[1], "")
                    row = Row(*[getattr(row, name) for name in COLUMNS[:-1]], row.expected_hash())
                    self._db.execute("insert into audit values (?,?,?,?,?,?,?,?)", [getattr(row, name) for name in COLUMNS])
                    self._db.execute("commit")
                except BaseException:
                    self._db.execute("rollback")
                    raise
            except sqlite3.Error as error:
                raise AuditError(f"the audit {self._path} cannot be written: {error}") from error
        return row

    def close(self) -> None:
        self._db.close()


def _identity(db: sqlite3.Connection) -> str:
    """The id of the file, given at its creation; one that is older than ids gets its first row's hash, so that it never changes."""
    db.execute("create table if not exists identity(id text not null)")
    db.execute("begin immediate")
    try:
        known = db.execute("select id from identity").fetchone()
        first = db.execute("select hash from audit where seq = 1").fetchone()
        name = known[0] if known else first[0][:ID_LENGTH] if first else uuid.uuid4().hex
        if not known:
            db.execute("insert into identity values (?)", (name,))
        db.execute("commit")
    except BaseException:
        db.execute("rollback")
        raise
    return name


class LateAudit:
    """Opens the file at the first row, and again after a failure: a full disk must not keep anybody from watching."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._audit: Audit | None = None

    def append(self, at: float, kind: str, run: str, actor: str, body: dict[str, Any]) -> Row:
        """As in Audit."""
        if self._audit is None:
            self._audit = Audit(self._path)
        return self._audit.append(at, kind, run, actor, body)

    @property
    def id(self) -> str:
        """Of the file; "" before the first row."""
        return self._audit.id if self._audit is not None else ""

    def close(self) -> None:
        if self._audit is not None:
            self._audit.close()


def read_rows(path: Path, since: float = 0.0) -> Iterator[Row]:
    """Rows from `since` (Unix time) on, oldest first; nothing where there is no file. Raises AuditError."""
    with _reading(path) as db:
        if db is not None:
            for values in db.execute(f"select {','.join(COLUMNS)} from audit where at >= ? order by seq", (since,)):
                yield Row(*values)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """None where there is no file. Raises AuditError for whatever goes wrong meanwhile."""
    if not path.exists():
        yield None
        return
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT_S)) as db:
            yield db
    except sqlite3.Error as error:
        raise AuditError(f"the audit {path} cannot be read: {error}") from error


def verify(path: Path) -> Verdict:
    """Walk the whole chain. Raises AuditError."""
    count, head = 0, START
    for row in read_rows(path):
        count += 1
        if row.seq != count:
            return Verdict(count, head, f"row {count} is missing: row {row.seq} stands in its place")
        if row.previous != head:
            return Verdict(count, head, f"row {row.seq} does not follow from row {row.seq - 1}")
        if row.hash != row.expected_hash():
            return Verdict(count, head, f"row {row.seq} was changed after it was written")
        head = row.hash
    return Verdict(count, head, "")


def compare(path: Path, anchors: dict[str, list[dict[str, Any]]]) -> tuple[int, list[str]]:
    """(how many heads that nodes keep of this audit are rows of it, what is wrong with the others in words). Raises AuditError.

    anchors: by node, as the node told them. Those of other audits say nothing about this one.
    """
    hashes = {row.seq: row.hash for row in read_rows(path)}
    name = read_id(path)
    agreed, wrong = 0, []
    for node, kept in sorted(anchors.items()):
        for seq, digest in [(one["seq"], one["hash"]) for one in kept if one["audit"] == name]:
            if hashes.get(seq) == digest:
                agreed += 1
            elif seq in hashes:
                wrong.append(f"rewritten: row {seq} is not the one that {node} was told of")
            else:
                wrong.append(f"cut: {node} was told of row {seq}, the last one here is {max(hashes, default=0)}")
    return agreed, wrong


def read_id(path: Path) -> str:
    """The id of the audit in the file, "" where there is none. Raises AuditError."""
    with _reading(path) as db:
        if db is None or not db.execute("select 1 from sqlite_master where name = 'identity'").fetchone():
            return next((row.hash[:ID_LENGTH] for row in read_rows(path)), "")
        return next(db.execute("select id from identity"), ("",))[0]
