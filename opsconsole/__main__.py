"""The roof: puts the two fronts together; the screen is imported only when it is wanted."""

from __future__ import annotations

import sys

from opsconsole.cli.root import Settings, run


def main() -> int:
    """The program `opsconsole`; returns its exit code."""
    return run(sys.argv[1:], _run_screen)


def _run_screen(settings: Settings) -> int:
    from opsconsole.cli.session import locate, read_fleet_file
    from opsconsole.tui.start import run_tui

    return run_tui(read_fleet_file(settings), locate(settings)[1], settings.read_only)


if __name__ == "__main__":
    sys.exit(main())
