"""Which plugins are installed, what each adds, and why one is off."""

from __future__ import annotations

from time import time

import click

from opsconsole.cli.output import Exit, narrate, print_data, print_json
from opsconsole.cli.session import locate, read_fleet_file
from opsconsole.cli.table import Column, table, terminal_width
from opsconsole.core.wording import at_text

COLUMNS = (
    Column("PLUGIN", lambda row: row["name"]), Column("VERSION", lambda row: row["version"]), Column("STATE", lambda row: row["state"]),
    Column("ADDS", lambda row: ", ".join(row["adds"]), optional=True), Column("WHY NOT", lambda row: row["reason"], optional=True),
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def plugins(settings, as_json: bool) -> int:
    """List the plugins that are installed: version, state, what each adds, and why one is off."""
    from opsconsole.config import ConfigError
    from opsconsole.control.extensions import check, load_plugins

    config = read_fleet_file(settings)
    loaded = load_plugins(config)
    rows = [found._asdict() for found in loaded.found]
    if as_json:
        print_json({"at": at_text(time()), "plugins": rows})
    else:
        print_data("\n".join(table(COLUMNS, rows, terminal_width())) if rows else "no plugins are installed")
    try:
        check(config, loaded, locate(settings)[1])
    except ConfigError as error:
        narrate(str(error))
        return Exit.FAILED
    return Exit.DONE
