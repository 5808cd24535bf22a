"""Do anything by its name: the registry's actions, and drain, launch, go and look with what they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult

from opsconsole.core.steps import Cap, Cordon, Drain, Intent, Launch, Rollout, Stop, Uncordon, Undrain
from opsconsole.tui.editor import Editor
from opsconsole.tui.looks import LOOKS
from opsconsole.tui.paint import Row, cells
from opsconsole.tui.screens.modal import Box, Modal

if TYPE_CHECKING:
    from opsconsole.tui.app import ConsoleApp

ENTRIES_LIMIT = 200
"""Entries looked through for one key; a longer list is narrowed by typing on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """text: what is typed for it. note: what it does. key: the shorter way."""

    text: str
    note: str
    do: Callable[[], object]
    key: str = ""


def entries(app: ConsoleApp, typed: str, listed: list[Entry] | None = None) -> list[Entry]:
    """What fits what was typed so far, the closest first: of `listed`, else of all that can be done."""
    wanted = typed.strip().lower()
    words = wanted.split()
    found: list[tuple[int, int, Entry]] = []
    for number, entry in enumerate(_all(app, words) if listed is None else listed):
        text = entry.text.lower()
        if all(word in text for word in words):
            found.append((0 if text.startswith(wanted) else 1, number, entry))
            if len(found) >= ENTRIES_LIMIT:
                break
    return [entry for _, _, entry in sorted(found, key=lambda item: item[:2])]


def _all(app: ConsoleApp, words: list[str]) -> Iterator[Entry]:
    now = app.actions_now
    verbs = {action.id: action for action in now}
    for action in now:
        if action.id not in ("drain", "launch", "command") and app.view.view_name in action.screens:
            yield Entry(action.name, action.help, lambda action=action: action.do(app.view), action.key_shown)
    if "drain" in verbs:
        yield from _drains(app, verbs["drain"].key_shown)
    if "launch" in verbs:
        yield from _launches(app, words, verbs["launch"].key_shown)
    for verb, (action_id, note, make) in _OF_A_NAME.items():
        # Three times as many entries as there are nodes would make every letter slow: they come once their verb is begun
        if action_id in verbs and words and verb.startswith(words[0]):
            for name in _names(app, verb):
                yield Entry(f"{verb} {name}", note, lambda make=make, name=name: app.acting.ask(make(name)))
    for name in LOOKS:
        yield Entry(f"look {name}", "colours of the screen", lambda name=name: app.set_look(name))
    for node in app.frame.roster.nodes if app.frame else ():
        place = " · ".join(part for part in (node.site, node.rack, node.chip) if part)
        yield Entry(f"go {node.name}", place, lambda node=node: _go(app, node.name))


_OF_A_NAME: dict[str, tuple[str, str, Callable[[str], Intent]]] = {
    "undrain": ("undo", "let it take requests again", lambda name: Undrain((name,))),
    "stop": ("stop", "when nothing is in flight there", lambda name: Stop((name,))),
    "cordon": ("cordon", "no new workers there", lambda name: Cordon((name,))),
    "uncordon": ("cordon", "let new workers in again", lambda name: Uncordon((name,))),
    "cap": ("cap", "limit its power", lambda name: Cap(name, None)),
    "rollout": ("rollout", "another checkpoint, one worker at a time", lambda name: Rollout(name, "")),
}
"""Verb -> action that it belongs to, what it does, and the intent about a name."""


def _names(app: ConsoleApp, verb: str) -> Iterator[str]:
    """What a verb can be said of, the chosen one first."""
    if app.frame is None:
        return
    roster = app.frame.roster
    if verb == "rollout":
        yield from (model.name for model in roster.models)
        return
    here = app.frame.fleet.workers_of_node.get(app.sight.node, ())
    workers = [worker.name for worker in here] if verb in ("undrain", "stop") else []
    sites = [site.name for site in roster.sites] if verb == "cap" else []
    yield from dict.fromkeys(filter(None, (app.sight.node, *workers, *sites, *(node.name for node in roster.nodes))))


def _drains(app: ConsoleApp, key: str) -> Iterator[Entry]:
    marked = tuple(sorted(app.sight.marked))
    if marked:
        yield Entry("drain marked", f"{len(marked)} marked: {', '.join(marked)}", lambda: app.acting.ask(Drain(targets=marked)), key)
    if app.frame is None:
        return
    fleet = app.frame.fleet
    names = [
        app.view.chosen_name(),
        *(worker.name for worker in fleet.workers_of_node.get(app.sight.node, ())),
        *(node.name for node in app.frame.roster.nodes),
    ]
    for name in dict.fromkeys(filter(None, names)):
        workers = fleet.workers_of_node.get(name, ())
        note = f"{len(workers)} workers" if name in app.frame.roster.node_row else "one worker"
        yield Entry(
            f"drain {name}", note, lambda name=name: app.acting.ask(Drain(targets=(name,))), key if name == app.view.chosen_name() else ""
        )


def _launches(app: ConsoleApp, words: list[str], key: str) -> Iterator[Entry]:
    """launch MODEL [COUNT] [on NODE]: a count that is typed is taken."""
    if app.frame is None:
        return
    count = next((int(word) for word in words if word.isdecimal() and 0 < int(word) < 1000), 1)
    times = f" {count}" if count > 1 or "1" in words else ""
    free = {True: "where it fits best", False: "on the chosen node"}
    for node in ("", app.sight.node):
        for model in app.frame.roster.models:
            place = f" on {node}" if node else ""
            intent = Launch(model.name, node=node, count=count)
            yield Entry(
                f"launch {model.name}{times}{place}",
                f"{model.gpus} GPU{'s' * (model.gpus != 1)} each, {free[not node]}",
                lambda intent=intent: app.acting.ask(intent),
                key if not node else "",
            )
        if not app.sight.node:
            return


def _go(app: ConsoleApp, name: str) -> None:
    app.sight.node = name
    app.open_view("node")
    app.view.show(app.frame)


_PLANNED = frozenset(("drain", "launch", "rebalance", "undo", *_OF_A_NAME))
"""First words of entries that open a plan."""


class PaletteBox(Box):
    def __init__(self, typed: str, listed: list[Entry] | None) -> None:
        super().__init__()
        self.editor, self.listed = Editor(typed), listed
        self.place = 0
        self.found: list[Entry] = []

    def search(self) -> None:
        self.found = entries(self.app, self.editor.text, self.listed)
        self.place = max(0, min(self.place, len(self.found) - 1))

    def content(self, width: int) -> list[Row]:
        self.search()
        lines = [
            self.row().put(": ", "accent", True).column(self.editor.text + "▏", width - 2, "strong", True),
            self.row().put("─" * width, "line"),
        ]
        room = max(1, self.size.height - 6)
        top = max(0, min(self.place - room // 2, len(self.found) - room))
        for number, entry in enumerate(self.found[top : top + room], top):
            lines.append(self._entry(entry, number == self.place, width))
        if not self.found:
            lines.append(self.row().put("  nothing has that name", "dim"))
        lines += [self.row() for _ in range(room - max(1, len(self.found[top : top + room])))]
        plans = self.listed is None and bool(self.found) and self.found[self.place].text.split()[0] in _PLANNED
        hint = "make a plan (nothing runs yet)" if plans else "do it"
        return [
            *lines,
            self.row().put("─" * width, "line"),
            self.row().pairs(
                "↵ ",
                "strong",
                hint,
                "dim",
                "   tab ",
                "strong",
                "complete",
                "dim",
                "   ↑ ↓ ",
                "strong",
                "choose",
                "dim",
                "   esc",
                "strong",
            ),
        ]

    def _entry(self, entry: Entry, chosen: bool, width: int) -> Row:
        row = self.row("chosen" if chosen else "")
        name = min(max(34, cells(entry.text) + 1), width // 2 + 6)
        row.put("› " if chosen else "  ", "accent", True).column(entry.text, name, "strong" if chosen else "text", chosen)
        return row.column(entry.note, width - name - 7, "dim").column(entry.key, 5, "strong", True, right=True)


class PaletteScreen(Modal[None]):
    def __init__(self, typed: str = "", after: str = "", listed: list[Entry] | None = None) -> None:
        """listed: what there is to choose from, when it is not everything that can be done."""
        super().__init__()
        self.box = PaletteBox(typed, listed)
        self.after = after
        """What is preferred at the end of an entry, as " on NODE"."""

    def compose(self) -> ComposeResult:
        yield self.box

    def on_mount(self) -> None:
        super().on_mount()
        self.box.search()
        if self.after:
            self.box.place = next((number for number, entry in enumerate(self.box.found) if entry.text.endswith(self.after)), 0)

    def press(self, event: events.Key) -> None:
        box = self.box
        if event.key == "enter":
            if box.found:
                chosen = box.found[box.place]
                self.dismiss(None)
                self.app.call_later(chosen.do)
        elif event.key == "tab" and box.found:
            box.editor.replace(box.found[box.place].text)
        elif event.key in ("down", "up", "ctrl+n", "ctrl+p"):
            box.place += 1 if event.key in ("down", "ctrl+n") else -1
        elif box.editor.press(event):
            box.place = 0

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self.box.editor.insert(event.text)
        self.box.repaint()
