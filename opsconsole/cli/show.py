"""The commands that show the fleet as it is now: once, or every second."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from opsconsole.cli.listings import LISTINGS, Row, status_lines
from opsconsole.cli.output import CommandError, Exit, print_data, print_json
from opsconsole.cli.session import open_session, tell_silent
from opsconsole.cli.table import coloured, table, terminal_width
from opsconsole.core.filter import Filter, FilterError, parse
from opsconsole.core.fleet import Fleet
from opsconsole.core.text import clean
from opsconsole.core.wording import at_text, status_json

CLEAR_SCREEN = "\x1b[H\x1b[2J"

Show = Callable[[Fleet, Filter, bool], list[int]]
"""Prints one fleet; returns the rows of the nodes that it was about."""


def _show_options(command: Callable) -> Callable:
    for option in (
        click.option("--site", help="Only this site."),
        click.option("--filter", "expression", default="", help="Only what matches, as in: site:ams1 util>90 !drained"),
        click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line."),
    ):
        command = option(command)
    return click.pass_obj(command)


def _command(name: str, show: Show, text: str) -> click.Command:
    def command(settings, as_json: bool, watch: bool, expression: str, site: str | None) -> int:
        chosen = _filter(expression, site)
        with open_session(settings) as session:
            if watch:
                return _watch(session, show, chosen, as_json)
            fleet = session.first_fleet()
        return tell_silent(fleet, show(fleet, chosen, as_json))

    return click.command(name, help=text)(_show_options(command))


def _filter(expression: str, site: str | None) -> Filter:
    if site is not None:
        if '"' in site or not site:
            raise CommandError(f"there is no site {site!r}", Exit.USAGE)
        expression = f'{expression} site:"{site}"'
    try:
        return parse(expression)
    except FilterError as error:
        raise CommandError(str(error), Exit.USAGE) from None


def _watch(session, show: Show, chosen: Filter, as_json: bool) -> int:
    paint = sys.stdout.isatty() and not as_json
    for fleet in session.frames():
        if paint:
            print(CLEAR_SCREEN, end="")
        show(fleet, chosen, as_json)
        if not as_json and not paint:
            print_data("")
    return Exit.FAILED


def _show_listing(name: str) -> Show:
    listing = LISTINGS[name]

    def show(fleet: Fleet, chosen: Filter, as_json: bool) -> list[int]:
        rows = listing.rows(fleet, chosen, not as_json)
        if as_json:
            print_json({"at": at_text(fleet.at), name: rows})
        else:
            _print_rows(listing.columns, rows, name)
        return _rows_about(fleet, name, rows)

    return show


def _print_rows(columns, rows: list[Row], name: str) -> None:
    if not rows:
        print_data(f"no {name}")
        return
    print_data("\n".join(coloured(table(columns, rows, terminal_width()), rows)))


def _rows_about(fleet: Fleet, name: str, rows: list[Row]) -> list[int]:
    """The nodes that the rows stand for: their own, or, for sums, all."""
    if name in ("models", "sites"):
        return list(range(len(fleet.roster.nodes)))
    names = {row["name" if name == "nodes" else "node"] for row in rows}
    return [row for row, node in enumerate(fleet.roster.nodes) if node.name in names]


def _show_status(fleet: Fleet, chosen: Filter, as_json: bool) -> list[int]:
    mask = chosen.nodes(fleet)
    status = status_json(fleet, mask)
    if as_json:
        print_json(status)
    else:
        print_data("\n".join(clean(line) for line in status_lines(status)))
    return [row for row in range(len(mask)) if mask[row]]


status = _command("status", _show_status, "The fleet in a few lines, with its alarms.")
nodes = _command("nodes", _show_listing("nodes"), "Nodes, worst first.")
gpus = _command("gpus", _show_listing("gpus"), "GPUs, those of the worst nodes first.")
workers = _command("workers", _show_listing("workers"), "Workers, those in trouble first.")
models = _command("models", _show_listing("models"), "Models with their ready workers, queue and objective.")
sites = _command("sites", _show_listing("sites"), "Sites with their power and its budget.")
