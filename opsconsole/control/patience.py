"""An event loop that waits a moment between polls, so that a thousand nodes' samples cost a few wakeups a second, not a thousand."""

from __future__ import annotations

import asyncio
import selectors
import time

PATIENT_FROM_LINKS = 200
"""With fewer links there is little to save, and a front's request is answered at once."""
PAUSE_S = 0.02


class PatientSelector(selectors.DefaultSelector):
    """Polls at most every PAUSE_S: what becomes ready meanwhile is read together."""

    def __init__(self) -> None:
        super().__init__()
        self._next_poll_mono = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        pause_s = self._next_poll_mono - time.monotonic()
        if pause_s > 0 and (timeout is None or timeout > 0):
            pause_s = pause_s if timeout is None else min(pause_s, timeout)
            time.sleep(pause_s)
            timeout = None if timeout is None else timeout - pause_s
        ready = super().select(timeout)
        if timeout is None or timeout > 0:
            self._next_poll_mono = time.monotonic() + PAUSE_S
        return ready


def loop_for(links: int) -> asyncio.AbstractEventLoop:
    """A loop fit for so many links."""
    return asyncio.SelectorEventLoop(PatientSelector() if links >= PATIENT_FROM_LINKS else None)
