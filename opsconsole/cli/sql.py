"""Answers of the history to SQL, as a table for people, as JSON or CSV for programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from itertools import islice
from typing import Any

from opsconsole.cli.output import CommandError, Exit, narrate, print_data, print_json
from opsconsole.cli.past import history_file
from opsconsole.cli.table import Column, table, terminal_width
from opsconsole.core.text import clean
from opsconsole.core.wording import UNKNOWN

ROWS_SHOWN = 10_000
"""Rows of a table for people, whose widths must be known before the first one is printed."""
TABLES = (".tables", ".schema")


def answer(settings, query: str, file: str | None, as_json: bool, as_csv: bool) -> int:
    """Prints what the query finds. Raises CommandError."""
    from opsconsole.control import archive

    try:
        with archive.open_sql(history_file(settings, file)) as connection:
            if query.strip().rstrip(";") in TABLES:
                return _tables(archive.tables(connection), as_json)
            found = connection.execute(query)
            if found.description is None:
                raise CommandError("the query asks for nothing; write a SELECT", Exit.USAGE)
            names = [column[0] for column in found.description]
            (_lines if as_json else _csv if as_csv else _table)(names, found)
    except archive.QueryError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    except archive.HistoryError as error:
        raise CommandError(str(error)) from None
    return Exit.DONE


def _tables(found: dict[str, list[str]], as_json: bool) -> int:
    if as_json:
        print_json({"tables": found})
    else:
        print_data("\n".join(f"{name} ({', '.join(columns)})" for name, columns in found.items()))
    return Exit.DONE


def _lines(names: list[str], rows: Iterable[tuple]) -> None:
    for row in rows:
        print_data(json.dumps(dict(zip(names, map(_as_text, row), strict=True)), separators=(",", ":")))


def _csv(names: list[str], rows: Iterable[tuple]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(map(_as_text, row) for row in rows)


def _as_text(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _table(names: list[str], rows: Iterable[tuple]) -> None:
    shown = [dict(enumerate(row)) for row in islice(rows, ROWS_SHOWN)]
    columns = [
        Column(clean(name), lambda row, place=place: _say(row[place]), right=bool(shown) and isinstance(shown[0][place], (int, float)))
        for place, name in enumerate(names)
    ]
    print_data("\n".join(table(columns, shown, terminal_width())))
    if next(iter(rows), None) is not None:
        narrate(f"there are more than {ROWS_SHOWN} rows; --csv and --json print all of them")


def _say(value: Any) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.6g}" if isinstance(value, float) and value != int(value) else str(_as_text(value))
