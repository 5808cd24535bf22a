"""Where each node is and how one logs in there: the fleet file's word first, then the operator's own ssh_config, read once."""

from __future__ import annotations

import getpass
import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from asyncssh import ConfigParseError
from asyncssh.config import SSHClientConfig

JUMP_LIMIT = 8
SAFE_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:%-]*")
"""A host that could be taken for an option, a path or a command is refused wherever it comes from."""
DEFAULT_KNOWN_HOSTS = (Path("~/.ssh/known_hosts").expanduser(), Path("~/.ssh/known_hosts2").expanduser(), Path("/etc/ssh/ssh_known_hosts"))
DEFAULT_IDENTITIES = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")


class HostsError(ValueError):
    """The way to a node cannot be found out; the text says why and what to do."""


class Spec(Protocol):
    """What a link must be told of its node; the fleet file's NodeSpec has these and more."""

    name: str
    address: str | None
    port: int | None
    user: str | None
    identity: str | None
    jump: str | None
    python: str
    worker_python: str
    work_dir: str
    gpus: str


@dataclass(frozen=True)
class Target:
    """One SSH server: everything a connection needs to know, compared by value so that a jump host is shared."""

    name: str
    """As the operator calls it: alias in ssh_config, or the node's name."""
    host: str
    port: int
    user: str
    identities: tuple[str, ...] = ()
    """Private key files to offer; () when none was named, then the default ones and the SSH agent are."""
    identities_only: bool = False
    agent_path: str | None = None
    """Socket of an SSH agent that was named in ssh_config."""
    known_hosts: tuple[Path, ...] = ()
    host_key_name: str = ""
    """The name under which the host's key is known (HostKeyAlias), "" when it is the host itself."""
    jump: Target | None = None
    proxy_command: str | None = None

    @property
    def where(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class _Block:
    """A `Host` or `Match` section; names: the literal hosts it is about, None when only a full match can tell."""

    names: frozenset[str] | None
    lines: tuple[str, ...]


class SshConfig:
    """An ssh_config cut into its sections once; for one host only the sections that may concern it are parsed, by asyncssh."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._blocks = _cut(path, 0) if path and path.exists() else []
        self._everybody = [(at, block) for at, block in enumerate(self._blocks) if block.names is None]
        self._by_name: dict[str, list[tuple[int, _Block]]] = {}
        for at, block in enumerate(self._blocks):
            for name in block.names or ():
                self._by_name.setdefault(name, []).append((at, block))

    def options(self, host: str, user: str | None = None) -> SSHClientConfig:
        """What the file says about `host`. Raises HostsError for a file that cannot be parsed."""
        blocks = sorted(self._everybody + self._by_name.get(host, []), key=lambda entry: entry[0])
        text = "\n".join(line for _, block in blocks for line in block.lines)
        with tempfile.NamedTemporaryFile("w", suffix=".ssh_config", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            try:
                return self._parse(file.name, host, user)
            except (ConfigParseError, OSError) as error:
                reason = re.sub(r"^\S+ line \d+: ", "", str(error))
                raise HostsError(f"{self.path}: what it says about {host} cannot be used: {reason}; mend that line") from None

    @staticmethod
    def _parse(path: str, host: str, user: str | None) -> SSHClientConfig:
        return SSHClientConfig.load(None, path, False, False, False, getpass.getuser(), user or (), host, ())  # type: ignore[arg-type]


def _cut(path: Path, depth: int) -> list[_Block]:
    """The sections of a file, those of files it includes in their place. An Include within a section is left to the parser."""
    blocks: list[_Block] = []
    names: frozenset[str] | None = None
    lines: list[str] = []
    is_global = True
    for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        words = line.replace("=", " ", 1).split()
        keyword = words[0].lower() if words else ""
        if keyword == "include" and is_global and depth < JUMP_LIMIT:
            blocks.append(_Block(names, tuple(lines)))
            lines = []
            for included in _included(words[1:]):
                blocks += _cut(included, depth + 1)
            continue
        if keyword in ("host", "match"):
            blocks.append(_Block(names, tuple(lines)))
            names, lines, is_global = _literal_names(keyword, words[1:]), [], False
        if words and not keyword.startswith("#"):
            lines.append(line)
    blocks.append(_Block(names, tuple(lines)))
    return [block for block in blocks if block.lines]


def _included(patterns: list[str]) -> list[Path]:
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern.strip('"')).expanduser()
        path = path if path.is_absolute() else Path("~/.ssh").expanduser() / path
        found += sorted(entry for entry in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if entry.is_file())
    return found


def _literal_names(keyword: str, patterns: list[str]) -> frozenset[str] | None:
    if keyword == "match" or any(set(pattern) & set("*?!,\"") for pattern in patterns):
        return None
    return frozenset(patterns)


class Hosts:
    """Finds the Target of a node.

    known_hosts: the fleet file's, () to follow ssh_config. nodes: the fleet's, for they may be jump hosts, too.
    """

    def __init__(self, ssh_config: Path | None, known_hosts: tuple[Path, ...] = (), nodes: Iterable[Spec] = ()) -> None:
        self._config = SshConfig(ssh_config)
        self._known_hosts = known_hosts
        self._nodes = {spec.name: spec for spec in nodes}

    def target(self, spec: Spec, below: tuple[str, ...] = ()) -> Target:
        """The node's server. below: what is reached through it. Raises HostsError."""
        target = self._resolve(spec.name, spec.user, below)
        if spec.address:
            target = replace(target, host=_safe(spec.address))
        if spec.port:
            target = replace(target, port=spec.port)
        if spec.identity:
            target = replace(target, identities=(str(Path(spec.identity).expanduser()),), identities_only=True)
        if spec.jump:
            target = replace(target, jump=self._chain(spec.jump, (*below, spec.name)), proxy_command=None)
        return target

    def server(self, text: str) -> Target:
        """The server that "[user@]host[:port]" means: a node's, or one as ssh_config says. Raises HostsError."""
        if "," in text:
            raise HostsError(f"{text!r} names several hosts; write one, and its way in ssh_config (ProxyJump)")
        return self._chain(text, ())

    def _resolve(self, name: str, user: str | None, below: tuple[str, ...]) -> Target:
        said = _Said(self._config.options(_safe(name), user))
        host = _safe(said.text("Hostname") or name)
        jump = said.text("ProxyJump")
        return Target(
            name, host, said.port, user or said.text("User") or getpass.getuser(),
            said.paths("IdentityFile"), said.flag("IdentitiesOnly"), said.agent_path,
            self._known_hosts or tuple(map(Path, said.paths("UserKnownHostsFile"))) or DEFAULT_KNOWN_HOSTS,
            said.text("HostKeyAlias") or "",
            self._chain(jump, (*below, name)) if jump else None,
            None if jump else said.text("ProxyCommand"),
        )

    def _chain(self, jumps: str, below: tuple[str, ...]) -> Target:
        """The last of "a,b,c", reached through b, which is reached through a; a itself as ssh_config says."""
        target: Target | None = None
        for hop in jumps.split(","):
            user, host, port = _split_hop(hop.strip())
            if host in below or len(below) > JUMP_LIMIT:
                raise HostsError(f"{host} is a jump host on the way to itself ({' -> '.join((*below, host))}); remove one of these jumps")
            found = self.target(self._nodes[host], below) if host in self._nodes else self._resolve(host, user, below)
            target = replace(found, user=user or found.user, port=port or found.port, jump=target or found.jump)
        assert target is not None
        return target


@dataclass(frozen=True)
class _Said:
    """Typed access to a parsed configuration."""

    config: SSHClientConfig

    def text(self, option: str) -> str | None:
        value = self.config.get(option)
        return value if isinstance(value, str) and value.lower() != "none" else None

    def flag(self, option: str) -> bool:
        return self.config.get(option) is True

    def paths(self, option: str) -> tuple[str, ...]:
        values = self.config.get(option) or ()
        return tuple(os.path.expanduser(str(value)) for value in values)  # type: ignore[attr-defined]

    @property
    def port(self) -> int:
        return int(self.config.get("Port") or 22)  # type: ignore[call-overload]

    @cached_property
    def agent_path(self) -> str | None:
        named = self.text("IdentityAgent")
        if named == "SSH_AUTH_SOCK" or (named and named.startswith("$")):
            named = os.environ.get(named.lstrip("$").strip("{}"))
        return os.path.expanduser(named) if named else None


def _split_hop(hop: str) -> tuple[str | None, str, int | None]:
    """user, host and port of "[user@]host[:port]" or "ssh://…"."""
    match = re.fullmatch(r"(?:ssh://)?(?:([^@]+)@)?(\[[^\]]+\]|[^:\[\]]+)(?::(\d+))?/?", hop)
    if match is None:
        raise HostsError(f"jump host {hop!r} cannot be read; write it as user@host:port")
    return match[1], _safe(match[2].strip("[]")), int(match[3]) if match[3] else None


def _safe(host: str) -> str:
    if not SAFE_HOST.fullmatch(host):
        raise HostsError(f"host {host!r} has characters that no host name has; mend it in the fleet file or ssh_config")
    return host
