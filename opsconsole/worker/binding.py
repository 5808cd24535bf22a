"""Where a worker listens: a TCP port, or a unix socket that is the owner's only and is gone when the worker is."""

import fcntl
import ipaddress
import os
import socket
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from .options import Options

BACKLOG = 1024
"""A gateway opens a connection for each request: more at once than the usual 128 is no attack."""
ASK_LIMIT_S = 1.0


class CannotListen(Exception):
    """The address is not to be had; the text says which and why."""


class Binding:
    """One listening address, from `open` to `close`."""

    def __init__(self, options: Options) -> None:
        self._host, self._port, self._path = options.host, options.port, options.uds
        self._inode: int | None = None
        self._addresses: list[Any] = []

    async def open(self, runner: web.AppRunner) -> dict[str, Any]:
        """Listen; returns what to say of it. Raises CannotListen."""
        where = str(self._path) if self._path else f"{self._host}:{self._port}"
        try:
            if self._path:
                await web.SockSite(runner, self._open_unix(self._path), backlog=BACKLOG).start()
                return {"uds": str(self._path)}
            await web.TCPSite(runner, self._host, self._port, backlog=BACKLOG).start()
        except OSError as error:
            raise CannotListen(f"cannot listen on {where}: {error.strerror or error}") from error
        self._addresses = runner.addresses
        return {"port": self._addresses[0][1], "host": self._host}

    @property
    def is_reachable_from_outside(self) -> bool:
        """Whether other machines can connect."""
        return not all(ipaddress.ip_address(address[0].partition("%")[0]).is_loopback for address in self._addresses)

    def close(self) -> None:
        """Leave no socket file behind; one that another worker has put there since is not touched."""
        with suppress(OSError):
            if self._path and self._inode is not None and os.lstat(self._path).st_ino == self._inode:
                os.unlink(self._path)

    def _open_unix(self, path: Path) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        try:
            with _alone_in(path.parent):
                _remove_stale(path)
                # The mode has to be right from the first moment, and only the process's mask can do that.
                mask = os.umask(0o177)
                try:
                    listener.bind(str(path))
                finally:
                    os.umask(mask)
                listener.listen(BACKLOG)  # before anybody else may judge whether it is stale
                self._inode = os.lstat(path).st_ino
        except BaseException:
            listener.close()
            raise
        return listener


@contextmanager
def _alone_in(folder: Path):
    """Two workers that find the same stale socket must not remove each other's new one."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _remove_stale(path: Path) -> None:
    """Make room where a dead worker's socket is in the way. Raises OSError where anything else is."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise FileExistsError(None, "a file that is no socket is there")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ASK_LIMIT_S)
        with suppress(ConnectionRefusedError):
            probe.connect(str(path))
            raise FileExistsError(None, "another process listens there")
    os.unlink(path)
