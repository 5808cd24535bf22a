"""The operator's private keys: read once, refused when others can read them, as OpenSSH does and asyncssh does not."""

from __future__ import annotations

import asyncio
import os
import shlex
import stat
from pathlib import Path
from typing import Any

import asyncssh

from opsconsole.ssh.hosts import DEFAULT_IDENTITIES, Target

AGENT_LIMIT_S = 2.0
AGENT_KEYS_LIMIT = 5
"""A server ends the connection at the sixth wrong key (MaxAuthTries)."""


class KeyTrouble(Exception):
    """A key that cannot be used; the text says what to do."""


class EncryptedKey(KeyTrouble):
    """A key behind a passphrase: an SSH agent must hold it."""


class Keyring:
    """Keys by path; a file is read again when it has changed. The operator's SSH agent is asked only when files are not enough."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[float, Any]] = {}
        self._agents: dict[str, asyncssh.SSHAgentClient] = {}

    async def credentials(self, target: Target) -> list[Any]:
        """What to offer to a server, as asyncssh takes it. Raises KeyTrouble when there is nothing."""
        named = target.identities or tuple(path for path in map(os.path.expanduser, DEFAULT_IDENTITIES) if os.path.exists(path))
        keys, troubles = [], []
        for path in named:
            try:
                keys.append(self._key(path))
            except KeyTrouble as error:
                troubles.append(error)
        is_locked = any(isinstance(trouble, EncryptedKey) for trouble in troubles)
        agent_path = target.agent_path or (os.environ.get("SSH_AUTH_SOCK") if is_locked or not target.identities else None)
        if agent_path:
            keys = await self._agent_keys(agent_path, target.identities, troubles) + keys
        if not keys:
            raise troubles[0] if troubles else KeyTrouble(
                f"no private key to log in with as {target.user}: name one with `identity` in the fleet file or IdentityFile in ssh_config"
            )
        return keys

    def _key(self, path: str) -> Any:
        """A key, or (key, certificate) where one lies beside it. Raises KeyTrouble."""
        check_mode(path)
        changed = os.stat(path).st_mtime
        if path not in self._keys or self._keys[path][0] != changed:
            self._keys[path] = changed, _read(path)
        return self._keys[path][1]

    async def _agent_keys(self, agent_path: str, identities: tuple[str, ...], troubles: list[KeyTrouble]) -> list[Any]:
        """The agent's keys: those that were named where a public half tells which, else the first few."""
        if agent_path not in self._agents:
            self._agents[agent_path] = asyncssh.SSHAgentClient(agent_path)
        try:
            async with asyncio.timeout(AGENT_LIMIT_S):
                keys = await self._agents[agent_path].get_keys(_public_halves(identities) or None)
        except (OSError, ValueError, TimeoutError) as error:
            mend = "start it, or name a key file with `identity`"
            troubles.append(KeyTrouble(f"SSH agent {agent_path} does not answer ({error or 'time-out'}): {mend}"))
            return []
        return list(keys)[:AGENT_KEYS_LIMIT]


def _public_halves(identities: tuple[str, ...]) -> list[bytes]:
    """What the agent calls the named keys."""
    found = []
    for path in identities:
        try:
            found.append(asyncssh.read_public_key(path + ".pub").public_data)
        except (OSError, asyncssh.KeyImportError):
            continue
    return found


def check_mode(path: str) -> None:
    """Raises KeyTrouble when the file is missing, or readable by others."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError as error:
        raise KeyTrouble(f"private key {path} cannot be read: {error.strerror}; check `identity` or IdentityFile") from None
    if mode & 0o077:
        raise KeyTrouble(f"private key {path} can be read by others (mode {mode:04o}): chmod 600 {shlex.quote(path)}")


def _read(path: str) -> Any:
    try:
        key = asyncssh.read_private_key(path)
    except (OSError, asyncssh.KeyImportError) as error:  # an encrypted key is a KeyImportError, too
        if isinstance(error, asyncssh.KeyEncryptionError) or "assphrase" in str(error):
            raise EncryptedKey(f"private key {path} is encrypted and no SSH agent holds it: ssh-add {shlex.quote(path)}") from None
        raise KeyTrouble(f"private key {path} cannot be used: {error}") from None
    certificate = Path(path + "-cert.pub")
    return (key, asyncssh.read_certificate(str(certificate))) if certificate.exists() else key
