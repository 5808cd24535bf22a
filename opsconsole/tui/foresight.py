"""What the screens know of the future: the history's lessons, learned anew now and then beside the loop, and one look a few seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from opsconsole.core.learned import NOTHING_LEARNED, Learned
from opsconsole.core.outlook import Outlook, outlook
from opsconsole.core.whatif import WhatIfError

if TYPE_CHECKING:
    from opsconsole.core.fleet import Fleet
    from opsconsole.tui.frame import Frame

LEARN_AGAIN_S, LEARN_AT_FIRST_S = 60.0, 10.0
"""A young history is learned from more often, because each minute of it tells much."""
LOOK_AGAIN_S = 5.0
"""A look over thousands of GPUs takes a part of a second, and what it tells is no matter of seconds."""

Learn = Callable[["Fleet"], Learned]


class Foresight:
    def __init__(self, learn: Learn | None) -> None:
        self._learn = learn
        self.learned = NOTHING_LEARNED
        self.what_if = ""
        """What is imagined on the capacity screen; "" when nothing is."""
        self.trouble = ""
        """Why what was typed cannot be imagined; "" when it can."""
        self._asked_at: float | None = None
        self._key: tuple[object, ...] = ()
        self._looks: tuple[Outlook, Outlook | None] | None = None

    def is_due(self, fleet: Fleet) -> bool:
        """Whether it is time to learn again: of this moment, or because another moment is looked at."""
        again_s = min(max(self.learned.span_s / 4, LEARN_AT_FIRST_S), LEARN_AGAIN_S)
        return self._learn is not None and (self._asked_at is None or abs(fleet.at - self._asked_at) >= again_s)

    def learn(self, fleet: Fleet) -> Learned:
        """Takes a while: for a thread."""
        return self._learn(fleet) if self._learn is not None else NOTHING_LEARNED

    def begin(self, fleet: Fleet) -> None:
        self._asked_at = fleet.at

    def imagine(self, expression: str) -> None:
        """From now on looks have a second part: what would be then. What cannot be imagined is said in `trouble` at the next look."""
        self.what_if, self.trouble, self._key = expression.strip(), "", ()

    def looks(self, frame: Frame) -> tuple[Outlook, Outlook | None]:
        """The look at the frame's fleet, and at what is imagined."""
        fleet = frame.fleet
        key = (fleet.roster, int(fleet.at // LOOK_AGAIN_S), self.learned, self.what_if, len(fleet.workers))
        if self._looks is None or key != self._key:
            self._key, self._looks = key, self._looked(fleet)
        return self._looks

    def _looked(self, fleet: Fleet) -> tuple[Outlook, Outlook | None]:
        try:
            looks = outlook(fleet, self.learned, self.what_if)
            self.trouble = ""
        except WhatIfError as error:
            looks, self.trouble = outlook(fleet, self.learned), str(error)
        return looks
