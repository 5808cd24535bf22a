"""The plan in full before the yes; what can be chosen about it is chosen here, and the plan is made again with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual import events, work
from textual.app import ComposeResult

from opsconsole.core.steps import Intent, Plan
from opsconsole.tui.draft import KEYS, PHRASE, Draft
from opsconsole.tui.screens.modal import Modal
from opsconsole.tui.widgets.plan_box import PlanBox

BOX_WIDTH = 92
_SCROLLS = {"down": 1, "up": -1, "pagedown": 8, "pageup": -8}


class PlanConfirm(Modal[Plan]):
    """Ends with the plan that was said yes to, or None. ask: makes a plan, or raises with why there is none."""

    def __init__(self, draft: Draft, ask: Callable[[Intent], Awaitable[Plan]]) -> None:
        super().__init__()
        self.draft, self.ask = draft, ask
        self.box = PlanBox(draft)
        self._asking = False

    def compose(self) -> ComposeResult:
        yield self.box

    def on_mount(self) -> None:
        super().on_mount()
        self._make()

    @work(exit_on_error=False)
    async def _make(self) -> None:
        """Ask for a plan of what the form says until there is one of what it says now: one question at a time, the newest wins."""
        if self._asking:
            return
        self._asking = True
        try:
            while (intent := self.draft.unplanned()) is not None:
                try:
                    self.draft.planned(intent, await self.ask(intent))
                except Exception as error:  # a refusal or a lost collector: said here, never raised into the screen
                    self.draft.broke(intent, f"no plan: {error}")
                self._redraw()
        finally:
            self._asking = False
        self._redraw()

    def _redraw(self) -> None:
        self.fit_box()
        self.box.repaint()

    def fit_box(self) -> None:
        width = min(BOX_WIDTH, self.app.size.width) - 4
        self.box.styles.height = max(8, min(self.app.size.height, self.box.wanted_height(width)))

    def press(self, event: events.Key) -> None:
        draft = self.draft
        if event.key == "enter":
            self._say_yes()
        elif event.key in ("tab", "shift+tab"):
            draft.go_on(1 if event.key == "tab" else -1)
        elif event.key in _SCROLLS:
            draft.top = max(0, draft.top + _SCROLLS[event.key])
        elif draft.editor is not None:
            draft.editor.press(event)
            self._changed()
        elif event.key in ("left", "right"):
            draft.turn(1 if event.key == "right" else -1)
            self._changed()
        elif draft.focus == KEYS:
            self._key(event.key)

    def _say_yes(self) -> None:
        """Enter starts what is shown and typed for; what is still missing gets the keys."""
        if self.draft.is_ready:
            self.dismiss(self.draft.plan)
        elif self.draft.may_run:
            self.draft.focus = PHRASE

    def _key(self, key: str) -> None:
        if key == "d":
            self.draft.details, self.draft.top = not self.draft.details, 0
        elif key == "c":
            self.draft.command = self.draft.command_line()
            self.app.copy_to_clipboard(self.draft.command)
        self.fit_box()

    def _changed(self) -> None:
        if self.draft.focus != PHRASE:
            self.draft.command = ""
            self._make()

    def on_paste(self, event: events.Paste) -> None:
        """A pasted name is no confirmation: it must be typed. A field takes it."""
        event.stop()
        if self.draft.focus != PHRASE and self.draft.editor is not None:
            self.draft.editor.insert(event.text)
            self._changed()
            self.box.repaint()
