"""The command that shows who did what to the fleet, and whether that record is whole."""

from __future__ import annotations

import time

import click

from opsconsole.cli.moments import moment
from opsconsole.cli.output import CommandError, Exit, print_data, print_json
from opsconsole.cli.session import locate
from opsconsole.core.text import clean
from opsconsole.core.wording import at_text


@click.command()
@click.option("--since", default="7d", show_default=True, help="15m, 2h, 1d (ago), 14:30 or an ISO time.")
@click.option("--verify", "only_verify", is_flag=True, help="Check that every row follows from the one before, and print the head.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def audit(settings, since: str, only_verify: bool, as_json: bool) -> int:
    """Show every action: who, why, what was sent to which node, and how it ended."""
    from opsconsole.control.places import audit_path
    from opsconsole.history.audit import AuditError

    path = audit_path(locate(settings)[1])
    try:
        return _verify(path, as_json) if only_verify else _show(path, since, as_json)
    except AuditError as error:
        raise CommandError(str(error)) from None


def _verify(path, as_json: bool) -> int:
    from opsconsole.history.audit import verify

    found = verify(path)
    if as_json:
        print_json({"rows": found.rows, "head": found.head, "whole": not found.broken, "broken": found.broken or None})
    elif not found.broken:
        print_data(f"{path}: whole, {found.rows} rows, head {found.head}")
    if found.broken:
        raise CommandError(f"{path}: {found.broken}; what is written before it can be trusted, what comes after cannot")
    return Exit.DONE


def _show(path, since: str, as_json: bool) -> int:
    from opsconsole.history.audit import read_rows

    try:
        start = moment(since, time.time())
    except ValueError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    rows = list(read_rows(path, start))
    if as_json:
        print_json({"rows": [
            {"seq": row.seq, "at": at_text(row.at), "kind": row.kind, "run": row.run, "actor": row.actor, **row.content()} for row in rows
        ]})
        return Exit.DONE
    for row in rows:
        print_data(clean(f"{at_text(row.at)}  {row.kind:7}  {row.actor or '-'}  {_said(row.kind, row.content())}", 400))
    return Exit.DONE


def _said(kind: str, body: dict) -> str:
    if kind == "begin":
        return body["title"] + (f": {body['reason']}" if body["reason"] else "")
    if kind == "order":
        return f"{body['op']} {body['worker']} on {body['node']}"
    return f"{body['worker']} on {body['node']}  {'done' if body['ok'] else 'not done'}: {body['text']}"
