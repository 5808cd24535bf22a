"""Keeps compiled programs on disk, because compiling is four fifths of a cold start.

A stored program is a pickle, and loading a pickle runs code: so the folder is private to its owner, and each file opens
with a keyed digest of the rest. A file that is not ours, not whole or not loadable here counts as absent, never as an error.
"""

import fcntl
import hashlib
import hmac
import json
import os
import pickle
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jax.experimental import serialize_executable

DIGEST_BYTES = hashlib.sha256().digest_size
KEY_FILE = "key"
UNUSED_LIMIT_S = 30 * 24 * 3600.0


class UnsafeFolder(Exception):
    """The artifacts folder could be written by somebody else; the text says how."""


def default_folder() -> Path:
    """Where programs are kept unless `--artifacts` says otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "opsconsole" / "artifacts"


def digest(facts: Any) -> str:
    """A short name for a list of facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


class ArtifactStore:
    """Stored programs in one folder. Raises UnsafeFolder or OSError when the folder cannot be trusted or made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rejected: list[str] = []
        """Why files that were there could not be used, oldest first."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(folder)
        self._secret = self._read_or_make_secret()

    def has(self, key: str, name: str) -> bool:
        """Whether there is a file for the program, usable or not."""
        return self._path(key, name).exists()

    def load(self, key: str, name: str) -> Callable | None:
        """The program, or None when it has to be compiled."""
        path = self._path(key, name)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.rejected.append(f"{path.name}: {error}")
            return None
        try:
            program = self._unpack(content)
        except Exception as error:  # whatever a damaged or foreign file makes the loader raise, compiling mends it
            self.rejected.append(f"{path.name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
            return None
        with suppress(OSError):
            os.utime(path)  # the time of last use, for `forget_unused`
        return program

    def forget_unused(self) -> None:
        """Remove what no start has used for long: each new version of the code or of jax leaves its programs behind."""
        oldest_s = time.time() - UNUSED_LIMIT_S
        for path in self.folder.iterdir():
            with suppress(OSError):
                if path.name != KEY_FILE and path.stat().st_mtime < oldest_s:
                    path.unlink()

    def save(self, key: str, name: str, program: Any) -> None:
        """Store a compiled program; a full or read-only disk costs only the next start's time."""
        try:
            body = pickle.dumps(serialize_executable.serialize(program))
        except Exception as error:  # some platforms cannot serialise; they compile at each start
            self.rejected.append(f"{name}: cannot be stored: {error}")
            return
        path = self._path(key, name)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            _write_private(partial, self._sign(body) + body)
            partial.replace(path)
        except OSError as error:
            self.rejected.append(f"{path.name}: {error}")
            with suppress(OSError):
                partial.unlink()

    @contextmanager
    def lock(self, key: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the right to compile what the key names; the kernel gives it back when the holder dies."""
        with open(self.folder / f"{key}.lock", "a", opener=_private_opener) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _path(self, key: str, name: str) -> Path:
        return self.folder / f"{key}-{name}.program"

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, body, "sha256")

    def _unpack(self, content: bytes) -> Callable:
        signature, body = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if not hmac.compare_digest(signature, self._sign(body)):
            raise ValueError("the signature does not match")
        return serialize_executable.deserialize_and_load(*pickle.loads(body))

    def _read_or_make_secret(self) -> bytes:
        """The folder's own signing key. Workers started together agree on it: the first to link its file wins."""
        path = self.folder / KEY_FILE
        if path.exists() and not _is_private(path.lstat()):
            path.unlink()  # somebody else could have read it, so what it signed proves nothing
        if not path.exists():
            partial = path.with_suffix(f".{os.getpid()}.partial")
            _write_private(partial, secrets.token_bytes(32))
            with suppress(FileExistsError):
                os.link(partial, path)
            partial.unlink()
        return path.read_bytes()


def _make_private(folder: Path) -> None:
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode):
        raise UnsafeFolder(f"{folder} is a link or no folder")
    if facts.st_uid != os.geteuid():
        raise UnsafeFolder(f"{folder} belongs to user {facts.st_uid}, not to us")
    if stat.S_IMODE(facts.st_mode) != 0o700:
        folder.chmod(0o700)


def _is_private(facts: os.stat_result) -> bool:
    return stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o077


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _write_private(path: Path, content: bytes) -> None:
    with open(path, "wb", opener=_private_opener) as file:
        file.write(content)
