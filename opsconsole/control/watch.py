"""The only place that rebinds the fleet: events of all links wait in a bounded inbox and are folded in batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from opsconsole.core.events import Answered, Booked, Event, Linked, Lost, Sampled, Ticked
from opsconsole.core.fleet import Fleet
from opsconsole.core.fold import fold

TICK_S = 1.0
HURRY_S = 0.05
"""A node lost or found, and what was said of an alarm, is shown so soon, not at the next tick."""
INBOX_LIMIT = 200_000


class Link(Protocol):
    """One node's connection, real or simulated."""

    name: str

    async def run(self, emit: Callable[[Event], None]) -> None: ...

    def send(self, order: dict) -> bool: ...


class Watch:
    """Runs one task a link and publishes a new Fleet each tick. `publish` and `heard` must not block."""

    def __init__(
        self, fleet: Fleet, links: Iterable[Link], publish: Callable[[Fleet], None], heard: Callable[[Answered | Linked], None]
    ) -> None:
        self.fleet = fleet
        self.links = {link.name: link for link in links}
        self._publish, self._heard = publish, heard
        self._inbox: list[Event] = []
        self._hurry = asyncio.Event()
        self.dropped = 0

    async def run(self) -> None:
        """Until cancelled. A link that fails is itself reported as an error of its node, and ends nothing else."""
        async with asyncio.TaskGroup() as tasks:
            for link in self.links.values():
                tasks.create_task(self._keep(link))
            await self._fold_for_ever()

    async def _keep(self, link: Link) -> None:
        while True:
            try:
                await link.run(self.emit)
            except Exception as error:  # a defect in one link must not take the others with it
                from opsconsole.core.fleet import UNREACHABLE
                self.emit(Lost(link.name, time.monotonic(), UNREACHABLE, f"internal error in its link: {type(error).__name__}: {error}"))
            await asyncio.sleep(5.0)

    def emit(self, event: Event) -> None:
        """Takes one event. Answers, and that a node is linked, are told at once; samples beyond the limit are dropped, for newer follow."""
        if isinstance(event, Answered):
            self._heard(event)
            return
        if isinstance(event, Linked):
            self._heard(event)
        if len(self._inbox) >= INBOX_LIMIT and isinstance(event, Sampled):
            self.dropped += 1
            return
        self._inbox.append(event)
        if isinstance(event, (Lost, Linked, Booked)):
            self._hurry.set()

    async def _fold_for_ever(self) -> None:
        next_tick = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= next_tick:
                next_tick = max(next_tick + TICK_S, now)
                self._step([Ticked(time.time(), now)])
            elif self._inbox and self._hurry.is_set():
                self._hurry.clear()
                self._step([])
            try:
                await asyncio.wait_for(self._hurry.wait(), max(next_tick - time.monotonic(), 0.0))
                await asyncio.sleep(HURRY_S)
            except TimeoutError:
                pass

    def _step(self, clock: list[Event]) -> None:
        events, self._inbox = self._inbox, []
        self.fleet = fold(self.fleet, events + clock)
        self._publish(self.fleet)
