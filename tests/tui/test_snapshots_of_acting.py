"""Confirming, the plans screen and what it says elsewhere, as plain text compared with stored files (see test_snapshots)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.cells import cell_len

from opsconsole.core.run import Run
from opsconsole.core.steps import Plan
from tests.tui import doings, fleets
from tests.tui.shown import console, press, text_of
from tests.tui.test_snapshots import SIZES, check

PLANS: dict[str, tuple[Callable[[], list[Run]], tuple[str, ...]]] = {
    "plans-empty": (list, ("4",)),
    "plans-open": (lambda: [doings.open_run(), *doings.done_runs()], ("4",)),
    "plans-interrupted": (doings.all_runs, ("4",)),
    "plans-failed": (lambda: [doings.failed_run(), *doings.done_runs()], ("4", "enter")),
    "interrupted-told": (doings.all_runs, ()),
    "resume": (doings.all_runs, ("4", "enter")),
}
CONFIRMS: dict[str, tuple[Callable[[], Plan | None], tuple[str, ...]]] = {
    "confirm-rollout": (doings.rollout_plan, ("O", *"/models/llama-8b-r2", "tab", "tab", "right")),
    "confirm-rollout-details": (doings.rollout_plan, ("O", *"r2", "shift+tab", "d")),
    "confirm-refused": (doings.refused_plan, ("D",)),
    "confirm-typed": (lambda: None, ("D", *"h200-001")),
    "confirm-copied": (lambda: None, ("D", "tab", "c")),
}


@pytest.mark.parametrize("state", PLANS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_runs(state: str, size: tuple[int, int]) -> None:
    make, keys = PLANS[state]
    async with console(fleets.alarm(), size) as (app, pilot, session):
        session.known = make()
        await app.acting.look()
        await press(pilot, *keys)
        check(f"{state}_{size[0]}x{size[1]}", _whole(app, size))


@pytest.mark.parametrize("state", CONFIRMS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_confirm(state: str, size: tuple[int, int]) -> None:
    make, keys = CONFIRMS[state]
    async with console(fleets.calm(), size) as (app, pilot, session):
        session.made = make()
        await press(pilot, *keys)
        check(f"{state}_{size[0]}x{size[1]}", _whole(app, size))


def _whole(app, size: tuple[int, int]) -> str:
    shown = text_of(app)
    assert len(shown.splitlines()) == size[1]
    assert all(cell_len(line) <= size[0] for line in shown.splitlines())
    return shown
