"""One node of the demo: a real SSH server on loopback that runs real commands in the node's own directory, and can be cut or hung."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import asyncssh

USER = "demo"
CHUNK_BYTES = 65536
END_LIMIT_S = 3.0
"""How long a command may go on after its channel has closed."""
_PASSED_ON = ("LANG", "LC_ALL", "TZ", "TMPDIR")


class Node:
    """The server of one node. Raises OSError when it cannot listen."""

    def __init__(self, name: str, home: Path, host_key: asyncssh.SSHKey, user_key: asyncssh.SSHKey):
        self.name, self.home = name, home
        self.port = 0
        self._host_key, self._user_key = host_key, user_key
        self._listener: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._children: set[asyncio.subprocess.Process] = set()
        self._tasks: set[asyncio.Task] = set()
        self._is_hung = False

    async def open(self) -> None:
        """Listen on loopback: at any free port the first time, at the same one after a cut."""
        self._listener = await asyncssh.listen(
            "127.0.0.1", self.port, server_factory=lambda: _Doorman(self), server_host_keys=[self._host_key],
            process_factory=self._take, encoding=None, allow_pty=False, agent_forwarding=False, x11_forwarding=False,
            public_key_auth=True, password_auth=False, kbdint_auth=False, host_based_auth=False, gss_host=None,
            login_timeout=10, keepalive_interval=0, reuse_address=True, config=None,
        )
        self.port = self._listener.get_port()

    async def cut(self) -> None:
        """As if the cable were pulled: nobody gets in, everybody inside is out."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)

    async def mend(self) -> None:
        if self._listener is None:
            await self.open()

    def hang(self, is_hung: bool) -> None:
        """Stop every command of the node where it stands, or let it go on."""
        if is_hung != self._is_hung:
            self._is_hung = is_hung
            for child in self._children:
                _signal_group(child, signal.SIGSTOP if is_hung else signal.SIGCONT)

    async def close(self) -> None:
        """End the server, its connections and the commands that run for them."""
        await self.cut()
        self.hang(False)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=END_LIMIT_S + 1.0)
        for child in list(self._children):
            _signal_group(child, signal.SIGKILL)

    def admits(self, key: asyncssh.SSHKey) -> bool:
        return key.public_data == self._user_key.public_data

    def arrived(self, connection: asyncssh.SSHServerConnection) -> None:
        self._connections.add(connection)

    def left(self, connection: asyncssh.SSHServerConnection) -> None:
        self._connections.discard(connection)

    def _take(self, channel: asyncssh.SSHServerProcess) -> None:
        task = asyncio.get_running_loop().create_task(self._run(channel))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, channel: asyncssh.SSHServerProcess) -> None:
        """One exec request from its first byte to its exit status."""
        if channel.command is None:
            channel.stderr.write(b"this node runs commands only\n")
            channel.exit(1)
            return
        child = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", channel.command, cwd=self.home, env=environment(self.home), start_new_session=True,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )
        self._children.add(child)
        if self._is_hung:
            _signal_group(child, signal.SIGSTOP)
        try:
            await self._converse(channel, child)
        finally:
            self._children.discard(child)
            child._transport.close()  # its pipes, which what it left behind may hold open; asyncio has no public word for that

    @staticmethod
    async def _converse(channel: asyncssh.SSHServerProcess, child: asyncio.subprocess.Process) -> None:
        feeding = asyncio.create_task(_feed(channel, child.stdin))
        telling = [asyncio.create_task(_tell(child.stdout, channel.stdout)), asyncio.create_task(_tell(child.stderr, channel.stderr))]
        closing = asyncio.create_task(channel.channel.wait_closed())
        told = asyncio.create_task(asyncio.wait(telling))
        await asyncio.wait([told, closing], return_when=asyncio.FIRST_COMPLETED)
        feeding.cancel()
        child.stdin.close()
        if not await _ended(child):
            _signal_group(child, signal.SIGCONT)
            _signal_group(child, signal.SIGKILL)
            await child.wait()
        for task in (told, *telling, closing):
            task.cancel()
        with contextlib.suppress(OSError, asyncssh.Error):
            channel.exit(child.returncode if child.returncode >= 0 else 255)


class _Doorman(asyncssh.SSHServer):
    """Lets the demo's key in and nothing else; forwards no port (asyncssh refuses what is not asked for)."""

    def __init__(self, node: Node):
        self._node = node
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._node.arrived(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._node.left(self._connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == USER and self._node.admits(key)


def environment(home: Path) -> dict[str, str]:
    """What a login would give, and where the workers find this package, which may not be installed."""
    here = str(Path(__file__).resolve().parents[2])
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed_on | {
        "HOME": str(home), "USER": USER, "LOGNAME": USER, "SHELL": "/bin/sh", "PYTHONPATH": here, "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        # the nodes share what is compiled once, as real nodes share an artifact directory; the next demo finds it too
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
    }


async def _feed(channel: asyncssh.SSHServerProcess, pipe: asyncio.StreamWriter) -> None:
    """What the console says into the command, no faster than it reads; its end closes the command's standard input."""
    with contextlib.suppress(OSError, asyncssh.Error, asyncssh.BreakReceived, asyncssh.SignalReceived):
        while data := await channel.stdin.read(CHUNK_BYTES):
            pipe.write(data)
            await pipe.drain()
    pipe.close()


async def _tell(pipe: asyncio.StreamReader, stream: asyncssh.SSHWriter) -> None:
    """What the command says to the console, no faster than that reads."""
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await pipe.read(CHUNK_BYTES):
            stream.write(data)
            await stream.drain()


async def _ended(child: asyncio.subprocess.Process) -> bool:
    try:
        async with asyncio.timeout(END_LIMIT_S):
            await child.wait()
    except TimeoutError:
        return False
    return True


def _signal_group(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """To the command and what it started; workers have sessions of their own and are not meant."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)
