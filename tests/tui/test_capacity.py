"""The capacity screen and the panel of what becomes of a model: as stored text, and what their keys do."""

import asyncio
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from opsconsole.core.burn import Burn
from opsconsole.core.fleet import Cordoned
from opsconsole.core.forecast import Forecast
from opsconsole.core.learned import Learned
from opsconsole.core.serving import rates_now
from tests.tui import fleets
from tests.tui.shown import console, press, settled, text_of
from tests.tui.test_snapshots import check
from tests.watched import SITES, Watched

SIZES = ((80, 24), (160, 48))


@cache
def simulated():
    """Eight simulated nodes at work; one is cordoned, and one site is near the end of its power."""
    watched = Watched(8, at=fleets.NOW - 31.0, sites=(replace(SITES[0], power_budget_kw=12.0, node_overhead_w=300.0), SITES[1]))
    fleet = watched.run(30)
    return replace(fleet, cordons={6: Cordoned("a fan fails", "ana", fleet.at - 600)})


@cache
def lessons():
    """A day of history in which chat rises to twice what it is asked for."""
    fleet = simulated()
    times = fleet.at + 600.0 * np.arange(1, 37)
    mean = 20_000 * np.linspace(0.6, 1.6, 36)
    chat = Forecast(times, mean, 0.9 * mean, 1.1 * mean, "season", 4.2, 83.0, 800)
    burns = (Burn(300.0, 300.0, 0.142), Burn(3600.0, 3600.0, 0.02), Burn(21600.0, 21600.0, 0.01), Burn(86400.0, 86400.0, 0.004))
    return Learned(fleet.at - 86400, fleet.at, rates_now(fleet), {"chat": chat}, burns={"chat": burns})


async def shown(size, *keys, learned=None, fleet=None):
    async with console(fleet or simulated(), size) as (app, pilot, _):
        app.foresight.learned = learned or app.foresight.learned
        await press(pilot, *keys)
        return text_of(app)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(("name", "keys"), [("capacity", ("5",)), ("what-if", ("5", "f", *"lose site fra1", "enter"))])
async def test_the_capacity_screen(size, name, keys):
    check(f"{name}_{size[0]}x{size[1]}", await shown(size, *keys, learned=lessons()))


async def test_it_says_what_ends_first_what_is_stranded_and_what_it_costs():
    text = await shown((160, 48), "5", learned=lessons())
    for words in ("chat: its", "full in", "cordoned by ana: a fan fails", "opsconsole uncordon", "by midnight", "off by 4%", "14.2x"):
        assert words in text, words


async def test_the_panel_says_when_the_budget_is_empty_and_what_helps():
    text = await shown((160, 48), "5", "g", "enter", learned=lessons())
    for words in ("IF YOU DO NOTHING", "error budget empty at", "burn 14.2 x", "L launch: no room: no node has 4 free", "R rebalance:"):
        assert words in text, words
    assert "not known yet, nothing recorded" in await shown((160, 48), "3")


async def test_a_what_if_that_cannot_be_imagined_is_refused_where_it_was_typed_and_escape_takes_one_off():
    async with console(simulated(), (120, 40)) as (app, pilot, _):
        await press(pilot, "5", "f", *"lose site moon", "enter")
        assert "✖ no site is called 'moon'" in text_of(app) and app.foresight.what_if == ""
        await press(pilot, *["backspace"] * 4, *"fra1", "enter")
        assert "what if lose site fra1" in text_of(app) and "BEFORE AND AFTER" in text_of(app)
        await press(pilot, "escape")
        assert "WHAT ENDS FIRST" in text_of(app) and app.screen.view_name == "capacity"
        await press(pilot, "j", "enter")
        assert app.screen.view_name == "workers"
        await press(pilot, "5", "escape")
        assert app.screen.view_name == "fleet"


async def test_history_is_learned_from_beside_the_loop_and_only_now_and_then():
    asked = []

    def learn(fleet):
        asked.append(fleet.at)
        return lessons()

    async with console(simulated(), (120, 40)) as (app, pilot, session):
        app.foresight._learn = learn
        app.tick()
        await settled(pilot)
        await app.workers.wait_for_complete()
        assert asked == [simulated().at] and app.foresight.learned is lessons()
        app.tick()
        session.on_fleet(replace(simulated(), at=simulated().at + 61))
        await settled(pilot)
        app.tick()
        async with asyncio.timeout(5):
            while len(asked) < 2:
                await asyncio.sleep(0.01)
    assert len(asked) == 2


@pytest.mark.parametrize("make", [fleets.hostile, fleets.lost, fleets.empty, fleets.connecting, lambda: None])
async def test_no_fleet_breaks_the_screen(make):
    fleet = make()
    for keys in (("5",), ("5", "i", *"surge 10%", "enter"), ("3",)):
        async with console(fleet, (120, 40)) as (app, pilot, _):
            await press(pilot, *keys)
            assert len(text_of(app).splitlines()) == 40
