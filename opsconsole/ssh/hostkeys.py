"""Who a server must prove to be: known_hosts read once, looked up by us so that an unknown key and a changed one are told apart."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

Match = tuple[Any, ...]
"""(host keys, CA keys, revoked keys, and four of X.509), as asyncssh takes it for `known_hosts`."""
NOTHING: Match = ((), (), (), (), (), (), ())


@dataclass(frozen=True)
class _Hashed:
    """An entry whose host name is hidden: only a keyed digest of it is stored."""

    marker: str
    salt: bytes
    digest: bytes
    key: str


class HostKeys:
    """The entries of some known_hosts files; the files are read again only after they have changed."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self.paths = paths
        self._stamp: tuple[Any, ...] = ()
        self._plain = asyncssh.import_known_hosts("")
        self._hashed: list[_Hashed] = []
        self._found: dict[str, Match] = {}
        self.skipped = 0
        """Lines that could not be read."""
        self.reload()

    def reload(self) -> bool:
        """Reads the files if they have changed. True when they had."""
        stamp = tuple(_stamp(path) for path in self.paths)
        if stamp == self._stamp:
            return False
        self._stamp, self._found, self.skipped = stamp, {}, 0
        lines: list[str] = []
        self._hashed = []
        for path in self.paths:
            with contextlib.suppress(OSError):
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                    self._sort(line.strip(), lines)
        self._plain = self._import(lines)
        return True

    def _sort(self, line: str, plain: list[str]) -> None:
        marker, rest = line.split(None, 1) if line.startswith("@") and " " in line else ("", line)
        if not rest.startswith("|1|"):
            plain.append(line)
            return
        try:
            pattern, key = rest.split(None, 1)
            _, _, salt, digest = pattern.split("|")
            self._hashed.append(_Hashed(marker, base64.b64decode(salt), base64.b64decode(digest), key))
        except (ValueError, binascii.Error):
            self.skipped += 1

    def _import(self, lines: list[str]) -> asyncssh.SSHKnownHosts:
        try:
            return asyncssh.import_known_hosts("\n".join(lines))
        except ValueError:
            return asyncssh.import_known_hosts("\n".join(line for line in lines if self._is_readable(line)))

    def _is_readable(self, line: str) -> bool:
        try:
            asyncssh.import_known_hosts(line)
        except ValueError:
            self.skipped += 1
            return False
        return True

    def find(self, host: str, port: int) -> Match:
        """What is known of a server. Keys of another port of the same host do not count, but its authorities do."""
        name = host if port == 22 else f"[{host}]:{port}"
        if name not in self._found:
            match = self._look_up(name)
            if port != 22:
                # OpenSSH, too, accepts an authority that was written down without the port
                match = (match[0], [*match[1], *self._look_up(host)[1]], *match[2:])
            self._found[name] = match
        return self._found[name]

    def _look_up(self, name: str) -> Match:
        match = self._plain.match(name, "", None)
        hidden = [f"{entry.marker} {name} {entry.key}" for entry in self._hashed if _is_of(entry, name)]
        if not hidden:
            return match
        more = self._import(hidden).match(name, "", None)
        return tuple([*ours, *others] for ours, others in zip(match, more, strict=True))


def _stamp(path: Path) -> tuple[float, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime, status.st_size


def _is_of(entry: _Hashed, name: str) -> bool:
    return hmac.digest(entry.salt, name.encode(), "sha1") == entry.digest


class Witness(asyncssh.SSHClient):
    """Remembers the key that a server offered and we refused; asyncssh's exception does not carry it."""

    def __init__(self) -> None:
        self.offered: Any = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: Any) -> bool:
        self.offered = key
        return False

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: Any) -> bool:
        self.offered = key
        return False


def fingerprint(key: Any) -> str:
    """As ssh-keygen -l shows it."""
    return str(key.get_fingerprint("sha256"))


def is_changed(match: Match, offered: Any) -> bool:
    """Whether a refused key contradicts what is known, rather than being the first one seen."""
    return offered is not None and bool(match[0] or match[2])


def refusal(match: Match, offered: Any, host: str, port: int, paths: tuple[Path, ...]) -> str:
    """Why the offered key was refused, with the mend."""
    file = shlex.quote(str(paths[0])) if paths else "~/.ssh/known_hosts"
    name = host if port == 22 else f"[{host}]:{port}"
    if offered is None:
        return f"{name} could not prove who it is: its certificate or key was refused; ask whoever runs it"
    shown = f"{offered.get_algorithm()} {fingerprint(offered)}"
    if any(key == offered for key in match[2]):
        return f"HOST KEY REVOKED: {name} offers {shown}, which {file} revokes; do not log in, ask whoever runs it"
    if is_changed(match, offered):
        known = ", ".join(fingerprint(key) for key in match[0]) or "a revoked key only"
        return (
            f"HOST KEY CHANGED: {name} offers {shown}, known is {known}; somebody may be in between. "
            f"If it was reinstalled: ssh-keygen -R {shlex.quote(name)} -f {file}, then add its new key"
        )
    return (
        f"host key unknown: {name} offers {shown}; compare this fingerprint with the one on the node's console, "
        f"then: ssh-keyscan -p {port} {host} >> {file}"
    )
