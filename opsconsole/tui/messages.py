"""What the session and the widgets say to the app."""

from __future__ import annotations

from textual.message import Message

from opsconsole.core.fleet import Fleet


class FleetChanged(Message):
    """A newer Fleet is here. It replaces one still in the queue, so a slow terminal never falls behind."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self.fleet = fleet

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, FleetChanged)
