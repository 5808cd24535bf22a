"""A real recording of a simulated fleet, replayed: every screen shows at a past second what the live screen drew then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from textual.pilot import Pilot

from opsconsole.control.past import Past
from opsconsole.core.fleet import Fleet
from opsconsole.tui.app import ConsoleApp, Settings
from opsconsole.tui.past import SPAN_S
from opsconsole.tui.sight import Sight
from opsconsole.tui.subject import SERIES, Subject, choices
from tests.tui import fleets, recorded
from tests.tui.shown import console, press, settled, text_of
from tests.tui.standin import StandIn

SIZE = (160, 48)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Fleet]]]:
    path = tmp_path_factory.mktemp("state") / "history.db"
    told = recorded.simulated()
    recorded.record(path, told)
    yield path, told


@asynccontextmanager
async def live_screen(fleet: Fleet, past: Past):
    session = StandIn(fleet)
    app = ConsoleApp(session.attach, Settings("", ""), wall=lambda: fleet.at + 0.4, environ={}, open_past=lambda: past)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        yield app, pilot


def body_of(app: ConsoleApp) -> list[str]:
    """What stands between the two lines at the top and the bars at the foot."""
    lines = text_of(app).splitlines()
    return lines[2:-3]


VIEWS = {"fleet": ("1", "j", "j"), "filter": ("1", "o"), "workers": ("3", "enter", "j"), "map": ("1", "m")}


async def draw_all(app: ConsoleApp, pilot: Pilot) -> dict[str, list[str]]:
    drawn = {}
    for name, keys in VIEWS.items():
        app.set_filter("util>5" if name == "filter" else "")
        await press(pilot, *keys)
        drawn[name] = body_of(app)
    return drawn


@pytest.mark.parametrize("second", [30, recorded.LOST + 20])
async def test_every_screen_shows_what_the_live_one_drew(recording: tuple[Path, list[Fleet]], second: int) -> None:
    path, told = recording
    async with live_screen(told[second], Past(path)) as (app, pilot):
        live = await draw_all(app, pilot)
    async with live_screen(told[-1], Past(path)) as (app, pilot):
        app.travel.go(told[second].at)
        await settled(pilot)
        app.sight = Sight()  # what was chosen live is chosen anew
        app.draw(app.frame)
        for name, drawn in (await draw_all(app, pilot)).items():
            assert len(drawn) > 30 and drawn[:-1] == live[name][: len(drawn) - 1], name  # the time bar takes a line more


async def test_the_node_screen_has_its_last_minutes_of_then(recording: tuple[Path, list[Fleet]]) -> None:
    path, told = recording
    async with live_screen(told[-1], Past(path)) as (app, pilot):
        app.sight.node = "sim-0"
        app.travel.go(told[90].at)
        await press(pilot, "2")
        past = app.screen.query_one("NodeChart").past
        heard = (past.values == past.values).any(axis=0)
        assert past.until - told[90].at < 3 and 40 <= heard.sum() <= 50  # of 90 s, two seconds each
        later = told[recorded.GAP.stop + 60]
        app.travel.go(later.at)
        await settled(pilot)
        past = app.screen.query_one("NodeChart").past
        gap = recorded.BEGAN + recorded.GAP.start + 10, recorded.BEGAN + recorded.GAP.stop - 10
        spans = past.since + SPAN_S * (1 + np.arange(past.values.shape[1]))
        assert np.isnan(past.values[:, (spans > gap[0]) & (spans < gap[1])]).all() and not np.isnan(past.values[:, -20:]).all()


async def test_a_gap_of_the_recording_is_told(recording: tuple[Path, list[Fleet]]) -> None:
    path, told = recording
    async with live_screen(told[-1], Past(path)) as (app, pilot):
        app.travel.go(told[recorded.GAP.start + 30].at)
        await settled(pilot)
        assert app.travel.absence is not None and "nobody recorded from 03:09:27 to 03:10:28 UTC (1 min 1 s)" in text_of(app)
        await press(pilot, "right_square_bracket")
        assert app.frame.fleet.at == told[recorded.GAP.stop].at
        await press(pilot, "full_stop")
        assert app.travel.moment == recorded.BEGAN + 200 and "◆ drain sim-1 by dana" in text_of(app)
        for _ in range(20):
            if app.travel.moment > recorded.BEGAN + recorded.LOST:
                await press(pilot, "comma")
        assert app.travel.moment == recorded.BEGAN + recorded.LOST and "sim-3" in app.notice


async def test_a_chart_of_the_recording(recording: tuple[Path, list[Fleet]]) -> None:
    path, told = recording
    async with live_screen(told[-1], Past(path)) as (app, pilot):
        for keys, of in ((("c",), "mean of the GPUs of"), (("escape", "2", "c"), "GPU 0 of sim-"), (("escape", "3", "c"), "model ")):
            await press(pilot, *keys)
            assert of in text_of(app) and app.screen.drawn.trouble == "" and "┈" in text_of(app)
        subjects = Subject("node", node="sim-0"), Subject("model", name="small")
        of_all = [choice for subject in subjects for choice in choices(app.frame, subject)]
        assert {choice.subject.kind for choice in of_all} == set(SERIES)
        for choice in {choice.series: choice for choice in of_all}.values():
            app.screen._look_at(choice)
            await settled(pilot, 1)
            assert app.screen.drawn.trouble == "" and len(app.screen.drawn.curve.times) > 100, choice


async def test_a_file_alone_is_enough(recording: tuple[Path, list[Fleet]]) -> None:
    path, told = recording
    async with console(None, (120, 40), past=Past(path), stand_at=told[50].at, is_replay=True, environment="") as (app, pilot, session):
        assert "◀ REPLAY" in text_of(app) and app.frame.fleet.at == told[50].at
        assert app.travel.kept == (told[0].at, told[-1].at) and " esc live" not in text_of(app)
        await press(pilot, "D", "L", "enter")
        assert "launch is off: this is the past" in text_of(app) or app.screen.view_name == "node"
        await press(pilot, "escape", "4")
        assert app.travel.is_on and not session.asked and "the history keeps no plans" in text_of(app)
        await press(pilot, "t", *"-1m", "enter")
        assert app.travel.moment == fleets.NOW - 60
