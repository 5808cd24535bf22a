"""The screens as plain text, compared with stored files. OPSCONSOLE_UPDATE_SNAPSHOTS=1 writes them anew: then read the difference."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.tui import fleets
from tests.tui.shown import console, press, text_of

STORED = Path(__file__).parent / "snapshots"
SIZES = ((80, 24), (120, 40), (160, 50), (200, 50))
STATES = {
    "calm": (fleets.calm, ()),
    "alarm": (fleets.alarm, ()),
    "lost": (fleets.lost, ()),
    "empty": (fleets.empty, ()),
    "connecting": (fleets.connecting, ()),
    "waiting": (lambda: None, ()),
    "node": (fleets.alarm, ("n", "n", "m", "enter")),
    "node-lost": (fleets.lost, ("enter",)),
    "workers": (fleets.alarm, ("3", "enter")),
    "confirm": (fleets.calm, ("D",)),
    "help": (fleets.calm, ("?",)),
    "palette": (fleets.calm, (":", "d", "r")),
    "alarms": (fleets.taken, ("6", "j")),
    "alarms-silence": (fleets.taken, ("6", "i")),
    "alarms-none": (fleets.calm, ("6",)),
    "filter": (fleets.calm, ("/", *"util>80")),
    "marked": (fleets.calm, ("space", "space")),
}


def check(name: str, shown: str) -> None:
    path = STORED / f"{name}.txt"
    if os.environ.get("OPSCONSOLE_UPDATE_SNAPSHOTS"):
        STORED.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert path.exists(), f"{path.name} is not stored yet: run once with OPSCONSOLE_UPDATE_SNAPSHOTS=1 and read it"
    assert shown == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_screen(state: str, size: tuple[int, int]) -> None:
    make, keys = STATES[state]
    async with console(make(), size) as (app, pilot, _):
        await press(pilot, *keys)
        shown = text_of(app)
    assert len(shown.splitlines()) == size[1]
    assert all(cell_len(line) <= size[0] for line in shown.splitlines())
    check(f"{state}_{size[0]}x{size[1]}", shown)


NAMES = ("ams1-h100-a", "ams1-h100-b", "dc1-rack04-gpu-node-0007.cluster.example", "dc1-rack04-gpu-node-0008.cluster.example", "gpu-7")


@pytest.mark.parametrize(("names", "keys"), [(NAMES[:2], ()), (NAMES, ()), (NAMES, ("3", "enter"))])
@pytest.mark.parametrize("size", SIZES[:3:2], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_names_that_begin_alike_can_be_told_apart(names: tuple[str, ...], keys: tuple[str, ...], size: tuple[int, int]) -> None:
    async with console(fleets.calm(len(names), names=names), size) as (app, pilot, _):
        await press(pilot, *keys)
        shown = text_of(app)
    assert "ams1-h100-a " in shown and "ams1-h100-b " in shown or keys
    check(f"{'workers-of-' * bool(keys)}{len(names)}-names_{size[0]}x{size[1]}", shown)


async def test_stale_screen_says_so() -> None:
    async with console(fleets.calm(), (120, 40), late_s=9.0) as (app, _, _):
        shown = text_of(app)
    assert "STALE 9 s" in shown and "LIVE  " not in shown.splitlines()[0]
    check("stale_120x40", shown)


async def test_lost_collector_is_said_and_the_last_values_stay() -> None:
    async with console(fleets.calm(), (120, 40)) as (app, pilot, session):
        session.on_lost("the collector has ended")
        await pilot.pause()
        shown = text_of(app)
    assert "NO COLLECTOR" in shown and "the collector has ended" in shown and "h200-001" in shown
    check("no_collector_120x40", shown)


@pytest.mark.parametrize("theme", ["mono", "16-colour"])
async def test_looks_without_a_ramp(theme: str) -> None:
    async with console(fleets.alarm(), (120, 40), theme=theme) as (app, _, _):
        shown = text_of(app)
    assert all(glyph in shown for glyph in "●◐▽▲◌✖")
    check(f"{theme}_120x40", shown)
