"""The history as tables for SQL: views that decode what is stored through functions of ours, for us and for tools that load them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opsconsole.core.marks import KINDS
from opsconsole.history.catalog import METRICS
from opsconsole.history.reader import Reader
from opsconsole.history.readings import EDGES, MINUTE_S, functions
from opsconsole.history.rows import IDENTITY, identities
from opsconsole.history.schema import HistoryError, open_reader, read_uri

_ALLOWED = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE))
_EVENTS = (
    "create temp view events as select at, datetime(at, 'unixepoch') as time,"
    f" iif(kind in {KINDS!r}, kind, 'event') as kind, severity, subject, text, actor from note"
)
_FIRST_MINUTE = (
    f"select t / {MINUTE_S} * {MINUTE_S} from (select min(t) as t from (select min(t) as t from tick union all"
    f" select t0 from chunk where step = {MINUTE_S} union all select t from rollup where step = {MINUTE_S})) where t is not null"
)
_BESIDE = {
    "audit": "select seq, at, datetime(at, 'unixepoch') as time, kind, run, actor, body, hash from {}.audit",
    "runs": "select id as run, began_at as at, datetime(began_at, 'unixepoch') as time, state, json_extract(body, '$.plan.title') as title,"
    " json_extract(body, '$.plan.intent.actor') as actor, json_extract(body, '$.plan.intent.reason') as reason, body from {}.run",
}
"""Views over what lies in files of its own in a state directory, and within the file in an incident's."""


def prepare(connection: sqlite3.Connection, path: Path) -> Reader:
    """Gives a connection to the history at `path` our functions and, as temporary views, its tables; the reader behind them.

    A thing that is first recorded later is in them after the next `prepare` only. Raises HistoryError and sqlite3.Error.
    """
    reader = Reader(path)
    span = reader.span()
    for name, (count, function) in functions(reader).items():
        connection.create_function(name, count, function)
    words = dict.fromkeys(name for identity in IDENTITY.values() for name in identity)
    connection.execute(f"create temp table thing (kind text, name text, {', '.join(words)})")
    if span is not None:
        _list_things(connection, reader, span[1])
    connection.execute("create index temp.thing_by_node on thing (kind, node)")
    for kind in IDENTITY:
        connection.execute(_samples_view(kind))
        connection.execute(_minutes_view(kind))
    connection.execute(_EVENTS)
    return reader


def _list_things(connection: sqlite3.Connection, reader: Reader, at: float) -> None:
    for kind in IDENTITY:
        names = [name for (name,) in connection.execute("select name from entity where kind = ? order by slot", (kind,))]
        rows = [{"kind": kind, "name": name, **one} for name, one in zip(names, identities(reader, kind, names, at), strict=True)]
        for row in rows:
            connection.execute(f"insert into thing ({', '.join(row)}) values ({', '.join('?' * len(row))})", list(row.values()))


def _samples_view(kind: str) -> str:
    """Each second of each thing that was heard of then, with all its readings; `at` in epoch seconds, `time` in UTC.

    The cross join keeps seconds outside: what a query says of the time is looked at before anything is decoded.
    """
    metrics = [metric for metric in METRICS.values() if metric.kind == kind]
    columns = ["tick.t as at", "datetime(tick.t, 'unixepoch') as time", *(f"thing.{name}" for name in IDENTITY[kind])]
    columns += [f"reading('{metric.name}', thing.name, tick.t) as {metric.column}" for metric in metrics]
    return (
        f"create temp view {kind}_samples as select {', '.join(columns)} from tick cross join thing"
        f" where thing.kind = '{kind}' and is_heard('{kind}', thing.name, tick.t)"
    )


class QueryError(HistoryError):
    """What is asked is wrong, not what is kept."""


def _minutes_view(kind: str) -> str:
    """Each minute of each thing that was heard of then: the mean of its readings, and of each the lowest and the highest.

    Minutes are kept much longer than seconds.
    """
    metrics = [metric for metric in METRICS.values() if metric.kind == kind]
    columns = ["clock.t as at", "datetime(clock.t, 'unixepoch') as time", *(f"thing.{name}" for name in IDENTITY[kind])]
    for metric in metrics:
        said = {edge: f"minute('{metric.name}', thing.name, clock.t, '{edge}') as {metric.column}" for edge in EDGES}
        columns += [said["mean"], f"{said['low']}_low", f"{said['high']}_high"]
    heard = " or ".join(f"minute('{metric.name}', thing.name, clock.t, 'mean') is not null" for metric in metrics)
    return (
        f"create temp view {kind}_minutes as with recursive clock(t) as ({_FIRST_MINUTE} union all"
        f" select t + {MINUTE_S} from clock where t + {MINUTE_S} <= (select max(t) from tick))"
        f" select {', '.join(columns)} from clock cross join thing where thing.kind = '{kind}' and ({heard})"
    )


@contextmanager
def open_sql(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can read and nothing else, with the views, and those over audit and runs where they are beside the file.

    Raises HistoryError, and QueryError for what is wrong with a query.
    """
    connection = open_reader(path)
    reader = None
    try:
        reader = prepare(connection, path)
        _attach_beside(connection, path)
        connection.execute("pragma query_only=on")
        connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY)
        connection.set_progress_handler(lambda: 0, 100_000)  # Python notices Ctrl-C in it, and SQLite then ends the query
        yield connection
    except (sqlite3.Error, sqlite3.Warning) as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise KeyboardInterrupt from None
        raise QueryError(f"the query cannot be answered: {error}") from None
    finally:
        if reader is not None:
            reader.close()
        connection.close()


def _attach_beside(connection: sqlite3.Connection, path: Path) -> None:
    within = {name for (name,) in connection.execute("select name from main.sqlite_master where type = 'table'")}
    for view, table, file in (("audit", "audit", "audit.db"), ("runs", "run", "runs.db")):
        beside = path.with_name(file)
        if table in within:
            schema = "main"
        elif beside.exists():
            schema = f"{view}_file"
            connection.execute(f"attach ? as {schema}", (read_uri(beside),))
        else:
            continue
        connection.execute(f"create temp view {view} as {_BESIDE[view].format(schema)}")


def tables(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """The columns of each table by name."""
    names = [name for (name,) in connection.execute("select name from sqlite_temp_master where type = 'view' order by name")]
    return {name: [column for (column, *_) in connection.execute(f"select * from {name} limit 0").description] for name in names}


def is_incident(connection: sqlite3.Connection) -> bool:
    """Whether the file was cut out of another one for a post-mortem."""
    return connection.execute("select 1 from main.sqlite_master where name = 'incident'").fetchone() is not None
