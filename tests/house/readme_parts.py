"""Writes the parts of README that the program knows best: help, exit codes, JSON fields and keys.

Run: python tests/house/readme_parts.py
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
sys.path.insert(0, str(README.parent))


def help_part() -> str:
    from click.testing import CliRunner

    from opsconsole.cli.root import opsconsole

    said = CliRunner().invoke(opsconsole, ["--help"], prog_name="opsconsole", terminal_width=100).output
    return f"```\n{said.rstrip()}\n```"


def exit_codes_part() -> str:
    from opsconsole.cli import output

    told = re.findall(r'    (\w+) = (\d+)\n    """(.+?)"""', inspect.getsource(output.Exit), re.DOTALL)
    rows = [f"| {code} | {' '.join(text.split())} |" for _, code, text in told]
    return "\n".join(["| code | meaning |", "| --- | --- |", *rows])


def json_part() -> str:
    from opsconsole.core import headroom, outlook, wording
    from tests.telemetry import fleet_of, worker_fields

    fleet = fleet_of({"n1": [worker_fields("w1")]})
    kinds = ("node", "gpu", "worker", "model", "site")
    beside = {"model": headroom.MODEL_FIELDS, "site": headroom.SITE_FIELDS}
    fields = {kind: [*getattr(wording, f"{kind}s_json")(fleet)[0], *beside.get(kind, ())] for kind in kinds}
    fields["capacity"] = list(outlook.outlook_json(*outlook.outlook(fleet, what_if="surge 0%")))
    rows = [f"| {kind} | {' '.join(f'`{name}`' for name in names)} |" for kind, names in fields.items()]
    return "\n".join(["| one | has |", "| --- | --- |", *rows])


def keys_part() -> str:
    from opsconsole.tui.actions import ACTIONS, shown

    rows = []
    for action in ACTIONS:
        keys = " ".join(f"`{shown(key)}`" for key in action.keys)
        rows.append(f"| {keys} | `{action.id}` | {action.help} |")
    return "\n".join(["| key | id | does |", "| --- | --- | --- |", *rows])


def worker_options_part() -> str:
    rows = []
    for action in worker_parser()._actions[1:]:  # the first one is --help
        told = " ".join([action.option_strings[-1], *([] if action.nargs == 0 else [action.metavar or action.dest.upper()])])
        rows.append(f"| `{told}` | {(action.help or '') % vars(action)} |")
    return "\n".join(["| option | |", "| --- | --- |", *rows])


def worker_parser():
    from opsconsole.worker import options

    return options.command_line()


PARTS: dict[str, Callable[[], str]] = {
    "help": help_part, "exit-codes": exit_codes_part, "json": json_part, "keys": keys_part, "worker-options": worker_options_part,
}


def part_of(text: str, name: str) -> str:
    """What stands between the marks of a part."""
    return re.search(rf"<!-- {name} -->\n(.*?)\n?<!-- /{name} -->", text, re.DOTALL)[1]


def written(text: str) -> str:
    """README with every part as it should be."""
    for name, make in PARTS.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}{make()}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
