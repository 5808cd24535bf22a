"""The command that opens the screen in the past: on the history of the state directory, or on a file that a colleague sent."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import click

from opsconsole.cli.output import CommandError, Exit
from opsconsole.cli.past import open_past, span_of, typed_moment
from opsconsole.core.wording import at_text


class Replay(NamedTuple):
    """What the screen shall show: a history, from a moment (epoch seconds) on."""

    path: Path
    stand_at: float


@click.command()
@click.argument("file", required=False, type=click.Path())
@click.option("--at", metavar="TIME", help="Begin at 03:12, 20m (ago; before its end with FILE) or an ISO time. Default: the end.")
@click.pass_obj
def replay(settings, file: str | None, at: str | None) -> int:
    """Open the screen in the past: nothing is asked of any node and nothing can be changed.

    Without FILE the history of the state directory is shown, whether or not a collector runs; with FILE that of a colleague, and no fleet
    file is needed.
    """
    if settings.run_screen is None:
        raise CommandError("there is no screen here; opsconsole status --at TIME prints the past in lines", Exit.USAGE)
    return settings.run_screen(settings, _replay_of(settings, file, at))


def _replay_of(settings, file: str | None, at: str | None) -> Replay:
    """Raises CommandError for a history that cannot be read, or knows nothing of the moment."""
    with open_past(settings, file) as reader:
        kept = span_of(reader)
    path = reader.path
    stand_at = kept[1] if at is None else typed_moment(at, kept[1] if file is not None else time.time())
    if not kept[0] - 1 <= stand_at <= max(kept[1], time.time()):
        words = f"--at {at} is {at_text(stand_at)}; {path} was recorded from {at_text(kept[0])} to {at_text(kept[1])}"
        raise CommandError(words, Exit.USAGE)
    return Replay(path, stand_at)
