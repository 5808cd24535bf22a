"""How a worker ends: what a signal does, what is said of the requests that are left, and with which status it goes.

The first SIGTERM or SIGINT drains; when nothing is left the process ends with 0. With a deadline what is left then is cut, each
with an error that its client sees, and the status is CUT_AT_DEADLINE. A second signal ends the process at once.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from .api import ApiError
from .lifecycle import Lifecycle, narrate

FAILED = 1
CUT_AT_DEADLINE = 5
SIGTERM_TWICE = 128 + signal.SIGTERM
TELL_INTERVAL_S = 5.0
CUT_LIMIT_S = 2.0
"""How long clients of cut requests may take to read that they were cut."""
TOLD_IDS_LIMIT = 256


class Work(Protocol):
    """What is being served, as far as its end goes."""

    @property
    def running(self) -> int: ...
    @property
    def waiting(self) -> int: ...

    def open_ids(self) -> list[str]: ...
    def cut(self, error: ApiError) -> None: ...
    def totals(self) -> dict: ...


class Farewell:
    """Waits for the end and says how it went."""

    def __init__(self, lifecycle: Lifecycle, work: Work, deadline_s: float | None, leave_nothing: Callable[[], None]) -> None:
        self._lifecycle, self._work, self._deadline_s, self._leave_nothing = lifecycle, work, deadline_s, leave_nothing
        self._finished = asyncio.Event()
        self._status = 0
        self._why: str | None = None
        """Why some requests were not answered in full; None where all were."""

    def listen(self) -> None:
        """Take signals from now on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ask_to_end)

    def ask_to_end(self) -> None:
        """What one signal does."""
        lifecycle = self._lifecycle
        if lifecycle.leaving:
            self._end_now()
        lifecycle.leaving = True
        self._say_leaving()
        lifecycle.on_idle = self._finished.set
        if lifecycle.state == "STARTING":
            self._finished.set()  # nothing was accepted yet, so nothing can be lost
        elif self._deadline_s is not None:
            asyncio.get_running_loop().call_later(self._deadline_s, self._cut)
        lifecycle.drain()

    async def wait(self, failed: asyncio.Event) -> int:
        """The exit status, once there is nothing more to do."""
        telling, listening = (asyncio.create_task(work) for work in (self._tell_what_is_left(), self._lifecycle.supervisor.listen()))
        ends = [asyncio.create_task(event.wait()) for event in (failed, self._finished)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in (telling, listening, *ends):
            task.cancel()
        return FAILED if failed.is_set() else self._status

    def say_goodbye(self, status: int) -> None:
        """The last line: what was served, for whoever reads no metrics any more."""
        reason = self._lifecycle.reason or self._why
        # It stands last, where whoever shows the end of the log shows it.
        narrate("ended", status=status, **self._work.totals(), **({"reason": reason} if reason else {}))

    async def _tell_what_is_left(self) -> None:
        while True:
            await asyncio.sleep(TELL_INTERVAL_S)
            if self._lifecycle.is_draining:
                narrate("draining", in_flight=self._lifecycle.in_flight, running=self._work.running, waiting=self._work.waiting)
            if self._lifecycle.leaving:
                self._say_leaving()

    def _say_leaving(self) -> None:
        self._lifecycle.supervisor.leaving(self._lifecycle.in_flight, TELL_INTERVAL_S * 6)

    def _cut(self) -> None:
        ids = self._work.open_ids()
        if not ids:
            return
        self._status = CUT_AT_DEADLINE
        self._why = f"the drain deadline passed and cut {len(ids)} requests"
        narrate("deadline", cut=len(ids), ids=ids[:TOLD_IDS_LIMIT])
        self._work.cut(ApiError(503, "This worker had to end before the answer was whole.", code="drain_deadline", retry_after_s=1))
        asyncio.get_running_loop().call_later(CUT_LIMIT_S, self._finished.set)

    def _end_now(self) -> None:
        ids = self._work.open_ids()
        self._why = f"a second signal cut {len(ids)} requests"
        narrate("cut", cut=len(ids), ids=ids[:TOLD_IDS_LIMIT])
        self.say_goodbye(SIGTERM_TWICE)
        self._leave_nothing()
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(SIGTERM_TWICE)
