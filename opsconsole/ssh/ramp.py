"""How many connections are opened at once, and how long a link waits before it tries again."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Any

HANDSHAKES_LIMIT = 32
"""At once in a process: with 32 the loop's longest pause is a few tens of milliseconds."""
PER_SERVER_LIMIT = 8
"""Through one jump host, or to one server: sshd's MaxStartups drops at random beyond 10."""
SLOW_LIMIT = 4
"""Of those that failed last time, through one jump host: they wait for each other, never a healthy node for them."""
PLACE_LIMIT_S = 1.5
"""Whoever has not shaken hands by then goes on without its place: it waits for its server and costs nothing meanwhile."""
BACKOFF_FIRST_S = 0.2
BACKOFF_LAST_S = 5.0
BACKOFF_REFUSED_S = 30.0
"""After a refused key: sshd's PerSourcePenalties locks out a console that insists."""


@dataclass
class Lanes:
    """Room for handshakes; made inside the running loop."""

    handshakes: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(HANDSHAKES_LIMIT))
    _by_server: dict[tuple[str, bool], asyncio.Semaphore] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def through(self, server: str, is_slow: bool) -> AsyncIterator[None]:
        """A place among those that go to or through `server`."""
        limit = SLOW_LIMIT if is_slow else PER_SERVER_LIMIT
        async with self._by_server.setdefault((server, is_slow), asyncio.Semaphore(limit)):
            yield

    async def shake(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Does the work of one handshake, in a place among those of this process for as long as it is quick."""
        async with self.handshakes:
            task = asyncio.create_task(work)
            try:
                await asyncio.wait({task}, timeout=PLACE_LIMIT_S)
            except asyncio.CancelledError:
                task.cancel()
                raise
        try:
            return await task
        finally:
            task.cancel()


@dataclass
class Backoff:
    """Delays that double, with jitter so that a fleet that was lost together does not come back together."""

    random: random.Random = field(default_factory=random.Random)
    failures: int = 0

    def next_s(self, is_refused: bool = False) -> float:
        self.failures += 1
        if is_refused:
            return BACKOFF_REFUSED_S * self.random.uniform(1.0, 1.3)
        longest = min(BACKOFF_FIRST_S * 2 ** (self.failures - 1), BACKOFF_LAST_S)
        return longest * self.random.uniform(0.5, 1.0)

    def reset(self) -> None:
        self.failures = 0
