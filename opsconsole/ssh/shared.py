"""What all links of a process share: options made once, keys and known hosts read once, jump hosts, and room for handshakes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import asyncssh

from opsconsole.core.fleet import HOST_KEY_CHANGED, HOST_KEY_UNKNOWN, UNREACHABLE
from opsconsole.ssh.bundle import Bundle, agent_bundle
from opsconsole.ssh.dial import CONNECT_LIMIT_S, NoAnswer, Resolver, connected, greeting
from opsconsole.ssh.failures import LinkFailure
from opsconsole.ssh.hostkeys import HostKeys, Witness, is_changed, refusal
from opsconsole.ssh.hosts import Hosts, Target
from opsconsole.ssh.jump import Jump
from opsconsole.ssh.keys import Keyring
from opsconsole.ssh.pulse import Pulse
from opsconsole.ssh.ramp import Lanes

LOGIN_LIMIT_S = 5.0
CLOSE_LIMIT_S = 1.0
FILES_WANTED = 65536
KEEPALIVE_S = 1.0
"""Between words to a jump host, or another lasting one; three unanswered ones end it. Nodes need none: samples show that they live."""

OPTIONS: dict[str, Any] = {
    "config": None,
    "client_factory": Witness,
    "preferred_auth": "publickey",
    "kex_algs": ("mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"),
    "encryption_algs": ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr", "aes128-ctr"),
    "compression_algs": ("none",),
    "connect_timeout": CONNECT_LIMIT_S,
    "login_timeout": LOGIN_LIMIT_S,
    "agent_path": None,
    "gss_host": None,
    "x509_trusted_certs": None,
}


class Settings(Protocol):
    """What a fleet file says about all connections."""

    ssh_config: Path | None
    known_hosts: tuple[Path, ...]
    nodes: tuple[Any, ...]


class Shared:
    """One for all links of a process; used within one event loop."""

    def __init__(self, hosts: Hosts, bundle: Bundle) -> None:
        logging.getLogger("asyncssh").setLevel(logging.WARNING)  # at INFO it logs command lines
        self.hosts, self.bundle = hosts, bundle
        self.resolver, self.keyring, self.lanes, self.pulse = Resolver(), Keyring(), Lanes(), Pulse()
        self._host_keys: dict[tuple[Path, ...], HostKeys] = {}
        self._jumps: dict[Target, Jump] = {}
        self._options = asyncssh.SSHClientConnectionOptions(**OPTIONS, client_keys=None)

    @classmethod
    def from_config(cls, config: Settings, source: Path | None = None) -> Shared:
        """source: a directory like the opsconsole package to take the agent from, for tests."""
        return cls(Hosts(config.ssh_config, config.known_hosts, config.nodes), agent_bundle(source))

    async def close(self) -> None:
        self.pulse.stop()
        for jump in self._jumps.values():
            await jump.close()
        self.resolver.close()

    def host_keys(self, paths: tuple[Path, ...]) -> HostKeys:
        if paths not in self._host_keys:
            self._host_keys[paths] = HostKeys(paths)
        return self._host_keys[paths]

    def jump(self, target: Target) -> Jump:
        """The one connection to a jump host, whoever goes through it."""
        if target not in self._jumps:
            self._jumps[target] = Jump(target, lambda: self.open_lasting(target))
        return self._jumps[target]

    def broken_jump(self, target: Target) -> LinkFailure | None:
        """The nearest of the target's jump hosts that is lost: then the target itself is not to blame."""
        if target.jump is None:
            return None
        return self.broken_jump(target.jump) or self.jump(target.jump).failure

    async def open_lasting(self, target: Target) -> asyncssh.SSHClientConnection:
        """A connection whose loss shows by itself, within a few KEEPALIVE_S."""
        connection, _ = await self.open(target, False, keepalive_interval=KEEPALIVE_S, keepalive_count_max=2)
        return connection

    async def open(self, target: Target, was_lost: bool, **more: Any) -> tuple[asyncssh.SSHClientConnection, Jump | None]:
        """A checked and authenticated connection. Raises what `put_into_words` understands."""
        options = {**await self._options_of(target), **more}
        if target.jump is not None:
            return await self._open_behind(target, target.jump, was_lost, options)
        if target.proxy_command:
            return await self.lanes.shake(self._hand_shake(target, {**options, "proxy_command": target.proxy_command})), None
        async with self._greeted(target, was_lost) as sock:
            return await self.lanes.shake(self._hand_shake(target, {**options, "sock": sock.dup()})), None

    async def _open_behind(
        self, target: Target, hop: Target, was_lost: bool, options: dict[str, Any]
    ) -> tuple[asyncssh.SSHClientConnection, Jump]:
        jump = self.jump(hop)
        tunnel = await jump.connection()
        try:
            async with self.lanes.through(hop.where, was_lost):
                connection = await self.lanes.shake(self._hand_shake(target, {**options, "tunnel": tunnel}))
        except asyncssh.ChannelOpenError as error:
            raise NoAnswer(f"no answer from {target.where}, seen from jump {hop.name}: {error.reason}") from None
        except TimeoutError:
            raise NoAnswer(f"no answer from {target.where}, seen from jump {hop.name}") from None
        return connection, jump

    @contextlib.asynccontextmanager
    async def _greeted(self, target: Target, was_lost: bool) -> AsyncIterator[Any]:
        """A socket on which an SSH server has begun to speak: silent servers must not take the room of others."""
        async with self.lanes.through(target.where, was_lost), connected(self.resolver, target, CONNECT_LIMIT_S) as sock:
            await greeting(sock, target)
            yield sock

    async def _options_of(self, target: Target) -> dict[str, Any]:
        host_keys = self.host_keys(target.known_hosts)
        host_keys.reload()  # the operator may have mended what was refused
        return {
            "host": target.host, "port": target.port, "username": target.user,
            "known_hosts": host_keys.find(target.host_key_name or target.host, target.port),
            "client_keys": await self.keyring.credentials(target),
        }

    async def _hand_shake(self, target: Target, options: dict[str, Any]) -> asyncssh.SSHClientConnection:
        witness = Witness()
        try:
            return await asyncssh.connect(options=self._options, **{**options, "config": None, "client_factory": lambda: witness})
        except asyncssh.HostKeyNotVerifiable:
            raise self._refused(target, witness) from None
        except asyncssh.ConnectionLost:
            hint = "its sshd may limit logins (MaxStartups, PerSourcePenalties)"
            raise LinkFailure(UNREACHABLE, f"{target.where} closed the connection during login; {hint}") from None

    def _refused(self, target: Target, witness: Witness) -> LinkFailure:
        host_keys = self.host_keys(target.known_hosts)
        name = target.host_key_name or target.host
        match = host_keys.find(name, target.port)
        reach = HOST_KEY_CHANGED if is_changed(match, witness.offered) else HOST_KEY_UNKNOWN
        return LinkFailure(reach, refusal(match, witness.offered, name, target.port, target.known_hosts))


async def shut(connection: asyncssh.SSHClientConnection) -> None:
    """Closes a connection. wait_closed can hang for ever on an unread channel, so only for a moment."""
    connection.close()
    try:
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await connection.wait_closed()
    except (TimeoutError, OSError, asyncssh.Error):
        connection.abort()


def raise_file_limit(wanted: int = FILES_WANTED) -> int:
    """Lets this process open as many files as it may, for each node is one. Returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < highest:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

