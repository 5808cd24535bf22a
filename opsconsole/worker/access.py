"""Who may ask: anybody, or whoever knows the key; the key comes from a file, so that no list of processes shows it."""

import hmac
import os
import stat
from collections.abc import Mapping
from pathlib import Path

OPEN_PATHS = frozenset(("/healthz", "/readyz", "/health", "/metrics"))
"""What probes and scrapers ask without a key: nothing there tells of any one request."""
KEY_LIMIT_BYTES = 4096


class UnusableKeyFile(Exception):
    """The key cannot be taken from this file; the text is one sentence for the operator."""


class Access:
    """Says whether a request may pass."""

    def __init__(self, key: bytes | None) -> None:
        self._key = key

    @property
    def is_guarded(self) -> bool:
        """Whether a key is asked for at all."""
        return self._key is not None

    def allows(self, path: str, headers: Mapping[str, str]) -> bool:
        """Whether the path is open to all, or the headers carry the key."""
        if self._key is None or path in OPEN_PATHS:
            return True
        scheme, _, key = headers.get("Authorization", "").partition(" ")
        # In constant time, so that the time of a refusal does not tell how much of a guess was right.
        return hmac.compare_digest(key.strip().encode("utf-8", "surrogateescape"), self._key) and scheme.lower() == "bearer"


def read_access(path: Path | None) -> Access:
    """The rule for a worker with this key file, or with none. Raises UnusableKeyFile."""
    return Access(read_key(path.expanduser()) if path else None)


def read_key(path: Path) -> bytes:
    try:
        # The file that is judged has to be the one that is read; a pipe must not make the worker wait.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UnusableKeyFile(f"The key file {path} cannot be read: {error.strerror}.") from error
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise UnusableKeyFile(f"The key file {path} is no regular file.")
        if status.st_uid != os.geteuid():
            raise UnusableKeyFile(f"The key file {path} belongs to another user.")
        if status.st_mode & 0o077:
            raise UnusableKeyFile(f"The key file {path} is open to others (mode {stat.S_IMODE(status.st_mode):04o}); make it 0600.")
        key = os.read(file, KEY_LIMIT_BYTES).split(b"\n", 1)[0].strip()
    finally:
        os.close(file)
    if not key:
        raise UnusableKeyFile(f"The key file {path} has an empty first line.")
    return key
