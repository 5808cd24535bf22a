"""The commands of a post-mortem: cut a span of the past into one file for others, and tell what is in such a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from opsconsole.cli.output import CommandError, Exit, Progress, narrate, print_data, print_json
from opsconsole.cli.past import history_file, open_past, typed_span
from opsconsole.core.text import clean
from opsconsole.core.wording import age_text, at_text


@click.group()
def incident() -> None:
    """Cut a span of the past into a file for others, and look into one."""


@incident.command()
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--from", "since", required=True, metavar="TIME", help="03:12, 20m (ago) or an ISO time.")
@click.option("--to", "until", default="now", show_default=True, metavar="TIME", help="The same, or now.")
@click.option("--node", "nodes", multiple=True, help="Only this node; may be given again.")
@click.option("--redact", is_flag=True, help="Without people, too: names become operator-1, their words and programs' names go.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def save(settings, target: Path, since: str, until: str, nodes: Sequence[str], redact: bool, force: bool, as_json: bool) -> int:
    """Write history, events, audit rows and runs of a span to FILE, without secrets and addresses."""
    from opsconsole.control.incident import Cut, save_incident

    start, end = typed_span(since, until)
    with open_past(settings) as reader:
        _check_nodes(reader, nodes, end)
        counts = save_incident(reader, target, Cut(start, end, tuple(nodes), not redact), force, Progress("seconds written"))
    if as_json:
        print_json({
            "file": str(target), "bytes": target.stat().st_size, "since": at_text(start), "until": at_text(end), "seconds": counts.seconds,
            "events": counts.marks, "audit_rows": counts.audit_rows, "runs": counts.runs,
        })
    else:
        print_data(str(target))
    said = f"{counts.seconds} seconds, {counts.marks} events, {counts.audit_rows} audit rows, {counts.runs} runs"
    narrate(f"{said}, {target.stat().st_size} bytes; look into it with: opsconsole incident show {target}")
    return Exit.DONE


def _check_nodes(reader, nodes: Sequence[str], end: float) -> None:
    if not nodes:
        return
    known = [node.name for node in reader.at(end).roster.nodes]
    for name in nodes:
        if name not in known:
            raise CommandError(f"there was no node {name!r} at the end of that span; there were {', '.join(known[:5])} …", Exit.USAGE)


@incident.command()
@click.argument("file", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def show(settings, file: str, as_json: bool) -> int:
    """Check a history FILE from elsewhere and tell what is in it."""
    from opsconsole.control import archive

    with open_past(settings, file) as reader:
        found = archive.contents(reader)
    if as_json:
        print_json(found | {"since": at_text(found["since"]), "until": at_text(found["until"])})
        return Exit.DONE
    path = history_file(settings, file)
    lines = [
        f"{path}: a history of {found['fleet'] or 'a fleet'}, whole",
        f"span     {at_text(found['since'])} to {at_text(found['until'])} ({age_text(found['until'] - found['since'])}), "
        f"{found['seconds']} seconds recorded",
        f"fleet    {found['nodes']} nodes, {found['gpus']} GPUs, {found['workers']} workers at its end",
        f"events   {found['events']}; audit rows {found['audit_rows']}, runs {found['runs']}",
        *([f"removed  {found['removed']}"] if found["removed"] else []),
        f"see it   opsconsole replay {path}",
        f"         opsconsole status --file {path} --at '{at_text(found['since'])}'",
    ]
    print_data("\n".join(clean(line, 400) for line in lines))
    return Exit.DONE
