"""How a command gets its session: the fleet file and state directory found, their failures told as sentences."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opsconsole.cli.output import CommandError, Exit, narrate

if TYPE_CHECKING:
    from pathlib import Path

    from opsconsole.cli.root import Settings
    from opsconsole.config import Config
    from opsconsole.control.session import Session
    from opsconsole.core.fleet import Fleet

NAMED_LIMIT = 5
"""Silent nodes that are named one by one."""


def config_path(settings: Settings) -> Path:
    """The fleet file: flag, else environment, else the default place. It need not exist."""
    from opsconsole.config import find_config

    return find_config(settings.config, os.environ)


def read_fleet_file(settings: Settings) -> Config:
    """The fleet file's values. Raises CommandError, naming file, line and key."""
    from opsconsole.config import ConfigError, read_config

    try:
        return read_config(config_path(settings))
    except ConfigError as error:
        raise CommandError(str(error), Exit.USAGE) from None


def read_fleet_file_if_any(settings: Settings) -> Config | None:
    """The fleet file's values; None where there is none, or it cannot be read: for what can do without it."""
    try:
        return read_fleet_file(settings)
    except CommandError:
        return None


def locate(settings: Settings) -> tuple[Path, Path]:
    """The fleet file and the state directory. Reads the file only where the directory is named after the fleet. Raises CommandError."""
    from opsconsole.config import find_state_dir

    named = settings.state_dir or os.environ.get("OPSCONSOLE_STATE_DIR")
    fleet_name = "" if named else read_fleet_file(settings).fleet_name
    return config_path(settings), find_state_dir(settings.state_dir, os.environ, fleet_name)


@contextmanager
def open_session(settings: Settings) -> Iterator[Session]:
    """A session with the collector, closed at the end. Raises CommandError for whatever keeps it from working."""
    from opsconsole.control.session import SessionError, attach

    path, state_dir = locate(settings)
    try:
        with attach(path, state_dir) as session:
            yield session
    except SessionError as error:
        raise CommandError(str(error), error.exit_code) from None


def tell_silent(fleet: Fleet, rows: list[int], what: str = "do not answer") -> Exit:
    """Says on stderr which of the given nodes do not answer (or did not, then); PARTIAL when there is one."""
    from opsconsole.core.fleet import REACH_WORDS

    silent = [row for row in rows if not fleet.answering[row]]
    if not silent:
        return Exit.DONE
    named = ", ".join(f"{fleet.roster.nodes[row].name} ({REACH_WORDS[fleet.reach[row]]})" for row in silent[:NAMED_LIMIT])
    more = f" and {len(silent) - NAMED_LIMIT} more" if len(silent) > NAMED_LIMIT else ""
    narrate(f"{len(silent)} of {len(rows)} nodes {what}: {named}{more}")
    return Exit.PARTIAL

