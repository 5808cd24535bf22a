"""The registry is the one place that knows keys: help, footer, palette and bindings follow it."""

from __future__ import annotations

import pytest

from opsconsole.core.steps import Drain
from opsconsole.tui.actions import ACTIONS, KeyConflict, normal, registry, shown
from opsconsole.tui.screens.help import GROUPS, HelpBox
from opsconsole.tui.screens.palette import entries
from tests.tui import fleets
from tests.tui.shown import console, press, text_of


def test_ids_and_keys_are_given_once() -> None:
    assert len({action.id for action in ACTIONS}) == len(ACTIONS)
    keys = [(normal(key), action.when) for action in ACTIONS for key in action.keys]
    assert len(set(keys)) == len(keys)
    assert {action.group for action in ACTIONS} == set(GROUPS)


def test_capitals_change_the_fleet_and_nothing_else_does() -> None:
    dangerous = {action.id: action.keys[0] for action in ACTIONS if action.dangerous}
    assert {action for action, key in dangerous.items() if key.isupper()} == {
        "drain", "launch", "rebalance", "rollout", "stop", "cordon", "cap", "undo", "mend",
    }
    assert {action for action, key in dangerous.items() if not key.isupper()} == {
        "resume", "cancel", "ack", "silence", "note",  # of what was said yes to, and what is said of alarms
    }
    assert {action.id for action in ACTIONS if action.keys[0].isupper() and action.keys[0] != "G"} <= dangerous.keys()


def test_no_key_is_one_of_tmux_or_means_two_things_elsewhere() -> None:
    assert not {normal(key) for action in ACTIONS for key in action.keys} & {"ctrl+a", "ctrl+b", "ctrl+s", "ctrl+j", "ctrl+k", "ctrl+r"}


def test_rebinding() -> None:
    actions = {action.id: action for action in registry({"drain": "ctrl+x", "sort": "s"})}
    assert actions["drain"].keys == ("ctrl+x",) and actions["sort"].keys == ("s",)
    assert shown("ctrl+x") == "Ctrl-x"


@pytest.mark.parametrize(
    ("keys", "words"),
    [({"drian": "x"}, "there is no action `drian`"), ({"drain": "L"}, "`launch`"), ({"drain": "x", "launch": "x"}, "asked for by")],
)
def test_bad_rebinding_is_refused_in_words(keys: dict[str, str], words: str) -> None:
    with pytest.raises(KeyConflict, match=words):
        registry(keys)


def test_read_only_drops_what_is_dangerous() -> None:
    assert not [action for action in registry(read_only=True) if action.dangerous]


async def test_every_action_is_in_help_and_does_something_where_it_is_bound() -> None:
    async with console(fleets.alarm(), (120, 90)) as (app, pilot, _):
        await press(pilot, "?")
        text = text_of(app)
        for action in app.actions:
            assert f"{action.name}" in text and shown(action.keys[0]) in text
        assert isinstance(app.screen.query_one(HelpBox), HelpBox)
        await press(pilot, "escape")
        for screen in ("fleet", "node", "workers", "plans", "chart", "capacity", "alarms"):
            app.open_view(screen)
            await pilot.pause()
            for action in app.actions:
                views = ("fleet", "node", "workers", "plans", "chart", "capacity", "alarms")
                if action.id in ("quit", *views, "open", "back") or screen not in action.screens:
                    continue
                action.do(app.view)
                await pilot.pause()
                while len(app.screen_stack) > 2 or app.screen is not app.view:
                    app.pop_screen()
                    await pilot.pause()


async def test_rebound_key_works_and_the_old_one_does_not() -> None:
    async with console(fleets.calm(), keys={"help": "h"}) as (app, pilot, _):
        await press(pilot, "?")
        assert "KEYS" not in text_of(app)
        await press(pilot, "h")
        assert "KEYS" in text_of(app)


async def test_read_only_binds_no_dangerous_key() -> None:
    async with console(fleets.calm(), read_only=True) as (app, pilot, session):
        for key in "DLROSCPU":
            await pilot.press(key)
        assert not session.asked and app.screen.view_name == "fleet"
        assert "READ ONLY" in text_of(app) and " D drain" not in text_of(app)
        assert not [entry for entry in entries(app, "") if entry.text.startswith(("drain", "launch"))]
        app.acting.ask(Drain(("h200-001",)))
        await pilot.pause()
        assert not session.asked


async def test_footer_names_keys_of_this_screen_only() -> None:
    async with console(fleets.calm(), (160, 50)) as (app, pilot, _):
        assert "/ filter" in text_of(app).splitlines()[-1]
        await press(pilot, "2")
        assert "/ filter" not in text_of(app).splitlines()[-1]
