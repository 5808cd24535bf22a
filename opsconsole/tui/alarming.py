"""From a key on the alarms screen to what the collector is told: who takes an alarm, silences it or writes on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsconsole.core.alarm_book import SHIFT, Said
from opsconsole.core.text import clean

if TYPE_CHECKING:
    from opsconsole.tui.app import ConsoleApp
    from opsconsole.tui.screens.alarms import AlarmsScreen
    from opsconsole.tui.widgets.words_box import Words


def take(view: AlarmsScreen) -> None:
    """Take the chosen alarm; give it back when it is taken."""
    from opsconsole.tui.screens.alarm_words import giving_back, taking

    alarm = view.chosen()
    if alarm is None:
        view.app.say("there is no alarm to take")
    elif alarm.acked_by:
        _ask(view, giving_back(alarm), "unack", alarm.id)
    else:
        _ask(view, taking(alarm), "ack", alarm.id)


def silence(view: AlarmsScreen) -> None:
    """Silence the chosen alarm, or end the silence that it is under."""
    from opsconsole.tui.screens.alarm_words import hearing, silencing

    alarm = view.chosen()
    if alarm is None:
        view.app.say("there is no alarm to silence")
        return
    under = next((one for one in view.frame.fleet.alarm_book.silences
                  if alarm.silenced_by and (one.until, one.reason) == (alarm.silenced_until, alarm.silence_reason)), None)
    if under is not None:
        _ask(view, hearing(under), "unsilence", under.what)
    else:
        _ask(view, silencing(alarm, view.frame.roster), "silence", alarm.id)


def note(view: AlarmsScreen) -> None:
    """Write on the chosen alarm; where there is none, for the next shift."""
    from opsconsole.tui.screens.alarm_words import noting

    alarm = view.chosen()
    _ask(view, noting(alarm), "note", alarm.id if alarm is not None else SHIFT)


def mend(view: AlarmsScreen) -> None:
    """Open the plan that helps most against the chosen alarm."""
    from opsconsole.core.mends import mends

    alarm = view.chosen()
    found = mends(view.frame.fleet, alarm) if alarm is not None else ()
    intent = next((one.intent for one in found if one.intent is not None), None)
    if intent is not None:
        view.app.acting.ask(intent)
    elif found:
        view.app.say(f"in a shell: {found[0].command}")
    else:
        view.app.say("nothing that can be planned from here helps against it")


def _ask(view: AlarmsScreen, words: Words, word: str, what: str) -> None:
    if view.app.session is None:
        view.app.say("there is no collector to ask")
    else:
        view.app.run_worker(_say(view.app, words, word, what), exit_on_error=False)


async def _say(app: ConsoleApp, words: Words, word: str, what: str) -> None:
    from opsconsole.tui.screens.alarm_words import AlarmWords

    values = await app.push_screen_wait(AlarmWords(words))
    if values is None:
        return
    at = app.wall()
    for_s = values.get("for_s")
    said = Said(word, values.get("what", what), app.settings.actor, at, values.get("text", ""), at + for_s if for_s else None)
    try:
        app.say(clean(await app.session.say(said), 200))
    except Exception as error:  # a refusal or a lost collector: said, never raised into the screen
        app.say(f"not done: {error}")
