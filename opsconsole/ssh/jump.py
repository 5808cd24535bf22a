"""One lasting connection to a server, as to a jump host: shared by every node behind it, so that its loss is one cause and not hundreds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import asyncssh

from opsconsole.core.fleet import HUNG, UNREACHABLE
from opsconsole.ssh.failures import LinkFailure, put_into_words
from opsconsole.ssh.hosts import Target
from opsconsole.ssh.ramp import Backoff

Opener = Callable[[], Awaitable[asyncssh.SSHClientConnection]]


class Jump:
    """Connects when first asked, and again after a loss, but not more often than its backoff allows."""

    def __init__(self, target: Target, open_connection: Opener, called: str = "") -> None:
        """called: what causes name it, "jump NAME" unless said."""
        self.target, self._called = target, called or f"jump {target.name}"
        self._open = open_connection
        self._connection: asyncssh.SSHClientConnection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._backoff = Backoff()
        self._next_mono = 0.0
        self.failure: LinkFailure | None = None
        """Why there is no connection; None while there is one or none was tried."""

    async def connection(self) -> asyncssh.SSHClientConnection:
        """The living connection. Raises LinkFailure naming this jump host; all who wait get the same."""
        if self._connection is None and not (self.failure and time.monotonic() < self._next_mono):
            if self._opening is None:
                self._opening = asyncio.create_task(self._connect())
            await asyncio.shield(self._opening)
        if self._connection is None:
            raise self.failure or LinkFailure(UNREACHABLE, f"{self._called}: lost")
        return self._connection

    async def _connect(self) -> None:
        try:
            self._connection = await self._open()
        except Exception as error:  # whatever it was, those who wait must be told
            self._fail(error)
        else:
            self.failure = None
            self._backoff.reset()
            self._watching = asyncio.create_task(self._watch(self._connection))
        finally:
            self._opening = None

    async def _watch(self, connection: asyncssh.SSHClientConnection) -> None:
        try:
            await connection.wait_closed()
            raise asyncssh.ConnectionLost("Connection lost")
        except (OSError, asyncssh.Error) as error:
            self._connection = None
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        said = put_into_words(error, self.target)
        reach = UNREACHABLE if said.reach == HUNG else said.reach  # it is the jump host that hangs, not those behind it
        self.failure = LinkFailure(reach, f"{self._called}: {said.cause}", said.is_refused)
        self._next_mono = time.monotonic() + self._backoff.next_s(said.is_refused)

    async def close(self) -> None:
        for task in (self._opening, self._watching):
            if task is not None:
                task.cancel()
        if self._connection is not None:
            self._connection.abort()
