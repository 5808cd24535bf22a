"""What a node says, line by line: checked, counted when it is wrong, and emitted as events."""

from __future__ import annotations

import time
from collections.abc import Callable

from opsconsole.core.events import Answered, Event, Linked, Sampled, Troubled
from opsconsole.core.ingest import Answer, BadLine, Facts, Sample, ingest

TROUBLE_LASTS_S = 60.0
"""A trouble that is not repeated for so long is taken back."""


class Listener:
    """Takes the lines of one connection. heard: called at each good sample."""

    def __init__(self, name: str, emit: Callable[[Event], None], heard: Callable[[], None]) -> None:
        self._name, self._emit, self._heard = name, emit, heard
        self.heard_mono = time.monotonic()
        """When the last good sample came; before the first, when the connection was made."""
        self.has_sampled = False
        self.bad_lines = 0
        self._troubled_mono: float | None = None

    def take(self, line: bytes) -> None:
        try:
            said = ingest(line, self._name)
        except BadLine as error:
            self._refuse(error)
            return
        now_mono = time.monotonic()
        if isinstance(said, Sample):
            self.heard_mono, self.has_sampled = now_mono, True
            self._heard()
            self._emit(Sampled(self._name, time.time(), now_mono, said))
        elif isinstance(said, Facts):
            self._emit(Linked(self._name, now_mono, said))
        elif isinstance(said, Answer):
            self._emit(Answered(self._name, said))
        else:
            self._trouble(said.text)

    def _refuse(self, error: BadLine) -> None:
        self.bad_lines += 1
        if self.bad_lines & (self.bad_lines - 1) == 0:  # at 1, 2, 4, 8 …: a torrent of bad lines is not one of events
            self._trouble(f"{self.bad_lines} bad line{'s' if self.bad_lines > 1 else ''} from its agent, last: {error}")
        else:
            self._troubled_mono = time.monotonic()

    def _trouble(self, text: str) -> None:
        self._troubled_mono = time.monotonic()
        self._emit(Troubled(self._name, text))

    def check(self, now_mono: float) -> None:
        """Takes back a trouble that is over."""
        if self._troubled_mono is not None and now_mono - self._troubled_mono > TROUBLE_LASTS_S:
            self._troubled_mono = None
            self._emit(Troubled(self._name, ""))
