"""The past for commands, in one place: histories of one's own and from elsewhere, read, asked, exported and cut."""

from __future__ import annotations

from typing import Any

from opsconsole.control.places import history_path
from opsconsole.history.catalog import METRICS, find_metric
from opsconsole.history.elsewhere import from_elsewhere
from opsconsole.history.export import KINDS, rows_of, table_name, whole_or_not_at_all, write_csv, write_sqlite
from opsconsole.history.numbers import GAP_S
from opsconsole.history.parquet import write_parquet
from opsconsole.history.reader import Reader
from opsconsole.history.rows import Wanted, columns_of, expected_rows, is_of_nodes
from opsconsole.history.schema import HistoryError
from opsconsole.history.sql import QueryError, is_incident, open_sql, tables

__all__ = [
    "GAP_S", "KINDS", "HistoryError", "QueryError", "Reader", "Wanted", "columns_of", "contents", "expected_rows", "find_metric",
    "from_elsewhere", "history_path", "is_of_nodes",
    "open_sql", "rows_of", "series_known", "table_name", "tables", "whole_or_not_at_all", "write_csv", "write_parquet", "write_sqlite",
]

_COUNTED = ("events", "audit", "runs")
_OF = {"gpu": "--node and --gpu", "node": "--node", "worker": "--worker", "fleet": "the fleet", "site": "--site", "model": "--model"}


def series_known() -> list[dict[str, str]]:
    """Every series by name, with its unit and what has to be named with it."""
    return [{"series": metric.name, "unit": metric.unit, "of": _OF[metric.kind]} for metric in METRICS.values()]


def contents(reader: Reader) -> dict[str, Any]:
    """What is in a history: its span in epoch seconds, and counts. Raises HistoryError."""
    span = reader.span()
    if span is None:
        raise HistoryError(f"nothing is recorded in {reader.path}")
    last = reader.at(span[1])
    with open_sql(reader.path) as connection:
        beside = tables(connection)
        count = {name: connection.execute(f"select count(*) from {name}").fetchone()[0] if name in beside else 0 for name in _COUNTED}
        count["tick"] = connection.execute("select count(*) from tick").fetchone()[0]
        about = connection.execute("select scrubbed from incident").fetchone() if is_incident(connection) else None
    return {
        "fleet": last.roster.fleet_name, "since": span[0], "until": span[1], "seconds": count["tick"], "nodes": len(last.roster.nodes),
        "gpus": len(last.roster.gpu_uuid), "workers": len(last.workers), "events": count["events"], "audit_rows": count["audit"],
        "runs": count["runs"], "removed": about[0] if about else None,
    }
