"""The console's commands in an answer, and whether the console would take them."""

import re
import shlex

from opsconsole.cli.root import opsconsole
from opsconsole.core.filter import parse
from opsconsole.history.catalog import METRICS

COMMAND = re.compile(r"`opsconsole ([^`]*)`")


def commands_in(text):
    """Every command between backticks, without its first word. Raises click.ClickException, ValueError or KeyError for a wrong one."""
    commands = COMMAND.findall(text)
    for command in commands:
        name, *arguments = shlex.split(command)
        with opsconsole.get_command(None, name).make_context(name, arguments) as context:
            parse(context.params.get("expression") or "")
            if name == "history":
                METRICS[context.params["series"]]
    return commands
