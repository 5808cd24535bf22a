"""What the screens know of the future: the history's lessons, learned anew now and then beside the loop, and one look a few seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from opsconsole.core.learned import NOTHING_LEARNED, Learned
from opsconsole.core.outlook import Outlook, outlook
from opsconsole.core.whatif import WhatIfError

if TYPE_CHECKING:
    from opsconsole.core.fleet import Fleet
    from opsconsole.tui.app import ConsoleApp
    from opsconsole.tui.frame import Frame

LEARN_AGAIN_S, LEARN_AT_FIRST_S = 60.0, 10.0
"""A young history is learned from more often, because each minute of it tells much."""
LOOK_AGAIN_S, STALE_S = 3.0, 30.0
"""A look over thousands of GPUs takes a part of a second, and what it tells is no matter of seconds; of a moment that is further away
than STALE_S it tells nothing."""

Learn = Callable[["Fleet"], Learned]


class Foresight:
    """learn: None where there is no history."""

    def __init__(self, app: ConsoleApp, learn: Learn | None) -> None:
        self.app, self._learn = app, learn
        self.learned = NOTHING_LEARNED
        self.what_if = ""
        """What is imagined on the capacity screen; "" when nothing is."""
        self.trouble = ""
        """Why what was typed cannot be imagined; "" when it can."""
        self._asked_at: float | None = None
        self._looks: tuple[Outlook, Outlook | None] | None = None
        self._what: tuple[object, ...] = ()
        """Roster and what is imagined, of the looks."""
        self._looked_at, self._learned_then, self._is_looking = 0.0, NOTHING_LEARNED, False

    def tick(self) -> None:
        """Learn again when it is time to: of this moment, or because another one is looked at."""
        fleet = self.app.frame.fleet if self.app.frame is not None else None
        again_s = min(max(self.learned.span_s / 4, LEARN_AT_FIRST_S), LEARN_AGAIN_S)
        if fleet is None or self._learn is None or (self._asked_at is not None and abs(fleet.at - self._asked_at) < again_s):
            return
        self._asked_at = fleet.at
        self.app.run_worker(self._learn_from(self._learn, fleet), exit_on_error=False)

    async def _learn_from(self, learn: Learn, fleet: Fleet) -> None:
        """Beside the loop, because much of the history is read."""
        self.learned = await asyncio.to_thread(learn, fleet)

    def ask(self) -> None:
        """What shall be imagined is typed at the foot of the screen."""
        from opsconsole.tui.screens.what_if_prompt import WhatIfPrompt

        self.app.push_screen(WhatIfPrompt(self.what_if))

    def imagine(self, expression: str) -> None:
        """From now on looks have a second part: what would be then. What cannot be imagined is said in `trouble`, and not kept."""
        self.what_if, self.trouble = expression.strip(), ""
        if self.app.frame is not None and self.what_if:
            self.looks(self.app.frame)
        if self.trouble:
            self.what_if = ""
        if self.app.view is not None:
            self.app.view.repaint()

    def looks(self, frame: Frame) -> tuple[Outlook, Outlook | None]:
        """The look at the frame's fleet, and at what is imagined."""
        fleet, what = frame.fleet, (frame.fleet.roster, self.what_if)
        is_other = self._looks is None or what != self._what or abs(fleet.at - self._looked_at) > STALE_S
        if is_other:
            self._what, self._looked_at, self._learned_then = what, fleet.at, self.learned
            self._looks = self._looked(fleet)
        elif not self._is_looking and (abs(fleet.at - self._looked_at) >= LOOK_AGAIN_S or self._learned_then is not self.learned):
            self._is_looking = True
            self.app.run_worker(self._look_again(fleet, what), exit_on_error=False)
        return self._looks

    async def _look_again(self, fleet: Fleet, what: tuple[object, ...]) -> None:
        """Beside the loop, so that no key waits for it."""
        learned = self.learned
        try:
            looks = await asyncio.to_thread(self._looked, fleet)
        finally:
            self._is_looking = False
        if what == self._what:
            self._looks, self._looked_at, self._learned_then = looks, fleet.at, learned
            if self.app.view is not None:
                self.app.view.repaint()

    def _looked(self, fleet: Fleet) -> tuple[Outlook, Outlook | None]:
        try:
            looks = outlook(fleet, self.learned, self.what_if)
        except WhatIfError as error:
            looks, self.trouble = outlook(fleet, self.learned), str(error)
        for look in filter(None, looks):
            look.complete()
        return looks
