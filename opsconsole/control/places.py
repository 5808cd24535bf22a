"""Where a collector lives in the state directory: its socket, lock, history and the gateway's route file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

SOCKET_PATH_LIMIT = 100
"""Unix socket paths end near 104 (macOS) and 108 (Linux) bytes."""


class StateDirError(Exception):
    """The state directory cannot be trusted or used; the text says what to do."""


def prepare(state_dir: Path) -> Path:
    """Makes the directory (0700) when it is missing. Raises StateDirError when others could read or write it."""
    with used(state_dir):
        with contextlib.suppress(FileExistsError):  # what it is, if no directory, is said below
            state_dir.mkdir(mode=0o700, parents=True)
        found = state_dir.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise StateDirError(f"state directory {state_dir} is not a directory; choose another with --state-dir")
    if found.st_uid != os.getuid():
        raise StateDirError(f"state directory {state_dir} belongs to uid {found.st_uid}, not to you; choose another with --state-dir")
    if found.st_mode & 0o077:
        raise StateDirError(f"state directory {state_dir} is open to others; run: chmod 700 {state_dir}")
    return state_dir


@contextlib.contextmanager
def used(state_dir: Path) -> Iterator[None]:
    """While something in the directory is made or opened: what goes wrong is raised as a StateDirError."""
    try:
        yield
    except OSError as error:
        which = f" ({error.filename})" if error.filename and str(error.filename) != str(state_dir) else ""
        words = f"state directory {state_dir} cannot be used: {error.strerror}{which}"
        raise StateDirError(f"{words}; choose another with --state-dir") from None


def socket_path(state_dir: Path) -> Path:
    """The collector's socket: in the state directory, or, where that path is too long for a socket, in a directory of ours under /tmp.

    Not under TMPDIR: a front and its collector may be started with different ones.
    """
    inside = state_dir / "collector.sock"
    if len(os.fsencode(inside)) <= SOCKET_PATH_LIMIT:
        return inside
    digest = hashlib.sha256(os.fsencode(state_dir.resolve())).hexdigest()[:16]
    return prepare(Path("/tmp") / f"opsconsole-{os.getuid()}") / f"{digest}.sock"


def alarms_path(state_dir: Path) -> Path:
    return state_dir / "alarms.json"


def audit_path(state_dir: Path) -> Path:
    return state_dir / "audit.db"


def lock_path(state_dir: Path) -> Path:
    return state_dir / "collector.lock"


def log_path(state_dir: Path) -> Path:
    return state_dir / "collector.log"


def history_path(state_dir: Path) -> Path:
    return state_dir / "history.db"


def runs_path(state_dir: Path) -> Path:
    return state_dir / "runs.db"


def routes_path(state_dir: Path) -> Path:
    return state_dir / "routes.json"
