"""What the tests of the screen share: a console on a stand-in session, and the text that is on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.pilot import Pilot

from opsconsole.core.fleet import Fleet
from opsconsole.tui.app import ConsoleApp, Settings
from tests.tui import fleets
from tests.tui.standin import StandIn


@asynccontextmanager
async def console(
    fleet: Fleet | None,
    size: tuple[int, int] = (120, 40),
    *,
    environment: str = "production",
    theme: str = "night",
    read_only: bool = False,
    keys: dict[str, str] | None = None,
    late_s: float = 0.4,
    environ: dict[str, str] | None = None,
    past: object | None = None,
    stand_at: float | None = None,
    is_replay: bool = False,
) -> AsyncIterator[tuple[ConsoleApp, Pilot, StandIn]]:
    session = StandIn(fleet)
    settings = Settings("" if is_replay else "prod-eu-1", environment, theme, keys or {})
    app = ConsoleApp(
        None if is_replay else session.attach, settings, read_only, wall=lambda: fleets.NOW + late_s, environ=environ or {},
        open_past=(lambda: past) if past is not None else None, stand_at=stand_at,
    )
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        yield app, pilot, session


async def settled(pilot: Pilot, rounds: int = 4) -> None:
    """Until what was asked for has been drawn."""
    for _ in range(rounds):
        await pilot.pause()
    loading = [worker for worker in pilot.app.workers if worker.name in ("_load", "read")]
    if loading:
        await pilot.app.workers.wait_for_complete(loading)
    await pilot.pause()


async def press(pilot: Pilot, *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
    await settled(pilot)


def text_of(app: ConsoleApp) -> str:
    """The screen as plain text, one line a row, blanks at the end cut."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line).rstrip() for line in lines) + "\n"
