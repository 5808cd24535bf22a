"""Screens of the past and charts as plain text; see test_snapshots for how they are stored."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from opsconsole.tui.app import ConsoleApp
from opsconsole.tui.sight import Sight
from tests.tui import fleets
from tests.tui.pasts import GAP, NOW, MadeUp
from tests.tui.shown import console, press, settled, text_of
from tests.tui.test_snapshots import check

SIZES = ((80, 24), (120, 40), (200, 50))
STATES: dict[str, tuple[float | None, tuple[str, ...]]] = {
    "replay": (NOW - 1380, ()),
    "replay-playing": (NOW - 1380, ("space", "plus", "plus")),
    "replay-node": (NOW - 1380, ("n", "m", "2")),
    "replay-gap": (GAP[0] + 60, ()),
    "time-prompt": (NOW - 1380, ("t", *"-2h3m")),
    "chart": (None, ("n", "n", "m", "2", "c")),
    "chart-versus-day": (NOW - 1380, ("3", "c", "w", "y", "y", "v", *"ttft", "enter")),
    "chart-list": (None, ("3", "c", "m", *"que")),
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_past(size: tuple[int, int]) -> None:
    async with console(fleets.alarm(), size, past=MadeUp()) as (app, pilot, _):
        for state, (moment, keys) in STATES.items():
            await begin(app, pilot, moment)
            await press(pilot, *keys)
            if app.travel.is_playing:
                app.travel._timer.pause()
                app.travel.go(NOW - 1370)
                await settled(pilot)
            shown = text_of(app)
            assert len(shown.splitlines()) == size[1]
            assert all(cell_len(line) <= size[0] for line in shown.splitlines())
            assert ("REPLAY" in shown.splitlines()[0]) == (moment is not None)
            check(f"{state}_{size[0]}x{size[1]}", shown)


async def begin(app: ConsoleApp, pilot: Pilot, moment: float | None) -> None:
    """As if it had just been opened, and gone to a moment."""
    if app.screen is not app.view:
        app.pop_screen()
    app.travel.leave()
    app.open_view("fleet")
    app.sight = Sight()
    app.travel.speed = 1
    app.say("")
    app.draw_live()
    await settled(pilot)
    if moment is not None:
        app.travel.go(moment)
        await settled(pilot)


async def test_a_file_alone_has_its_banner_too() -> None:
    async with console(None, (80, 24), past=MadeUp(), stand_at=NOW - 1380, is_replay=True, theme="mono") as (app, _, _):
        shown = text_of(app)
    check("replay-file_80x24", shown)
