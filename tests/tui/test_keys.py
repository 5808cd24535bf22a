"""Keys as a person presses them, and what they ask of the session."""

from __future__ import annotations

import asyncio

import pytest

from opsconsole.core.steps import Drain, Launch
from opsconsole.tui.looks import DAY
from opsconsole.tui.widgets.fleet_map import FleetMap
from tests.tui import fleets
from tests.tui.shown import console, press, settled, text_of


async def test_moving_keeps_inside_the_list() -> None:
    async with console(fleets.calm()) as (app, pilot, _):
        first = app.sight.node
        await press(pilot, "k")
        assert app.sight.node == first
        await press(pilot, "j", "j")
        assert app.sight.place(app.frame) == 2
        await press(pilot, "G")
        assert app.sight.place(app.frame) == 23
        await press(pilot, "home")
        assert app.sight.node == first
        await press(pilot, "ctrl+d")
        assert app.sight.place(app.frame) > 3
        await press(pilot, "pageup")
        assert app.sight.node == first


async def test_the_chosen_node_stays_chosen_when_the_order_changes() -> None:
    async with console(fleets.calm()) as (app, pilot, session):
        await press(pilot, "j", "j", "j")
        chosen = app.sight.node
        session.on_fleet(fleets.alarm())
        await settled(pilot)
        assert app.sight.node == chosen


async def test_next_problem_goes_through_the_alarms() -> None:
    async with console(fleets.alarm()) as (app, pilot, _):
        seen = []
        for _ in range(3):
            await press(pilot, "n")
            seen.append(app.sight.node)
        assert seen == ["h100-010", "h200-008", "h100-015"]


async def test_enter_and_escape_between_screens() -> None:
    async with console(fleets.calm()) as (app, pilot, _):
        await press(pilot, "enter")
        assert app.screen.view_name == "node" and app.sight.node in text_of(app)
        await press(pilot, "escape")
        assert app.screen.view_name == "fleet"
        await press(pilot, "3")
        assert app.screen.view_name == "workers"
        await press(pilot, "2")
        assert app.screen.view_name == "node"
        await press(pilot, "1")
        assert app.screen.view_name == "fleet"


async def test_workers_lead_to_their_node() -> None:
    async with console(fleets.calm()) as (app, pilot, _):
        await press(pilot, "3", "j", "enter", "j")
        worker = app.sight.worker
        await press(pilot, "enter")
        assert app.screen.view_name == "node"
        assert app.sight.node == next(known.node for known in app.frame.fleet.workers if known.name == worker)


async def test_metric_and_sort_change_what_is_shown() -> None:
    async with console(fleets.calm()) as (app, pilot, _):
        before = text_of(app)
        await press(pilot, "m")
        assert "temp °C" in text_of(app) and app.sight.metric == "temp"
        await press(pilot, "o", "o")
        assert "by util" in text_of(app) and text_of(app) != before


async def test_filter_follows_each_key_and_says_what_is_wrong() -> None:
    async with console(fleets.calm()) as (app, pilot, _):
        await press(pilot, "/", *"chip:H200")
        assert "8 of 24 nodes" in text_of(app)
        await press(pilot, "enter")
        assert len(app.sight.rows(app.frame)) == 8 and "filter chip:H200" in text_of(app)
        await press(pilot, "escape")
        assert len(app.sight.rows(app.frame)) == 24
        await press(pilot, "/", *"nonsense>>")
        assert "✖" in text_of(app).splitlines()[-1]
        await press(pilot, "enter")
        assert "✖" in text_of(app).splitlines()[-1]  # a filter that can not be read is not kept
        await press(pilot, "escape")
        assert app.sight.filter.text == ""


async def test_inverted_filter_terms() -> None:
    async with console(fleets.calm()) as (app, pilot, _):
        await press(pilot, "/", *"site:ams1 !chip:H200", "enter")
        chips = {app.frame.roster.nodes[row].chip for row in app.sight.rows(app.frame)}
        assert chips == {"H100"}


async def test_drain_needs_the_name_in_production() -> None:
    async with console(fleets.calm()) as (app, pilot, session):
        node = app.sight.node
        await press(pilot, "D")
        assert session.asked == [Drain(targets=(node,))] and f"type {node} to confirm" in text_of(app)
        await press(pilot, "enter")
        assert not session.acted
        await press(pilot, *node, "enter")
        assert session.acted == [Drain(targets=(node,))]
        assert "✔ done · 2 of 2" in text_of(app) and "stopped, 0 requests lost" in text_of(app)
        await press(pilot, "escape")
        assert app.acting.shown is None and "✔ done" not in text_of(app)


async def test_drain_outside_production_takes_one_enter() -> None:
    async with console(fleets.calm(), environment="staging") as (_, pilot, session):
        await press(pilot, "D", "enter")
        assert len(session.acted) == 1


async def test_marks_are_drained_together() -> None:
    async with console(fleets.calm(), environment="staging") as (app, pilot, session):
        await press(pilot, "space", "space")
        assert "◆ 2 marked" in text_of(app)
        marked = tuple(sorted(app.sight.marked))
        await press(pilot, "D", "escape")
        assert session.asked == [Drain(targets=marked)] and not session.acted
        await press(pilot, "escape")
        assert not app.sight.marked


async def test_a_refused_plan_can_not_be_confirmed() -> None:
    async with console(fleets.calm(), environment="staging") as (app, pilot, session):
        session.refusal = "1 of 2 workers would be left, 2 are the minimum"
        await press(pilot, "D")
        assert "It must not be done" in text_of(app) and "RUN PLAN" not in text_of(app)
        await press(pilot, "enter", "y")
        assert not session.acted


async def test_launch_from_the_palette() -> None:
    async with console(fleets.calm(), environment="staging") as (app, pilot, session):
        node = app.sight.node
        await press(pilot, "L")
        assert f"on {node}" in text_of(app)
        await press(pilot, "enter")
        assert session.asked == [Launch("llama-8b", node=node)]
        await press(pilot, "escape", "3", "L", "enter")
        assert session.asked[-1].model == app.sight.model and session.asked[-1].node == ""


async def test_palette_finds_completes_and_does() -> None:
    async with console(fleets.calm()) as (app, pilot, _):
        await press(pilot, ":", *"look da", "tab")
        assert ": look day" in text_of(app)
        await press(pilot, "enter")
        assert app.look is DAY
        await press(pilot, "ctrl+p", *"go l40s-017", "enter")
        assert app.screen.view_name == "node" and app.sight.node == "l40s-017"


async def test_the_rest_of_the_screen_lives_during_a_run_and_quitting_says_it_goes_on() -> None:
    gate = asyncio.Event()
    async with console(fleets.calm(), environment="staging") as (app, pilot, session):
        steps = session.act

        async def slow(intent):
            async for news in steps(intent):
                yield news
                await gate.wait()

        session.act = slow
        await press(pilot, "D", "enter")
        assert "goes on when you quit" in text_of(app)
        session.on_fleet(fleets.alarm())
        await settled(pilot)
        assert "UNREACHABLE" in text_of(app)
        await press(pilot, "D")
        assert "WHAT HAPPENS" in text_of(app)  # what is under way keeps nobody from the next plan
        await press(pilot, "escape")
        gate.set()
        await settled(pilot)
        assert "✔ done" in text_of(app)


async def test_a_lost_session_in_a_run_is_said() -> None:
    async with console(fleets.calm(), environment="staging") as (app, pilot, session):

        async def broken(intent):
            raise ConnectionError("the collector has ended")
            yield

        session.act = broken
        await press(pilot, "D", "enter")
        assert "not heard of any more: the collector has ended" in text_of(app)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_quit_closes_the_session(key: str) -> None:
    async with console(fleets.calm()) as (app, pilot, session):
        await pilot.press(key)
        await pilot.pause()
    assert session.closed and app.return_code == 0


async def test_a_session_that_can_not_start_is_said() -> None:
    async with console(None) as (app, pilot, session):
        app.lose("no collector could be started: permission denied")
        await settled(pilot)
        assert "no collector could be started" in text_of(app)


async def test_a_lost_collector_is_said_and_another_is_attached_to(monkeypatch) -> None:
    monkeypatch.setattr("opsconsole.tui.app.ATTACH_AGAIN_S", 0.3)
    async with console(fleets.calm()) as (app, pilot, session):
        session.on_lost("the collector has ended")
        await settled(pilot)
        assert app.session is None and "the collector has ended" in text_of(app)
        while app.session is None:
            await pilot.pause(0.05)
        app.tick()
        await settled(pilot)
        assert "the collector has ended" not in text_of(app)


async def test_the_cursor_of_the_map_is_where_the_node_is() -> None:
    for nodes, size in ((24, (160, 50)), (400, (160, 50)), (3000, (120, 40))):
        async with console(fleets.calm(nodes, 2 if nodes > 1000 else 8), size, theme="mono") as (app, pilot, _):
            await press(pilot, "j", "j")
            assert "▐" in "".join(
                segment.text
                for row in app.screen.query_one(FleetMap).rows(*app.screen.query_one(FleetMap).size)[:-1]
                for segment in row.segments
            )


@pytest.mark.parametrize("size", [(1, 1), (2, 40), (20, 5), (59, 40), (60, 14), (60, 15), (61, 16), (80, 24), (300, 9), (500, 200)])
async def test_any_size(size: tuple[int, int]) -> None:
    async with console(fleets.alarm(), size) as (app, pilot, _):
        for key in ("2", "3", "1"):
            await press(pilot, key)
            assert len(text_of(app).splitlines()) == size[1]
        if size[0] < 60 or size[1] < 15:
            assert text_of(app).strip()[0] in "✖…"


async def test_resize_storm() -> None:
    async with console(fleets.alarm(), (120, 40)) as (app, pilot, session):
        for number in range(24):
            await pilot.resize_terminal(*((1, 1), (20, 5), (80, 24), (200, 60), (60, 15), (3, 90))[number % 6])
            session.on_fleet(fleets.alarm() if number % 2 else fleets.calm())
        await press(pilot, "2")
        await pilot.resize_terminal(80, 24)
        await settled(pilot)
        assert "opsconsole" in text_of(app) and len(text_of(app).splitlines()) == 24
