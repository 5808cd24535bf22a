"""The command that shows who did what to the fleet, and whether that record is whole."""

from __future__ import annotations

import time

import click

from opsconsole.cli.moments import moment
from opsconsole.cli.output import CommandError, Exit, narrate, print_data, print_json
from opsconsole.cli.session import NAMED_LIMIT, locate, open_session
from opsconsole.core.text import clean
from opsconsole.core.wording import at_text


@click.command()
@click.option("--since", default="7d", show_default=True, help="15m, 2h, 1d (ago), 14:30 or an ISO time.")
@click.option("--verify", "only_verify", is_flag=True,
              help="Check that every row follows from the one before, and ask the nodes whether rows were cut off.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def audit(settings, since: str, only_verify: bool, as_json: bool) -> int:
    """Show every action: who, why, what was sent to which node, and how it ended."""
    from opsconsole.control.places import audit_path
    from opsconsole.history.audit import AuditError

    path = audit_path(locate(settings)[1])
    try:
        return _verify(settings, path, as_json) if only_verify else _show(path, since, as_json)
    except AuditError as error:
        raise CommandError(str(error)) from None


def _verify(settings, path, as_json: bool) -> int:
    from opsconsole.history.audit import compare, verify

    found, told = verify(path), _heads_at_nodes(settings)
    agreed, wrong = compare(path, {node: kept for node, kept in told.items() if kept is not None})
    silent = sorted(node for node, kept in told.items() if kept is None)
    broken = [found.broken] if found.broken else []
    if as_json:
        print_json({
            "rows": found.rows, "head": found.head, "whole": not broken and not wrong, "broken": "; ".join(broken + wrong) or None,
            "heads_agreed": agreed, "nodes_asked": len(told), "nodes_silent": silent,
        })
    elif not broken and not wrong:
        print_data(f"{path}: whole, {found.rows} rows, head {found.head}; {agreed} heads kept at {len(told) - len(silent)} nodes agree")
    if found.broken:
        raise CommandError(f"{path}: {found.broken}; what is written before it can be trusted, what comes after cannot")
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise CommandError(f"{path}: {wrong[0]}{more}; the record was changed after it was written")
    if silent:
        narrate(f"{len(silent)} of {len(told)} nodes told of no head: {', '.join(silent[:NAMED_LIMIT])}")
    return Exit.PARTIAL if silent else Exit.DONE


def _heads_at_nodes(settings) -> dict:
    """What each node keeps of audits; nothing, and a word about it, when there is no collector to ask them."""
    try:
        with open_session(settings) as session:
            session.first_fleet()
            return session.anchors()
    except CommandError as error:
        narrate(f"the nodes were not asked whether rows were cut off: {error}")
        return {}


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
    if kind == "alarm":
        until = f" until {at_text(body['until'])}" if body["until"] else ""
        return f"{body['word']} {body['about'].replace('  ', ' ')}{until}" + (f": {body['text']}" if body["text"] else "")
    if kind == "told":
        return f"{body['word']}: {body['title']}"
    subject = body.get("worker") or "node"
    if kind == "order":
        return f"{body['op']} {subject} on {body['node']}"
    return f"{subject} on {body['node']}  {'done' if body['ok'] else 'not done'}: {body['text']}"
