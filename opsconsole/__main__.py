"""The roof: puts the two fronts together; the screen is imported only when it is wanted."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from opsconsole.cli.root import Settings, run

if TYPE_CHECKING:
    from opsconsole.cli.replay import Replay


def main() -> int:
    """The program `opsconsole`; returns its exit code."""
    return run(sys.argv[1:], _run_screen)


def _run_screen(settings: Settings, replay: Replay | None = None) -> int:
    from opsconsole.cli.session import locate, read_fleet_file, read_fleet_file_if_any
    from opsconsole.tui.start import run_replay, run_tui

    if replay is not None:
        return run_replay(replay.path, replay.stand_at, read_fleet_file_if_any(settings))
    return run_tui(read_fleet_file(settings), locate(settings)[1], settings.read_only)


if __name__ == "__main__":
    sys.exit(main())
