"""The command that shows any series of the past: as a chart for people, as JSON or CSV for programs."""

from __future__ import annotations

import math
import time

import click

from opsconsole.cli.chart import chart_lines
from opsconsole.cli.moments import moment
from opsconsole.cli.output import CommandError, Exit, print_data, print_json
from opsconsole.cli.session import open_session
from opsconsole.cli.table import terminal_width
from opsconsole.core.text import clean
from opsconsole.core.wording import at_text

CHART_POINTS = 2000
"""Points asked for a chart: enough for every cell of a wide terminal to have several."""
CHART_CELLS = 100
"""Width where no terminal tells one."""


@click.command()
@click.argument("series")
@click.option("--node", help="Of this node.")
@click.option("--gpu", type=click.IntRange(0), help="Of this GPU of the node.")
@click.option("--worker", help="Of this worker.")
@click.option("--since", default="15m", show_default=True, help="15m, 2h, 1d (ago), 14:30 or an ISO time.")
@click.option("--until", default="now", show_default=True, help="The same, or now.")
@click.option("--points", type=click.IntRange(1, 1_000_000), help="At most so many points.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Lines of time,value; a gap has no value.")
@click.pass_obj
def history(settings, series: str, since: str, until: str, points: int | None, as_json: bool, as_csv: bool, **subject) -> int:
    """Show a SERIES: fleet.queue_depth, node.cpu_pct, gpu.power_w, worker.tokens_per_s and so on."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv are two forms of one output; choose one")
    start, end = _span(since, until)
    asked = points if points or as_json or as_csv else CHART_POINTS
    with open_session(settings) as session:
        found = session.history(series, **subject, since=start, until=end, points=asked)
    if as_json:
        _print_json(found, subject, start, end)
    elif as_csv:
        _print_csv(found)
    else:
        _print_chart(found, subject, start, end)
    return Exit.DONE


def _span(since: str, until: str) -> tuple[float, float]:
    now = time.time()
    try:
        start, end = moment(since, now), moment(until, now)
    except ValueError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    if start >= end:
        raise CommandError(f"--since {since} is not before --until {until}", Exit.USAGE)
    return start, end


def _values(found) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in found.values.tolist()]


def _print_json(found, subject: dict, start: float, end: float) -> None:
    print_json({
        "series": found.series, "unit": found.unit, **subject, "since": at_text(start), "until": at_text(end),
        "times": [at_text(at) for at in found.times.tolist()], "values": _values(found),
    })


def _print_csv(found) -> None:
    pairs = zip(found.times.tolist(), _values(found), strict=True)
    lines = [f"{at_text(at)},{'' if value is None else f'{value:.10g}'}" for at, value in pairs]
    print_data("\n".join([f"at,{found.series}", *lines]))


def _print_chart(found, subject: dict, start: float, end: float) -> None:
    of = " ".join(f"{name} {value}" for name, value in subject.items() if value is not None)
    title = f"{found.series}" + (f" of {of}" if of else "") + (f", {found.unit}" if found.unit else "")
    print_data("\n".join([clean(title), *chart_lines(found.times, found.values, start, end, found.unit, terminal_width() or CHART_CELLS)]))
