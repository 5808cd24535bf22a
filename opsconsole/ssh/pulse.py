"""One clock for all links: a timer for each node would cost more than its sample."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Protocol

PERIOD_S = 0.25


class Patient(Protocol):
    def check(self, now_mono: float) -> None:
        """Looks at its own age and acts, without waiting."""


class Pulse:
    """Calls `check` of everyone who has joined, four times a second."""

    def __init__(self) -> None:
        self._patients: set[Patient] = set()
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def watching(self, patient: Patient):
        self._patients.add(patient)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            self._patients.discard(patient)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while self._patients:
            await asyncio.sleep(PERIOD_S)
            now = time.monotonic()
            for patient in tuple(self._patients):
                try:
                    patient.check(now)
                except Exception as error:  # one link's defect must not stop everyone's clock
                    loop.call_exception_handler({"message": "a link could not be checked", "exception": error})

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
