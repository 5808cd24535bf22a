"""Reaching a server's port: names resolved off the loop, and no time of the ramp spent on a server that does not greet."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator

import asyncssh

from opsconsole.ssh.hosts import Target

CONNECT_LIMIT_S = 5.0
GREETING_LIMIT_S = 5.0
PROBE_LIMIT_S = 1.0
RESOLVE_LIMIT_S = 4.0
RESOLVER_THREADS = 64
"""asyncio's own pool has six: a quarter of a fleet with a slow name server made the others wait 12 s there."""


class NoName(Exception):
    """The host's name cannot be resolved."""


class NoAnswer(Exception):
    """No TCP connection could be made."""


class NoGreeting(Exception):
    """The port accepts connections, but no SSH server speaks."""


class Resolver:
    """Names to addresses, in threads of its own."""

    def __init__(self) -> None:
        self._threads = concurrent.futures.ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")

    async def addresses(self, host: str, port: int) -> list[tuple[int, tuple]]:
        """(family, address) in the order to try. Raises NoName."""
        with contextlib.suppress(OSError):
            return [(info[0], info[4]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)]
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_LIMIT_S):
                found = await loop.run_in_executor(self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            raise NoName(f"name {host} cannot be resolved: {getattr(error, 'strerror', None) or error}") from None
        except TimeoutError:
            raise NoName(f"name {host} was not resolved within {RESOLVE_LIMIT_S:.0f} s") from None
        return [(info[0], info[4]) for info in found]

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


@contextlib.asynccontextmanager
async def connected(resolver: Resolver, target: Target, limit_s: float) -> AsyncIterator[socket.socket]:
    """A connected socket; whoever keeps it detaches it, else it is closed. Raises NoName, NoAnswer."""
    sock = await _connect(resolver, target, limit_s)
    try:
        yield sock
    finally:
        sock.close()


async def _connect(resolver: Resolver, target: Target, limit_s: float) -> socket.socket:
    addresses = await resolver.addresses(target.host, target.port)
    reason = f"no answer from {target.where}"
    try:
        async with asyncio.timeout(limit_s):
            for family, address in addresses:
                try:
                    return await _connect_to(family, address)
                except OSError as error:
                    if error.errno in (errno.EMFILE, errno.ENFILE):
                        raise
                    reason = f"{target.where}: {os.strerror(error.errno) if error.errno else error}"
    except TimeoutError:
        pass
    raise NoAnswer(reason)


async def _connect_to(family: int, address: tuple) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def greeting(sock: socket.socket, target: Target) -> None:
    """Waits until the server has said something, without taking it. Raises NoGreeting."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock.fileno(), lambda: readable.done() or readable.set_result(None))
    try:
        async with asyncio.timeout(GREETING_LIMIT_S):
            await readable
    except TimeoutError:
        raise NoGreeting(f"{target.where} accepts connections but no SSH server speaks there") from None
    finally:
        loop.remove_reader(sock.fileno())


async def accepts(resolver: Resolver, target: Target, tunnel: asyncssh.SSHClientConnection | None) -> bool:
    """Whether the server's port takes a fresh connection now, seen from here or from its jump host."""
    try:
        async with asyncio.timeout(PROBE_LIMIT_S):
            if tunnel is not None:
                channel, _ = await tunnel.create_connection(asyncssh.SSHTCPSession, target.host, target.port)
                channel.abort()
                return True
            async with connected(resolver, target, PROBE_LIMIT_S):
                return True
    except (NoName, NoAnswer, TimeoutError, OSError, asyncssh.Error):
        return False
