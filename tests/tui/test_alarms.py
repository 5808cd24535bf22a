"""The alarms screen: what a key says of an alarm, what it opens, and that nothing acts where nothing may."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opsconsole.core.steps import Cordon, Drain, Launch
from tests.tui import fleets
from tests.tui.shown import console, press, settled, text_of


async def test_taking_an_alarm_says_so_under_the_operators_name() -> None:
    async with console(fleets.alarm()) as (app, pilot, session):
        await press(pilot, "6", "a", *"on it", "enter")
        (said,) = session.said
        assert (said.word, said.what, said.text) == ("ack", app.frame.fleet.alarms[0].id, "on it")
        assert "done" in text_of(app).splitlines()[-1]


async def test_escape_says_nothing() -> None:
    async with console(fleets.alarm()) as (_, pilot, session):
        await press(pilot, "6", "a", "escape", "i", "escape", "e", "escape")
        assert session.said == []


async def test_a_taken_alarm_is_given_back_and_a_silenced_one_heard_again() -> None:
    async with console(fleets.taken()) as (app, pilot, session):
        places = {alarm.kind: place for place, alarm in enumerate(app.frame.fleet.alarms)}
        await press(pilot, "6", *["j"] * places["gpu"], "a", "enter", "g", *["j"] * places["throttle"], "i", "enter")
        assert [(said.word, said.what) for said in session.said] == [
            ("unack", app.frame.fleet.alarms[places["gpu"]].id), ("unsilence", "throttle"),
        ]


async def test_a_silence_needs_its_reason_and_ends() -> None:
    async with console(fleets.alarm()) as (app, pilot, session):
        await press(pilot, "6", "i", "enter")
        assert session.said == [] and "it needs a reason" in text_of(app)
        await press(pilot, *"a new fan", "tab", "right", "tab", "left", "enter")
        (said,) = session.said
    assert (said.what, said.text) == ("reach", "a new fan") and said.until == pytest.approx(app.wall() + 3600)


async def test_a_note_stands_with_the_alarm_or_the_shift() -> None:
    async with console(fleets.alarm()) as (app, pilot, session):
        await press(pilot, "6", "e", "enter")
        assert session.said == [], "a note needs words"
        await press(pilot, *"call Joe", "enter")
        session.on_fleet(fleets.calm())
        await settled(pilot)
        await press(pilot, "e", *"quiet", "enter")
    assert [(said.what, said.text) for said in session.said] == [(fleets.alarm().alarms[0].id, "call Joe"), ("shift", "quiet")]


async def test_what_the_collector_refuses_is_said() -> None:
    async with console(fleets.alarm()) as (app, pilot, session):
        session.refusal = "nothing was done: the audit cannot be written"
        await press(pilot, "6", "a", "enter")
        assert "not done: nothing was done: the audit cannot be written" in text_of(app)


async def test_the_keys_open_the_plan_that_mends_the_chosen_alarm() -> None:
    async with console(fleets.alarm(), environment="") as (app, pilot, session):
        kinds = [alarm.kind for alarm in app.frame.fleet.alarms]
        await press(pilot, "6", *["j"] * kinds.index("gpu"), "M")
        assert isinstance(session.asked[-1], Drain) and session.asked[-1].targets == ("h200-008",)
        await press(pilot, "escape", "C")
        assert isinstance(session.asked[-1], Cordon) and session.asked[-1].targets == ("h200-008",)
        await press(pilot, "escape", "G", "M")
        assert isinstance(session.asked[-1], Launch) and session.asked[-1].model == "llama-8b"
        await press(pilot, "escape", "g", "M")
        assert "opsconsole doctor h100-010" in text_of(app).splitlines()[-1]


async def test_enter_goes_to_what_it_is_about() -> None:
    async with console(fleets.alarm()) as (app, pilot, _):
        await press(pilot, "6", "enter")
        assert app.screen.view_name == "node" and app.sight.node == "h100-010"
        await press(pilot, "6", "G", "enter")
        assert app.screen.view_name == "workers" and app.sight.model == "llama-8b"


async def test_the_chosen_alarm_stays_chosen_and_its_end_chooses_the_first() -> None:
    async with console(fleets.alarm()) as (app, pilot, session):
        await press(pilot, "6", "j", "j")
        chosen = app.screen.chosen().id
        fleet = fleets.alarm()
        session.on_fleet(replace(fleet, alarms=fleet.alarms[::-1]))
        await settled(pilot)
        assert app.screen.chosen().id == chosen
        session.on_fleet(replace(fleet, alarms=fleet.alarms[:1]))
        await settled(pilot)
        assert app.screen.chosen().id == fleet.alarms[0].id


async def test_read_only_binds_nothing_that_says_or_does() -> None:
    async with console(fleets.alarm(), read_only=True) as (app, pilot, session):
        await press(pilot, "6", "a", "i", "e", "M", "D", "C")
        assert session.said == [] and session.asked == [] and app.screen.view_name == "alarms"
        assert "a take" not in text_of(app)


async def test_the_strip_counts_what_waits_and_owns_up_to_the_rest() -> None:
    async with console(fleets.taken(), (160, 48)) as (app, pilot, session):
        strip = text_of(app).splitlines()[1]
        assert "1 CRITICAL · 2 WARNING" in strip and "1 taken · 2 silenced" in strip
        fleet = fleets.taken()
        session.on_fleet(replace(fleet, alarms=tuple(alarm for alarm in fleet.alarms if not alarm.is_open)))
        await settled(pilot)
        strip = text_of(app).splitlines()[1]
    assert "NOTHING WAITS" in strip and "1 taken · 2 silenced" in strip and "ALL CLEAR" not in strip


@pytest.mark.parametrize("size", [(80, 24), (60, 15), (160, 48)])
async def test_hostile_words_break_nothing(size: tuple[int, int]) -> None:
    async with console(fleets.hostile(), size) as (app, pilot, _):
        await press(pilot, "6", "j", "j", "i")
        assert all(line.isprintable() for line in text_of(app).splitlines())
