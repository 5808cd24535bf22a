"""The console on a stand-in session, as a program of its own for tests that need a real terminal: python -m tests.tui.program FLEET."""

from __future__ import annotations

import sys

from opsconsole.tui.app import Settings
from opsconsole.tui.start import make_app, run_app
from tests.tui import fleets
from tests.tui.standin import StandIn

if __name__ == "__main__":
    session = StandIn(getattr(fleets, sys.argv[1])())
    sys.exit(run_app(make_app(session.attach, Settings(session.fleet.roster.fleet_name, "staging", ""), wall=lambda: fleets.NOW)))
