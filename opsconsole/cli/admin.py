"""The commands around the fleet file: write a first one, check it, show what it means, tell where it is."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import click

from opsconsole.cli.output import CommandError, Exit, narrate, print_data, print_json
from opsconsole.cli.session import config_path, locate, read_fleet_file


@click.group()
def config() -> None:
    """Write, check and show the fleet file."""


@config.command("path")
@click.pass_obj
def path_command(settings) -> None:
    """Print where the fleet file is, or would be."""
    print_data(str(config_path(settings)))


@config.command()
@click.pass_obj
def check(settings) -> None:
    """Read the fleet file and say what is wrong with it, with file, line and key."""
    from opsconsole.config import ConfigError
    from opsconsole.control import extensions

    found = read_fleet_file(settings)
    try:
        extensions.check(found, extensions.load_plugins(found), locate(settings)[1])
    except ConfigError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    counts = ", ".join(f"{len(getattr(found, kind))} {kind}" for kind in ("sites", "nodes", "models"))
    print_data(f"{found.path}: good; {counts}, environment {found.environment!r}")


@config.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def show(settings, as_json: bool) -> None:
    """Show what the fleet file means: every value, host lists written out."""
    value = _plain(read_fleet_file(settings))
    if as_json:
        print_json(value)
    else:
        import json

        print_data(json.dumps(value, indent=2))


@config.command()
@click.option("--from", "ssh_config", type=click.Path(), default="~/.ssh/config", show_default=True,
               help="The ssh config to take hosts from.")
@click.option("--force", is_flag=True, help="Replace a fleet file that is there.")
@click.pass_obj
def init(settings, ssh_config: str, force: bool) -> None:
    """Write a commented fleet file with the hosts of an ssh config, for you to prune."""
    from opsconsole.config import ConfigError, starter

    path = config_path(settings)
    if path.exists() and not force:
        raise CommandError(f"{path} exists; --force replaces it", Exit.USAGE)
    try:
        text = starter(Path(ssh_config).expanduser())
        _write_private(path, text)
    except ConfigError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}", Exit.FAILED) from None
    print_data(str(path))
    narrate("written; prune it, then: opsconsole config check && opsconsole doctor")


def _write_private(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others in between."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.repr}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
