"""All keys, as the registry has them, by group."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult

from opsconsole.tui.actions import Action, shown
from opsconsole.tui.frame import GLYPHS, INKS
from opsconsole.tui.paint import Row
from opsconsole.tui.screens.modal import Box, Modal

GROUPS = {"move": "MOVE", "look": "LOOK", "views": "VIEWS", "act": "ACT, always with a plan first", "time": "TIME", "help": "MORE"}
_STATES = {"ok": "well", "loading": "starting", "draining": "draining", "warn": "warning", "stale": "stale", "crit": "critical",
           "cordoned": "cordoned"}


class HelpBox(Box):
    top = 0

    def caption(self) -> str:
        return "KEYS"

    def content(self, width: int) -> list[Row]:
        lines = self._all_lines(width)
        page = max(1, self.size.height - 3)
        self.top = max(0, min(self.top, len(lines) - page))
        more = self.row().put("↑ ↓ scroll   " if len(lines) > page else "", "accent").put("esc close", "accent")
        shown_lines = lines[self.top : self.top + page]
        return [*shown_lines, *[self.row() for _ in range(page - len(shown_lines))], more]

    def _all_lines(self, width: int) -> list[Row]:
        lines = []
        for group, heading in GROUPS.items():
            members = [action for action in self.app.actions if action.group == group]
            if members:
                lines += [self.row().put(heading, "dim", True), *(self._line(action, width) for action in members)]
        states = self.row()
        for state, words in _STATES.items():
            states.put(f"{GLYPHS[state]} ", INKS[state], True).put(words + "  ", "text")
        lines += [self.row().put("STATES", "dim", True), states]
        if self.app.travel.is_on:
            lines.append(self.row().put("In the past keys that change the fleet are off.", "warn"))
        if self.app.read_only:
            lines.append(self.row().put("Read only: keys that change the fleet are not bound.", "warn"))
        return lines

    def _line(self, action: Action, width: int) -> Row:
        keys = " ".join(shown(key) for key in action.keys)
        return (
            self.row()
            .put("  ")
            .column(keys, 15, "strong", True)
            .column(action.name, 14, "text")
            .column(action.help, max(0, width - 31), "dim")
        )


class HelpScreen(Modal[None]):
    def __init__(self) -> None:
        super().__init__()
        self.box = HelpBox()

    def compose(self) -> ComposeResult:
        yield self.box

    def fit_box(self) -> None:
        wanted = len(self.app.actions) + len(GROUPS) + 6
        self.box.styles.height = min(self.app.size.height, wanted)

    def press(self, event: events.Key) -> None:
        step = {"down": 1, "j": 1, "up": -1, "k": -1, "pagedown": 10, "pageup": -10}.get(event.key)
        if step is None:
            if event.key in ("q", "enter", "question_mark"):
                self.dismiss(None)
        else:
            self.box.top = max(0, self.box.top + step)
