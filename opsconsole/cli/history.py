"""The command that shows any series of the past: as a chart for people, as JSON or CSV for programs, or whatever SQL asks for."""

from __future__ import annotations

import math

import click
import numpy as np

from opsconsole.cli.chart import chart_lines
from opsconsole.cli.output import CommandError, Exit, print_data, print_json
from opsconsole.cli.past import now_of, open_past, span_of, typed_span
from opsconsole.cli.table import Column, table, terminal_width
from opsconsole.core.text import clean
from opsconsole.core.wording import age_text, at_text

CHART_POINTS = 2000
"""Points asked for a chart: enough for every cell of a wide terminal to have several."""
CHART_CELLS = 100
"""Width where no terminal tells one."""
LIST_COLUMNS = (Column("SERIES", lambda row: row["series"]), Column("UNIT", lambda row: row["unit"]), Column("OF", lambda row: row["of"]))


@click.command()
@click.argument("series", required=False)
@click.option("--node", help="Of this node.")
@click.option("--gpu", type=click.IntRange(0), help="Of this GPU of the node.")
@click.option("--worker", help="Of this worker.")
@click.option("--site", help="Of this site.")
@click.option("--model", help="Of this model.")
@click.option("--since", default="15m", show_default=True, help="15m, 2h, 1d (ago; with --file before its end), 14:30 or an ISO time.")
@click.option("--until", default="now", show_default=True, help="The same, or now.")
@click.option("--points", type=click.IntRange(2, 1_000_000), help="At most so many points: lowest and highest of each span stay.")
@click.option("--list", "only_list", is_flag=True, help="The series there are, with their units.")
@click.option("--sql", metavar="SELECT", help="Answer a query; the tables are told by --sql '.tables'.")
@click.option("--file", type=click.Path(), help="From this history, as `incident save` writes one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; of a query one a row.")
@click.option("--csv", "as_csv", is_flag=True, help="Lines of at,value (and low,high where minutes answer); a gap has no value.")
@click.pass_obj
def history(
    settings, series: str | None, since: str, until: str, points: int | None, only_list: bool, sql: str | None, file: str | None,
    as_json: bool, as_csv: bool, **subject,
) -> int:
    """Show a SERIES of the past: fleet.queue_depth, node.cpu_pct, gpu.power_w, worker.tokens_per_s and so on."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv are two forms of one output; choose one")
    if sql is not None:
        if series is not None:
            raise click.UsageError("a query says itself what it wants: give a SERIES or --sql")
        from opsconsole.cli.sql import answer

        return answer(settings, sql, file, as_json, as_csv)
    if only_list or series is None:
        return _list(as_json, as_csv)
    asked = points if points or as_json or as_csv else CHART_POINTS
    with open_past(settings, file) as reader:
        start, end = typed_span(since, until, now_of(reader, file))
        found = _found(reader, series, subject, start, end, asked)
    if as_json:
        _print_json(found, subject, start, end)
    elif as_csv:
        _print_csv(found)
    else:
        _print_chart(found, subject, start, end)
    return Exit.DONE


def _found(reader, series: str, subject: dict, start: float, end: float, points: int | None):
    """The series; that nothing is recorded at all has been raised before, so what cannot be answered now is asked wrongly."""
    from opsconsole.control.archive import HistoryError

    span_of(reader)
    try:
        return reader.series(series, **subject, since=start, until=end, points=points)
    except HistoryError as error:
        raise CommandError(str(error), Exit.USAGE) from None


def _list(as_json: bool, as_csv: bool) -> int:
    from opsconsole.control.archive import series_known

    rows = series_known()
    if as_json:
        print_json({"series": rows})
    elif as_csv:
        print_data("\n".join(["series,unit,of", *(f"{row['series']},{row['unit']},{row['of']}" for row in rows)]))
    else:
        print_data("\n".join(table(LIST_COLUMNS, rows, terminal_width())))
    return Exit.DONE


def _plain(values) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _has_edges(found) -> bool:
    """Whether each value stands for a time longer than a second, with a lowest and a highest reading of its own."""
    return found.step_s > 1 and not np.array_equal(found.low, found.high, equal_nan=True)


def _print_json(found, subject: dict, start: float, end: float) -> None:
    edges = {"low": _plain(found.low), "high": _plain(found.high)} if _has_edges(found) else {}
    print_json({
        "series": found.series, "unit": found.unit, **subject, "since": at_text(start), "until": at_text(end), "step_s": found.step_s,
        "times": [at_text(at) for at in found.times.tolist()], "values": _plain(found.values), **edges,
    })


def _print_csv(found) -> None:
    columns = {found.series: found.values} | ({"low": found.low, "high": found.high} if _has_edges(found) else {})
    rows = zip(found.times.tolist(), *map(_plain, columns.values()), strict=True)
    lines = [",".join([at_text(at), *("" if value is None else f"{value:.10g}" for value in values)]) for at, *values in rows]
    print_data("\n".join([",".join(["at", *columns]), *lines]))


def _print_chart(found, subject: dict, start: float, end: float) -> None:
    of = " ".join(f"{name} {value}" for name, value in subject.items() if value is not None)
    title = f"{found.series}" + (f" of {of}" if of else "") + (f", {found.unit}" if found.unit else "")
    if _has_edges(found):
        title += f" (each value is of {age_text(found.step_s)})"
    width = terminal_width() or CHART_CELLS
    lines = chart_lines(found.times, found.values, start, end, found.unit, width, found.low, found.high)
    print_data("\n".join([clean(title), *lines]))
