"""What acting keys do: each opens a plan that can be shaped, copied and refused, and nothing runs without a yes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from opsconsole.core.confirmation import phrase_for, stops_serving
from opsconsole.core.fleet import Cordoned
from opsconsole.core.steps import Cap, Cordon, Drain, Launch, Rebalance, Rollout, Stop, Uncordon, Undo, Undrain
from opsconsole.tui.form import Form
from opsconsole.tui.runs import Pace, expected_s
from tests.tui import doings, fleets
from tests.tui.shown import console, press, settled, text_of

NODE = "h200-001"


def staging(fleet=None, **options):
    return console(fleet or fleets.calm(), environment="staging", **options)


@pytest.mark.parametrize(
    ("keys", "intent"),
    [
        ("D", Drain((NODE,))), ("S", Stop((NODE,))), ("C", Cordon((NODE,))), ("P", Cap(NODE, None)), ("R", Rebalance()),
        (("D", "tab", "right"), Drain((NODE,), 1800.0)),
        (("D", "tab", "tab", "left"), Drain((NODE,), on_deadline="abort")),
        (("R", "tab", "right", "tab", "right"), Rebalance("llama-8b", "power")),
        (("P", *"350"), Cap(NODE, 350.0)),
        (("P", "shift+tab", "right", "tab", *"9000"), Cap("ams1", 9000.0)),
        (("O", *"r2"), Rollout("llama-8b", "r2")),
        (("C", *"fan 3"), Cordon((NODE,), "fan 3")),
        (("L", "enter", "tab", "backspace", "3", "tab", "tab", *"1,2"), Launch("llama-8b", NODE, (1, 2), 3)),
    ],
)
async def test_a_key_opens_a_plan_and_never_acts(keys, intent) -> None:
    async with staging() as (app, pilot, session):
        session.made = doings.rollout_plan()
        await press(pilot, *keys)
        assert session.asked[-1] == intent and not session.acted and "WHAT HAPPENS" in text_of(app)
        await press(pilot, "escape")
        assert not session.acted and app.screen is app.view


async def test_what_was_chosen_and_why_is_what_is_done() -> None:
    async with staging() as (app, pilot, session):
        await press(pilot, "D", "tab", "tab", "tab", *"fan d", "enter")
        assert session.acted == [Drain((NODE,), reason="fan d")]
        assert "U undo" in text_of(app)


async def test_nothing_runs_while_the_form_is_wrong_or_the_plan_is_not_of_what_it_says() -> None:
    async with staging() as (app, pilot, session):
        session.made = doings.rollout_plan()
        await press(pilot, "P", *"x9")
        assert "'x9' are no watts" in text_of(app)
        await press(pilot, "enter")
        assert not session.acted
        draft = app.screen.draft
        draft.form.fields[1].editor.replace("9")
        assert not draft.is_fresh and not draft.is_ready
    async with staging() as (app, pilot, session):
        await press(pilot, "O", "enter")
        assert not session.asked and "type the checkpoint" in text_of(app)


async def test_a_question_that_fails_is_said_in_the_dialog() -> None:
    async with staging() as (app, pilot, session):

        async def broken(intent):
            raise ConnectionError("the collector has ended")

        session.plan = broken
        await press(pilot, "D")
        assert "no plan: the collector has ended" in text_of(app) and "RUN PLAN" not in text_of(app)


async def test_production_asks_for_a_name_only_where_something_stops() -> None:
    async with console(fleets.calm()) as (app, pilot, session):
        started = doings.rollout_plan()
        session.made = replace(started, steps=started.steps[:1])
        await press(pilot, "L", "enter")
        assert "Production" not in text_of(app)
        await press(pilot, "enter")
        assert len(session.acted) == 1
        session.made = doings.rollout_plan()
        await press(pilot, "R", "enter")
        assert "type 8 to confirm" in text_of(app) and len(session.acted) == 1
        await press(pilot, "8", "enter")
        assert len(session.acted) == 2


def test_what_stops_serving_and_what_is_typed_for_it() -> None:
    rollout = doings.rollout_plan()
    assert stops_serving(rollout) and phrase_for(rollout) == "llama-8b"
    assert phrase_for(replace(rollout, intent=Rebalance())) == "8"
    assert phrase_for(replace(rollout, intent=Drain(("n1", "n2")))) == "2"
    assert phrase_for(replace(rollout, intent=Cap("ams1", 9.0))) == "ams1"
    only_starts = replace(rollout, intent=Launch("llama-8b"), steps=rollout.steps[:1])
    assert not stops_serving(only_starts) and stops_serving(replace(only_starts, intent=Cap("ams1", 9.0)))


async def test_copy_as_command_sends_the_line_and_shows_it() -> None:
    async with console(fleets.calm()) as (app, pilot, _):
        await press(pilot, "D", "tab", "c")
        line = f"opsconsole drain --deadline 10m --on-deadline hold {NODE}"
        assert app.clipboard == line and line in text_of(app)


async def test_details_show_what_the_overview_cuts() -> None:
    async with staging(size=(80, 24)) as (app, pilot, session):
        session.made = doings.rollout_plan()
        await press(pilot, "R")
        assert "GPU 5 is free" not in text_of(app)
        await press(pilot, "d", *["pagedown"] * 8)
        assert "GPU 5 is free" in text_of(app) and "opsconsole rebalance --objective queue" in text_of(app)


async def test_cordon_is_shown_and_taken_back_by_its_own_key() -> None:
    fleet = replace(fleets.calm(), cordons={0: Cordoned("fan 3", "dana@ops1", fleets.NOW)})
    async with staging(fleet, size=(160, 50)) as (app, pilot, session):
        assert "⊘ h200-001" in text_of(app) and "cordoned by dana@ops1: fan 3" in text_of(app) and "CORDONED" in text_of(app)
        session.made = doings.rollout_plan()
        await press(pilot, "C")
        assert session.asked == [Uncordon((NODE,))]


async def test_undo_takes_back_a_chosen_drain_else_the_last_run() -> None:
    async with staging(fleets.alarm()) as (app, pilot, session):
        await press(pilot, "U")
        assert not session.asked and "no run is known to undo" in text_of(app)
        session.known = doings.all_runs()
        await app.acting.look()
        session.made = doings.rollout_plan()
        await press(pilot, "U", "escape")
        assert session.asked == [Undrain(("bge-m3-022",))]  # the run under way drains that one
        session.known = [replace(doings.open_run(), steps=doings.open_run().steps[:1]), *doings.done_runs()]
        await app.acting.look()
        await press(pilot, "U")
        assert len(session.asked) == 1 and "x on the plans screen (4) cancels it" in text_of(app)
        session.known = [doings.failed_run(), *doings.done_runs()]
        await app.acting.look()
        await press(pilot, "U", "escape")
        assert session.asked[-1] == Undo("03ab19cc42")  # the failed one has done nothing
        app.sight.node = "l40s-018"
        await press(pilot, "U")
        assert session.asked[-1] == Undrain(("bge-m3-022",))


async def test_the_actor_is_in_every_intent() -> None:
    async with staging() as (app, pilot, session):
        app.settings = replace(app.settings, actor="dana@ops1")
        await press(pilot, "D")
        assert session.asked[0].actor == "dana@ops1"


async def test_plans_screen_resumes_cancels_and_undoes() -> None:
    async with staging(fleets.alarm()) as (app, pilot, session):
        session.known = doings.all_runs()
        await press(pilot, "4", "enter")
        assert "RESUME" in text_of(app) and not session.resumed
        await press(pilot, "enter")
        assert session.resumed == ["2b1144e07a"]
        await press(pilot, "j", "r")
        assert "only an interrupted run" in text_of(app)
        await press(pilot, "x", "enter")
        assert session.cancelled == ["7f3c9a10d2"]
        session.made = doings.rollout_plan()
        await press(pilot, "j", "U")
        assert session.asked[-1] == Undo("c90d5531ff")


async def test_read_only_looks_at_runs_and_changes_none() -> None:
    async with console(fleets.alarm(), read_only=True) as (app, pilot, session):
        session.known = doings.all_runs()
        await press(pilot, "4", "r", "x", "U")
        assert not session.resumed and not session.cancelled and not session.asked and app.screen is app.view
        await press(pilot, "enter")
        assert "in flight: 5" in text_of(app) and not session.resumed


async def test_runs_that_can_not_be_asked_for_are_said() -> None:
    async with staging() as (app, pilot, session):

        async def broken():
            raise ConnectionError("the journal is locked")

        session.runs = broken
        await press(pilot, "4")
        assert "the runs are not known now: the journal is locked" in text_of(app)


async def test_two_runs_are_followed_side_by_side() -> None:
    async with staging() as (app, pilot, session):
        for _ in range(2):
            await press(pilot, "D", "enter")
        assert len(app.acting.followed) == 2
        await press(pilot, "escape", "escape")
        assert not app.acting.followed


async def test_what_strangers_say_in_a_run_stays_words() -> None:
    run = doings.interrupted_run()
    for words in fleets.HOSTILE:
        run = doings.at_work(run, 0, "FAILED", words, 60, 2.0, **{words: words})
        run = replace(run, text=words, plan=replace(run.plan, title=words))
        async with staging(size=(80, 24)) as (app, pilot, session):
            session.known = [run]
            await press(pilot, "4", "j")
            app.screen._go_inside(True)
            await settled(pilot)
            assert all(line.isprintable() for line in text_of(app).splitlines())


def test_the_pace_of_a_drain_and_what_a_start_usually_takes() -> None:
    pace, fleet = Pace(), fleets.alarm()
    worker = next(worker for worker in fleet.workers if worker.state == "DRAINING")
    for second, in_flight in ((0, 12.0), (10, 8.0)):
        now = tuple(changed(known, running=in_flight, queue_depth=0.0) if known is worker else known for known in fleet.workers)
        pace.watch(replace(fleet, at=fleet.at + second, workers=now))
    assert pace.left_s(changed(worker, running=8.0, queue_depth=0.0), fleet.at + 10) == 20.0
    assert pace.left_s(changed(worker, running=12.0, queue_depth=0.0), fleet.at + 10) is None
    assert expected_s(doings.done_runs(), doings.launch_step("qwen3-72b-7", "n1", 0)) == 80.0
    assert expected_s(doings.done_runs(), doings.launch_step("llama-8b-7", "n1", 0)) is None


@pytest.mark.parametrize(
    "intent", [Launch("m"), Drain(("w",)), Rollout("m", "r"), Rebalance("llama-8b", "cost"), Cap(NODE, 9.0), Undo("r")]
)
def test_a_form_that_nobody_touches_makes_the_same_intent(intent) -> None:
    assert Form(intent, fleets.calm()).intent() == intent


async def test_a_run_whose_words_were_lost_is_found_again_where_the_collector_keeps_it() -> None:
    async with staging() as (app, pilot, session):

        async def broken(plan):
            raise ConnectionError("the collector has ended")
            yield

        session.act = broken
        await press(pilot, "D", "enter")
        assert "◌ not heard of · 0 of 2 done · 4 plans" in text_of(app) and "failed" not in text_of(app)
        session.known = [replace(doings.interrupted_run(), began_at=app.wall())]
        await app.acting.look()
        await settled(pilot)
        assert "◌ interrupted · 1 of 2 done" in text_of(app)


async def test_the_plans_screen_opens_with_what_waits_and_then_holds_still() -> None:
    async with staging(fleets.alarm()) as (app, pilot, session):
        session.known = doings.done_runs()
        await press(pilot, "4", "j", "1")
        session.known = doings.all_runs()
        await press(pilot, "4")
        assert app.screen.chosen().state == "INTERRUPTED"
        session.known = [replace(doings.interrupted_run(), id="newer", began_at=app.wall()), *session.known]
        await app.acting.look()
        assert app.screen.chosen().id == "2b1144e07a"


@pytest.mark.parametrize("size", [(80, 24), (60, 15), (200, 50)])
async def test_a_plan_of_very_many_parts_keeps_its_yes_in_sight(size) -> None:
    plan = doings.rollout_plan()
    many = replace(plan, steps=plan.steps * 40, checks=plan.checks * 30, warnings=plan.warnings * 30, changes=plan.changes * 9)
    async with console(fleets.calm(), size) as (app, pilot, session):
        session.made = many
        await press(pilot, "R")
        text = text_of(app)
        assert "RUN PLAN" in text and "type 8 to confirm" in text
        if size[1] > 15:
            assert "WHAT HAPPENS" in text and "▲  and" in text and "more change" in text and "✔" in text
        await press(pilot, "tab", "d", *["pagedown"] * 3)
        assert "RUN PLAN" in text_of(app)
