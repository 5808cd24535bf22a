"""The command that finds out what keeps nodes from being watched, and says the mend."""

from __future__ import annotations

import click

from opsconsole.cli.checks import Check, local_checks, node_checks
from opsconsole.cli.output import CommandError, Exit, print_data, print_json
from opsconsole.cli.session import locate, open_session, read_fleet_file
from opsconsole.core.fleet import Fleet
from opsconsole.core.text import clean
from opsconsole.core.wording import at_text


@click.command()
@click.argument("names", nargs=-1, metavar="[NODE]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def doctor(settings, names: tuple[str, ...], as_json: bool) -> int:
    """Check this machine and each NODE (all when none is named): from the host key to the clock, each with its mend."""
    local = list(local_checks(read_fleet_file(settings), locate(settings)[1]))
    if not as_json:
        _print(local)
    with open_session(settings) as session:
        fleet = session.first_fleet()
    rows = _rows(fleet, names)
    found = [node_checks(fleet, row) for row in rows]
    if as_json:
        print_json({"at": at_text(fleet.at), "local": list(map(_plain, local)), "nodes": [_node_json(checks) for checks in found]})
    else:
        _print([check for checks in found for check in _worth_saying(checks)])
    return _exit_of(local, fleet, rows)


def _rows(fleet: Fleet, names: tuple[str, ...]) -> list[int]:
    missing = [name for name in names if name not in fleet.roster.node_row]
    if missing:
        raise CommandError(f"there is no node {missing[0]!r} in the fleet file", Exit.USAGE)
    return [fleet.roster.node_row[name] for name in names] or list(range(len(fleet.roster.nodes)))


def _worth_saying(checks: list[Check]) -> list[Check]:
    """A well node in one line, of an ill one what is wrong."""
    wrong = [check for check in checks if check.mend]
    if wrong:
        return wrong
    said = ", ".join(f"{check.check} {check.text}" for check in checks if check.text)
    return [Check(checks[0].subject, "all", True, said)]


def _print(checks: list[Check]) -> None:
    marks = {True: "ok ", False: "BAD", None: "?  "}
    for check in checks:
        print_data(clean(f"{marks[check.ok]}  {check.subject}  {check.check}: {check.text}", 400))
        if check.mend:
            print_data(clean(f"       mend: {check.mend}", 400))


def _plain(check: Check) -> dict:
    return {"check": check.check, "ok": check.ok, "text": check.text, "mend": check.mend or None}


def _node_json(checks: list[Check]) -> dict:
    return {"name": checks[0].subject, "ok": all(check.ok for check in checks), "checks": [_plain(check) for check in checks]}


def _exit_of(local: list[Check], fleet: Fleet, rows: list[int]) -> int:
    if any(check.ok is False for check in local):
        return Exit.FAILED
    return Exit.DONE if all(fleet.answering[row] for row in rows) else Exit.PARTIAL
