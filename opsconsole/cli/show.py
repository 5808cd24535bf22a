"""The fleet as it is now on stdout: once, or every second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from opsconsole.cli.capacity import with_headroom
from opsconsole.cli.listings import LISTINGS, Row, status_lines
from opsconsole.cli.output import CommandError, Exit, narrate, print_data, print_json
from opsconsole.cli.past import fleet_at
from opsconsole.cli.session import open_session, tell_silent
from opsconsole.cli.table import coloured, table, terminal_width
from opsconsole.core.filter import Filter, FilterError, parse
from opsconsole.core.fleet import Fleet
from opsconsole.core.names import unknown_name
from opsconsole.core.text import clean
from opsconsole.core.wording import at_text, status_json

if TYPE_CHECKING:
    from opsconsole.cli.root import Settings

CLEAR_SCREEN = "\x1b[H\x1b[2J"
ATTACH_AGAIN_S = 2.0

Show = Callable[[Fleet, Filter, bool], list[int]]
"""Prints one fleet; returns the rows of the nodes that it was about."""


def show(
    settings: Settings, name: str, expression: str, site: str | None, as_json: bool, watch: bool,
    past: tuple[str | None, str | None] | None = None,
) -> int:
    """Shows what the command `name` is about, of what the expression chooses; returns the exit code. past: --at and --file, None for
    the fleet as it is. Raises CommandError."""
    chosen = _filter(expression, site)
    once = _refusing_unknown(name, _show_status if name == "status" else _show_listing(name, settings, past[1] if past else None))
    if past is not None:
        fleet = fleet_at(settings, *past)
        return tell_silent(fleet, once(fleet, chosen, as_json), "did not answer")
    if watch:
        return _watch(settings, once, chosen, as_json)
    with open_session(settings) as session:
        fleet = session.first_fleet()
    return tell_silent(fleet, once(fleet, chosen, as_json))


def _filter(expression: str, site: str | None) -> Filter:
    if site is not None:
        if '"' in site or not site:
            raise CommandError(f"there is no site {site!r}", Exit.USAGE)
        expression = f'{expression} site:"{site}"'
    try:
        return parse(expression)
    except FilterError as error:
        raise CommandError(str(error), Exit.USAGE) from None


def _refusing_unknown(name: str, once: Show) -> Show:
    def refusing(fleet: Fleet, chosen: Filter, as_json: bool) -> list[int]:
        if wrong := unknown_name(fleet, chosen, name):
            raise CommandError(wrong, Exit.USAGE)
        return once(fleet, chosen, as_json)

    return refusing


def _watch(settings: Settings, once: Show, chosen: Filter, as_json: bool) -> int:
    """Until Ctrl-C. When a collector that was watched ends, the next one is found or started; none at all is an error."""
    watched = False
    while True:
        try:
            with open_session(settings) as session:
                for fleet in session.frames():
                    watched = True
                    _show_again(fleet, once, chosen, as_json)
            return Exit.FAILED
        except CommandError as error:
            if not watched or error.exit_code != Exit.FAILED:
                raise
            narrate(f"{error}; trying again")
            time.sleep(ATTACH_AGAIN_S)


def _show_again(fleet: Fleet, once: Show, chosen: Filter, as_json: bool) -> None:
    paint = sys.stdout.isatty() and not as_json
    if paint:
        print(CLEAR_SCREEN, end="")
    once(fleet, chosen, as_json)
    if not as_json and not paint:
        print_data("")


def _show_listing(name: str, settings: Settings, file: str | None) -> Show:
    listing = LISTINGS[name]

    def once(fleet: Fleet, chosen: Filter, as_json: bool) -> list[int]:
        rows = with_headroom(settings, name, fleet, listing.rows(fleet, chosen, not as_json), file)
        if as_json:
            print_json({"at": at_text(fleet.at), name: rows})
        else:
            _print_rows(listing.columns, rows, name, chosen)
        return _rows_about(fleet, name, rows)

    return once


def _print_rows(columns, rows: list[Row], name: str, chosen: Filter) -> None:
    if not rows:
        print_data(clean(f"no {name} match {chosen.text.strip()}" if chosen.text.strip() else f"no {name}"))
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
