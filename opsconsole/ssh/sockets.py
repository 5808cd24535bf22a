"""Unix sockets and files of another machine, for a router that runs there: one connection to it that comes back after a break."""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
from collections.abc import AsyncIterator
from typing import Any

import asyncssh

from opsconsole.hooks import RouterError
from opsconsole.ssh.failures import LinkFailure, put_into_words
from opsconsole.ssh.jump import Jump
from opsconsole.ssh.shared import Shared

CONNECT_LIMIT_S = 1.5
"""Whoever asks waits so long for a connection that is being made; it goes on meanwhile, and is there for the next."""


class Machine:
    """One machine, as hooks.Elsewhere has it. text: "[user@]host[:port]". Raises HostsError."""

    def __init__(self, shared: Shared, text: str) -> None:
        self.target = shared.hosts.server(text)
        self.name = self.target.name
        self._line = Jump(self.target, lambda: shared.open_lasting(self.target), self.name)

    async def open(self, socket: str) -> tuple[Any, Any]:
        connection = await self._connection()
        async with self._in_words(socket):
            return await connection.open_unix_connection(socket)

    async def write(self, path: str, text: str) -> None:
        connection = await self._connection()
        beside = posixpath.join(posixpath.dirname(path), f".{posixpath.basename(path)}.new")
        async with self._in_words(path), connection.start_sftp_client() as files:
            with contextlib.suppress(asyncssh.SFTPNoSuchFile):
                await files.remove(beside)
            async with files.open(beside, "x", asyncssh.SFTPAttrs(permissions=0o600)) as file:
                await file.write(text)
            await files.posix_rename(beside, path)

    async def close(self) -> None:
        await self._line.close()

    async def _connection(self) -> asyncssh.SSHClientConnection:
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                return await self._line.connection()
        except TimeoutError:
            raise RouterError(f"{self.name}: the SSH connection is still being made") from None
        except LinkFailure as failure:
            raise RouterError(failure.cause) from None

    @contextlib.asynccontextmanager
    async def _in_words(self, path: str) -> AsyncIterator[None]:
        try:
            yield
        except asyncssh.ChannelOpenError:  # sshd gives one reason for all of these
            asked = "is its server running, may that user use the socket, and does sshd there forward it (AllowStreamLocalForwarding)?"
            raise RouterError(f"{self.name}: {path} cannot be connected to as {self.target.user}: {asked}") from None
        except asyncssh.SFTPError as error:
            raise RouterError(f"{self.name}: {path} cannot be written over SFTP: {put_into_words(error, self.target).cause}") from None
        except (asyncssh.Error, OSError) as error:
            raise RouterError(f"{self.name}: {put_into_words(error, self.target).cause}") from None
