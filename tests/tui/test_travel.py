"""Time travel as a person does it: there and back, step by step, to events, through gaps; and nothing can be changed from there."""

from __future__ import annotations

import asyncio

import pytest

from opsconsole.core.steps import Drain, Plan
from opsconsole.tui.screens.palette import entries
from opsconsole.tui.when import moment_of
from tests.tui import fleets
from tests.tui.doings import at_work, drain_step, run_of
from tests.tui.pasts import BEGAN, GAP, NOW, SINCE, MadeUp
from tests.tui.shown import console, press, settled, text_of


def banner(app) -> str:
    return text_of(app).splitlines()[0]


async def test_there_and_back() -> None:
    async with console(fleets.calm(), past=MadeUp()) as (app, pilot, session):
        await press(pilot, "left_square_bracket")
        assert app.travel.moment == NOW - 1 and "◀ REPLAY" in banner(app) and "03:12:46" in banner(app)
        await press(pilot, "left_curly_bracket", "right_square_bracket")
        assert app.travel.moment == NOW - 60 and "ago, read only" in banner(app) and "LIVE" not in banner(app)
        await press(pilot, "escape")
        assert not app.travel.is_on and "● LIVE" in banner(app) and app.frame.fleet is session.fleet
        await press(pilot, "right_square_bracket")
        assert "on is off: this is now" in text_of(app)


async def test_the_live_fleet_keeps_arriving_unseen() -> None:
    async with console(fleets.calm(), past=MadeUp()) as (app, pilot, session):
        await press(pilot, "left_square_bracket", "escape", "left_curly_bracket")
        before = text_of(app)
        later = fleets.lost()
        session.on_fleet(later)
        await settled(pilot)
        assert text_of(app) == before and app.live is later
        await press(pilot, "escape")
        assert app.frame.fleet is later


@pytest.mark.parametrize("environ", [{}, {"NO_COLOR": "1"}])
async def test_the_banner_can_not_be_missed(environ: dict[str, str]) -> None:
    async with console(fleets.alarm(), (80, 24), past=MadeUp(), environ=environ) as (app, pilot, _):
        live = app.look.style("strong", "head", True)
        await press(pilot, "left_curly_bracket")
        for key, size in (("1", (40, 10)), ("2", (80, 24)), ("3", (160, 48)), ("4", (80, 24)), ("c", (80, 24))):
            await pilot.resize_terminal(*size)
            await press(pilot, key)
            line = app.screen._compositor.render_strips()[0]
            replay = next(segment for segment in line if "REPLAY" in segment.text)
            assert replay.style.reverse if environ else replay.style.bgcolor != live.bgcolor


@pytest.mark.parametrize(("typed", "moment"), [
    ("02:50", NOW - 1367), ("02:50:10", NOW - 1357), ("03:13", NOW + 13 - 86400), ("-20m", NOW - 1200), ("1h 5m ago", NOW - 3900),
    ("2025-11-21T03:00:00", NOW - 767), ("2025-11-21 04:00+01:00", NOW - 767), (" now ", NOW),
])
def test_times_as_they_are_typed(typed: str, moment: float) -> None:
    assert moment_of(typed, NOW) == moment


@pytest.mark.parametrize(("typed", "words"), [
    ("soon", "that is no time"), ("25:00", "no time of a day"), ("\x1b]0;x", "that is no time"), ("", "write a time"),
    ("9" * 300 + "-01-01", "that is no time"),
])
def test_what_is_no_time_is_said(typed: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        moment_of(typed, NOW)


async def test_the_time_prompt() -> None:
    async with console(fleets.calm(), past=MadeUp()) as (app, pilot, _):
        await press(pilot, "t", *"2030-01-01", "enter")
        assert "ahead: only what was" in text_of(app) and not app.travel.is_on
        await press(pilot, "escape", "t", *"02:50")
        assert "02:50:00 UTC, 22 min 47 s ago" in text_of(app)
        await press(pilot, "enter")
        assert app.travel.moment == NOW - 1367


async def test_a_gap_is_told_and_nothing_of_before_is_drawn() -> None:
    async with console(fleets.calm(), past=MadeUp()) as (app, pilot, _):
        app.travel.go(GAP[0] + 100)
        await settled(pilot)
        text = text_of(app)
        assert "nobody recorded from 02:22:47 to 02:32:47 UTC (10 min)" in text and "nothing to show" in banner(app)
        assert "h200-001" not in text and app.frame is None and "ALL CLEAR" not in text
        for screen in ("2", "3", "4", "1"):
            await press(pilot, screen)
            assert "nobody recorded" in text_of(app) and "h200-001" not in "\n".join(text_of(app).splitlines()[1:])
        await press(pilot, "right_square_bracket")
        assert app.travel.moment == GAP[1] and "h200-001" in text_of(app)
        app.travel.go(GAP[0] + 100)
        await settled(pilot)
        await press(pilot, "left_square_bracket")
        assert app.travel.moment == GAP[0] and app.travel.absence is None


async def test_before_the_beginning_and_what_can_not_be_read() -> None:
    past = MadeUp()
    async with console(fleets.calm(), past=past) as (app, pilot, _):
        app.travel.go(SINCE - 500)
        await settled(pilot)
        assert "nothing is recorded before 01:12:47" in text_of(app)
        await press(pilot, "right_square_bracket")
        assert app.travel.moment == SINCE and app.frame is not None
        past.trouble = "the history at x cannot be read: disk I/O error"
        await press(pilot, "right_square_bracket")
        assert "disk I/O error" in text_of(app) and app.frame is None
        await press(pilot, "escape")
        assert "● LIVE" in banner(app) and app.frame is not None


async def test_fast_hands_read_only_the_newest_moment() -> None:
    past = MadeUp()
    async with console(fleets.calm(), past=past) as (app, pilot, _):
        await press(pilot, "left_square_bracket")
        past.asked.clear()
        past.gate = asyncio.Event()
        app.travel.step(-1)
        await pilot.pause()
        for _ in range(49):
            app.travel.step(-1)
        await pilot.pause()
        assert past.asked == [NOW - 2] and app.travel.moment == NOW - 51
        assert "reading …" in banner(app)
        past.gate.set()
        await settled(pilot)
        assert past.asked == [NOW - 2, NOW - 51] and app.frame.fleet.at == NOW - 51


async def test_a_slow_read_does_not_leave_live_numbers_under_the_banner() -> None:
    past = MadeUp()
    past.gate = asyncio.Event()
    async with console(fleets.calm(), past=past) as (app, pilot, _):
        app.travel.go(BEGAN)
        app.travel._blank(app.frame)  # what the timer does
        await pilot.pause()
        assert "reading what was recorded then" in text_of(app) and "h200-001" not in text_of(app)
        past.gate.set()
        await settled(pilot)
        assert app.frame.fleet.at == BEGAN and "h200-001" in text_of(app)


async def test_play_speed_and_pause() -> None:
    async with console(fleets.calm(), past=MadeUp()) as (app, pilot, _):
        app.travel.go(GAP[0] - 120)
        await settled(pilot)
        await press(pilot, "space", "plus", "plus", "plus")
        assert app.travel.is_playing and app.travel.speed == 10 and "▶ 10×" in banner(app)
        app.travel._timer.pause()  # from here on the test is the clock
        began = app.travel.moment
        app.travel.advance(5.0)
        await settled(pilot)
        assert app.travel.moment == began + 50
        app.travel.advance(8.0)
        await settled(pilot)
        assert app.travel.absence is not None
        app.travel.advance(0.1)
        await settled(pilot)
        assert app.travel.moment == GAP[1] and "leapt over" in text_of(app)
        await press(pilot, "minus", "space")
        assert app.travel.speed == 5 and not app.travel.is_playing and app.sight.marked == set()
        app.travel.go(NOW - 3)
        app.travel.play()
        app.travel.advance(60.0)
        await settled(pilot)
        assert not app.travel.is_playing and app.travel.moment == NOW and "played to the newest second" in text_of(app)


async def test_events_are_leapt_to_and_told() -> None:
    async with console(fleets.calm(), past=MadeUp()) as (app, pilot, _):
        await press(pilot, "comma")
        assert app.travel.moment == NOW - 300 and "h200-001 stale" in text_of(app)
        await press(pilot, "comma", "comma", "comma")
        assert app.travel.moment == BEGAN and "✖ h100-010 unreachable · 1 more in this second" in text_of(app)
        await press(pilot, "full_stop")
        assert app.travel.moment == NOW - 1100 and "◆ drain h100-015 by dana" in text_of(app)
        app.travel.go(NOW - 5000)
        await press(pilot, "comma")
        assert "no event is kept before" in text_of(app)


async def test_marks_trouble_and_gaps_are_on_the_time_bar() -> None:
    async with console(fleets.calm(), (160, 50), past=MadeUp()) as (app, pilot, _):
        app.travel.go(NOW - 900)
        await settled(pilot)
        bar, marks = text_of(app).splitlines()[-3:-1]
        assert "┈" in bar and "▁" in bar and "▄" in bar and "┃" in bar
        assert "✖" in marks and "◆" in marks and "▲ 02:57:47" in marks and "kept 1 h 59 min" in marks
        await press(pilot, "w")
        assert app.travel.window_s == 6 * 3600 and "6 h" in text_of(app)


# nothing can be changed

async def test_no_acting_key_works_in_the_past() -> None:
    async with console(fleets.alarm(), (160, 50), past=MadeUp(), environment="staging") as (app, pilot, session):
        await press(pilot, "left_square_bracket")
        dangerous = [(action, key) for action in app.actions if action.dangerous for key in action.keys]
        assert len(dangerous) >= 10
        for screen in ("1", "2", "3", "4", "5", "c"):
            await press(pilot, screen)
            for action, key in dangerous:
                await pilot.press(key)
                assert app.screen is app.view and app.notice == f"{action.name} is off: this is the past, nothing is changed from here"
            await press(pilot, "enter")  # an interrupted run would be resumed by it
        assert not session.asked and not session.acted and not session.resumed and not session.cancelled
        words = {entry.text.split()[0] for entry in entries(app, "")}
        assert not words & {"drain", "launch", "rebalance", "rollout", "stop", "cordon", "cap", "undo", "resume", "cancel"}
        for typed in ("undrain", "stop h", "cordon h", "uncordon h", "cap h", "rollout l"):
            assert not entries(app, typed)
        app.acting.ask(Drain(("h200-001",)))
        await settled(pilot)
        assert not session.asked and "this is the past" in text_of(app)


async def test_runs_are_shown_as_they_were() -> None:
    steps = tuple(drain_step(f"w{number}", "h200-001", (number - 1,) if number else ()) for number in range(3))
    run = run_of(Plan(Drain(("h200-001",)), "drain h200-001", steps), "b" * 8, 900.0, "INTERRUPTED")
    run = at_work(at_work(run, 0, "DONE", began_ago_s=900, took_s=100), 1, "UNSURE", began_ago_s=800, took_s=700)
    later = run_of(Plan(Drain(("h200-002",)), "drain h200-002", steps), "c" * 8, 100.0, "OPEN")
    async with console(fleets.calm(), (160, 50), past=MadeUp()) as (app, pilot, session):
        session.known = [run, later]
        await app.acting.look()
        assert "interrupted" in text_of(app)
        app.travel.go(NOW - 500)
        await press(pilot, "4")
        assert [(run.id, run.state) for run in app.acting.runs] == [("b" * 8, "OPEN")]
        assert [step.state for step in app.acting.runs[0].steps] == ["DONE", "SENT", "WAITING"]
        assert "interrupted" not in text_of(app) and "drain h200-002" not in text_of(app)
