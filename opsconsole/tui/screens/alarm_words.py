"""What is said of an alarm, before it is said: in the audit under the operator's name, so it is asked for as a plan is."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult

from opsconsole.core.alarm import Alarm
from opsconsole.core.alarm_book import Silence
from opsconsole.core.fleet import Roster
from opsconsole.core.text import clean
from opsconsole.core.wording import age_text
from opsconsole.tui.editor import Editor
from opsconsole.tui.form import Choice, Typed
from opsconsole.tui.screens.modal import Modal
from opsconsole.tui.widgets.words_box import Words, WordsBox

SILENCES_S = (1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0, 259200.0)
BOX_WIDTH = 92


def taking(alarm: Alarm) -> Words:
    note = Typed("NOTE", "text", Editor(), "what you do about it, if you like")
    return Words(f"TAKE · {clean(alarm.text)}", "Others see that you have it. It counts again once it becomes graver or twice as large.",
                 (note,), "TAKE IT")


def giving_back(alarm: Alarm) -> Words:
    return Words(f"GIVE BACK · {clean(alarm.text)}", f"{clean(alarm.acked_by)} has it. It waits for a person again.", (), "GIVE IT BACK")


def silencing(alarm: Alarm, roster: Roster) -> Words:
    names = [(alarm.id, "this alarm only")]
    names += [(alarm.kind, f"every alarm of the rule {alarm.kind}")]
    row = roster.node_row.get(alarm.node)
    if row is not None:
        node = roster.nodes[row]
        places = ((node.name, "the node"), (node.rack, "the rack"), (node.site, "the site"))
        names += [(name, f"everything about {word} {clean(name)}") for name, word in places if name]
    elif alarm.subject not in (alarm.kind, ""):
        names.append((alarm.subject, f"everything about {clean(alarm.subject)}"))
    times = tuple((seconds, age_text(seconds)) for seconds in SILENCES_S)
    reason = Typed("REASON", "text", Editor(), "why, for whoever wonders")
    return Words(
        f"SILENCE · {clean(alarm.text)}", "It is still listed and counted, but nobody is told. It ends by itself.",
        (Choice("WHAT", "what", tuple(names)), Choice("FOR", "for_s", times, 2), reason),
        "SILENCE IT", "text", 2,
    )


def hearing(silence: Silence) -> Words:
    return Words(f"HEAR AGAIN · {clean(silence.what)}", f"{clean(silence.actor)} silenced it: {clean(silence.reason)}", (), "HEAR IT AGAIN")


def noting(alarm: Alarm | None) -> Words:
    about = f"NOTE · {clean(alarm.text)}" if alarm is not None else "NOTE · for the next shift"
    return Words(about, "It stands with the alarm and in the audit, for whoever comes next.",
                 (Typed("NOTE", "text", Editor(), "what the next one must know"),), "WRITE IT DOWN", "text")


class AlarmWords(Modal[dict]):
    """Ends with the values of the fields, or None."""

    def __init__(self, words: Words) -> None:
        super().__init__()
        self.words, self.box = words, WordsBox(words)

    def compose(self) -> ComposeResult:
        yield self.box

    def fit_box(self) -> None:
        self.box.styles.height = min(self.app.size.height, len(self.box.content(min(BOX_WIDTH, self.app.size.width) - 4)) + 2)

    def press(self, event: events.Key) -> None:
        words = self.words
        field = words.chosen
        if event.key == "enter":
            self._say_yes()
        elif event.key in ("tab", "shift+tab", "down", "up") and words.fields:
            words.focus = (words.focus + (1 if event.key in ("tab", "down") else -1)) % len(words.fields)
        elif isinstance(field, Typed):
            words.trouble = "" if field.editor.press(event) else words.trouble
        elif isinstance(field, Choice) and event.key in ("left", "right"):
            field.turn(1 if event.key == "right" else -1)
        self.fit_box()

    def _say_yes(self) -> None:
        missing = self.words.missing()
        if missing:
            self.words.trouble = f"it needs a {missing}"
            self.words.focus = next(place for place, field in enumerate(self.words.fields) if field.field == self.words.wanted)
        else:
            self.dismiss(self.words.values())

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        if isinstance(self.words.chosen, Typed):
            self.words.chosen.editor.insert(event.text)
            self.box.repaint()
