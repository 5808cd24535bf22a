"""An SSH server in the test's own process that plays a node's agent as a test tells it to, well or badly."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncssh

from opsconsole.protocol import GPU_COLUMNS, MAGIC, NODE_COLUMNS, PROTOCOL_VERSION
from tests.ssh.sshd import spec

Act = Callable[[Any], Awaitable[None]]


def line(**message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def facts() -> bytes:
    return line(t="facts", protocol=PROTOCOL_VERSION, hostname="imitation", gpus={"uuid": ["GPU-1"], "index": [0], "name": ["H100"]})


def sample(number: int) -> bytes:
    return line(t="sample", seq=number, wall=1.0, mono=1.0, gpu=[[1.0] for _ in GPU_COLUMNS], node=[None for _ in NODE_COLUMNS])


async def begin(process: Any, noise: bytes = b"") -> None:
    """What stage.py and a good agent say first."""
    process.stdout.write(noise + b"OPSCONSOLE-STAGE HAVE\n" + MAGIC.encode() + b"\n" + facts())


async def samples(process: Any, count: int = 10**9, interval_s: float = 0.05) -> None:
    for number in range(1, count + 1):
        process.stdout.write(sample(number))
        await asyncio.sleep(interval_s)


async def behave(process: Any) -> None:
    await begin(process)
    await samples(process)


class Imitation:
    """A server with one operator key; `act` is played for each session."""

    def __init__(self, home: Path, act: Act, authorized: bool = True) -> None:
        self.home, self.act, self.authorized = home, act, authorized
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.operator = asyncssh.generate_private_key("ssh-ed25519")
        self.attempts = 0
        self.commands: list[str] = []

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Imitation]:
        key = self.home / "operator"
        self.operator.write_private_key(str(key))
        key.chmod(0o600)
        server = await asyncssh.listen(
            "127.0.0.1", 0, server_factory=lambda: _Server(self), server_host_keys=[self.host_key],
            process_factory=self._play, encoding=None,
        )
        self.port = server.sockets[0].getsockname()[1]
        self.write_known_hosts(self.host_key)
        try:
            yield self
        finally:
            server.close()

    def write_known_hosts(self, *keys: Any) -> Path:
        path = self.home / "known_hosts"
        path.write_text("".join(f"[127.0.0.1]:{self.port} {key.export_public_key().decode()}" for key in keys))
        return path

    def spec(self, **given: Any):
        return spec(address="127.0.0.1", port=self.port, identity=str(self.home / "operator"), **given)

    async def _play(self, process: Any) -> None:
        self.commands.append(process.command)
        with contextlib.suppress(asyncssh.Error, OSError):
            await self.act(process)
        process.exit(0)


class _Server(asyncssh.SSHServer):
    def __init__(self, imitation: Imitation) -> None:
        self._imitation = imitation
        imitation.attempts += 1

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: Any) -> bool:
        return self._imitation.authorized and key == self._imitation.operator.convert_to_public()


@contextlib.asynccontextmanager
async def bare_server(talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    """A port with something behind it that is no SSH server."""
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
