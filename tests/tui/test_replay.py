"""A real recording of a simulated fleet, replayed: every screen shows at a past second what the live screen drew then."""

from __future__ import annotations

from contextlib import asynccontextmanager

import numpy as np
import pytest
from textual.pilot import Pilot

from opsconsole.control.past import Past
from opsconsole.core.fleet import Fleet
from opsconsole.tui.app import ConsoleApp, Settings
from opsconsole.tui.past import SPAN_S
from opsconsole.tui.sight import Sight
from opsconsole.tui.subject import SERIES, Subject, choices
from tests.history.recorded import GAP_AFTER, GAP_S, SECONDS, Recorded, record
from tests.tui import fleets
from tests.tui.shown import console, press, settled, text_of
from tests.tui.standin import StandIn

SIZE = (160, 48)
START = int(fleets.NOW) - SECONDS - GAP_S
END = START + SECONDS + GAP_S - 1
VIEWS = {"fleet": ("1", "j", "j"), "filter": ("1", "o"), "workers": ("3", "enter", "j"), "map": ("1", "m")}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """180 seconds with a minute in which nobody recorded; n3 is lost in the ten seconds before it."""
    return record(tmp_path_factory.mktemp("night"), START)


@asynccontextmanager
async def live_screen(night: Recorded, fleet: Fleet):
    session = StandIn(fleet)
    app = ConsoleApp(session.attach, Settings("", ""), wall=lambda: fleet.at + 0.4, environ={}, open_past=lambda: Past(night.file))
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        yield app, pilot


async def draw_all(app: ConsoleApp, pilot: Pilot) -> dict[str, list[str]]:
    """What each view has between the two lines at the top and the bars at the foot."""
    drawn = {}
    for name, keys in VIEWS.items():
        app.set_filter("util>5" if name == "filter" else "")
        await press(pilot, *keys)
        drawn[name] = text_of(app).splitlines()[2:-3]
    return drawn


@pytest.mark.parametrize("second", [30, GAP_AFTER - 3])
async def test_every_screen_shows_what_the_live_one_drew(night: Recorded, second: int) -> None:
    then = night.fleets[START + second]
    async with live_screen(night, then) as (app, pilot):
        live = await draw_all(app, pilot)
    async with live_screen(night, night.fleets[END]) as (app, pilot):
        app.travel.go(then.at)
        await settled(pilot)
        app.sight = Sight()  # what was chosen live is chosen anew
        app.draw(app.frame)
        for name, drawn in (await draw_all(app, pilot)).items():
            assert len(drawn) > 30 and drawn[:-1] == live[name][: len(drawn) - 1], name  # the time bar takes a line more


async def test_the_node_screen_has_the_last_minutes_of_then(night: Recorded) -> None:
    async with live_screen(night, night.fleets[END]) as (app, pilot):
        app.sight.node = "n1"
        app.travel.go(START + 90)
        await press(pilot, "2")
        past = app.screen.query_one("NodeChart").past
        heard = (past.values == past.values).any(axis=0)
        assert 0 <= START + 90 - past.until < 2 * SPAN_S and 40 <= heard.sum() <= 50  # of 90 s, two seconds each
        app.travel.go(END - 10)
        await settled(pilot)
        past = app.screen.query_one("NodeChart").past
        spans = past.since + SPAN_S * (1 + np.arange(past.values.shape[1]))
        inside = (spans > night.gap[0] + 6) & (spans < night.gap[1] - 6)
        assert np.isnan(past.values[:, inside]).all() and not np.isnan(past.values[:, -20:]).all()


async def test_a_gap_of_the_recording_is_told(night: Recorded) -> None:
    async with live_screen(night, night.fleets[END]) as (app, pilot):
        app.travel.go(night.gap[0] + 30)
        await settled(pilot)
        assert app.travel.absence is not None and "nobody recorded from 03:10:46 to 03:11:47 UTC (1 min 1 s)" in text_of(app)
        await press(pilot, "right_square_bracket")
        assert app.frame.fleet.at == night.gap[1]
        for _ in range(40):
            if app.travel.moment > START + 30:
                await press(pilot, "comma")
        assert app.travel.moment == START + 30 and "◆ drain llama-1 on n1: fan is loud by ann@laptop" in app.notice
        while app.travel.moment < START + GAP_AFTER - 10:
            await press(pilot, "full_stop")
        assert app.travel.moment == START + GAP_AFTER - 10 and "n3" in app.notice


async def test_a_chart_of_all_that_is_recorded(night: Recorded) -> None:
    async with live_screen(night, night.fleets[END]) as (app, pilot):
        for keys, of in ((("c",), "mean of the GPUs of"), (("escape", "2", "c"), "GPU 0 of n"), (("escape", "3", "c"), "model ")):
            await press(pilot, *keys)
            assert of in text_of(app) and app.screen.drawn.trouble == "" and "┈" in text_of(app)
        subjects = Subject("node", node="n1"), Subject("model", name="llama")
        of_all = [choice for subject in subjects for choice in choices(app.frame, subject)]
        assert {choice.subject.kind for choice in of_all} == set(SERIES)
        for choice in {choice.series: choice for choice in of_all}.values():
            app.screen._look_at(choice)
            await settled(pilot, 1)
            assert app.screen.drawn.trouble == "" and len(app.screen.drawn.curve.times) > 100, choice


async def test_a_file_alone_is_enough(night: Recorded) -> None:
    past = Past(night.file)
    async with console(None, (120, 40), past=past, stand_at=START + 50.0, is_replay=True, environment="") as (app, pilot, session):
        assert "◀ REPLAY" in text_of(app) and app.frame.fleet.at == START + 50 and "lab › Fleet" in text_of(app)
        assert app.travel.kept == (START, END) and " esc live" not in text_of(app)
        await press(pilot, "L")
        assert "launch is off: this is the past" in text_of(app)
        await press(pilot, "enter", "escape")
        assert app.travel.is_on and app.screen.view_name == "fleet"
        await press(pilot, "4")
        assert not session.asked and "the history keeps no plans" in text_of(app)
        await press(pilot, "t", *"-1m", "enter")
        assert app.travel.moment == END - 60
