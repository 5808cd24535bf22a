"""A plugin for Datasette, found by itself where both are installed: a history opened there has the tables that our own SQL has."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pluggy

from opsconsole.history.questions import QUESTIONS
from opsconsole.history.schema import MIGRATION_SET, HistoryError

hookimpl = pluggy.HookimplMarker("datasette")


@hookimpl(optionalhook=True)
def prepare_connection(conn: sqlite3.Connection, database: str) -> None:
    """Every connection that Datasette opens; those to other files are left as they are."""
    path = next((file for _, name, file in conn.execute("pragma database_list") if name == "main"), "")
    if not path or not _is_history(conn):
        return
    from opsconsole.history.sql import prepare  # here, because Datasette may have other files only

    try:
        prepare(conn, Path(path))
    except HistoryError:
        return  # a newer file: its plain tables can still be read


@hookimpl(optionalhook=True)
async def canned_queries(datasette: Any, database: str) -> dict[str, dict[str, str]]:
    """The questions that most people have first."""
    is_history = await datasette.get_database(database).execute_fn(_is_history)
    return {name: {"title": title, "sql": sql} for name, (title, sql) in QUESTIONS.items()} if is_history else {}


def _is_history(connection: sqlite3.Connection) -> bool:
    if not connection.execute("select 1 from sqlite_master where name = '_sqlite_migrations' and type = 'table'").fetchone():
        return False
    return connection.execute("select 1 from _sqlite_migrations where migration_set = ?", (MIGRATION_SET,)).fetchone() is not None
