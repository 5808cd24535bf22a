"""The command that opens the screen in the past: on the history of the state directory, or on a file that a colleague sent."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import click

from opsconsole.cli.moments import moment
from opsconsole.cli.output import CommandError, Exit
from opsconsole.cli.session import locate
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
    from opsconsole.control.past import HistoryError, Past
    from opsconsole.control.places import history_path

    path = Path(file) if file is not None else history_path(locate(settings)[1])
    if not path.is_file():
        raise CommandError(f"there is no history at {path}", Exit.USAGE if file is not None else Exit.FAILED)
    past = Past(path)
    try:
        kept = past.reader.span()
    except HistoryError as error:
        raise CommandError(str(error)) from None
    finally:
        past.reader.close()
    if kept is None:
        raise CommandError(f"nothing is recorded in {path} yet")
    stand_at = kept[1] if at is None else _moment(at, kept[1] if file is not None else time.time())
    if not kept[0] - 1 <= stand_at <= max(kept[1], time.time()):
        words = f"--at {at} is {at_text(stand_at)}; {path} was recorded from {at_text(kept[0])} to {at_text(kept[1])}"
        raise CommandError(words, Exit.USAGE)
    return Replay(path, stand_at)


def _moment(text: str, now: float) -> float:
    try:
        return moment(text.strip().removeprefix("-"), now)
    except ValueError as error:
        raise CommandError(str(error), Exit.USAGE) from None
