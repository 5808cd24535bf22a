"""One process writes a history file: who does holds a lock beside it, so that a second one is refused whatever started it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from opsconsole.history.schema import HistoryError, file_at


class Lease:
    """Held from its making until `end`, or until the process dies. Raises HistoryError where another holds it, and OSError."""

    def __init__(self, path: Path) -> None:
        self._beside = path.with_name(f"{path.name}.lease")
        self._handle = os.open(self._beside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._handle, 20).decode(errors="replace").strip() or "unknown"
            os.close(self._handle)
            raise HistoryError(f"process {holder} writes {path} already; end it, or choose another --state-dir") from None
        status = os.fstat(self._handle)
        self._file = status.st_dev, status.st_ino
        with contextlib.suppress(OSError):  # the number is for people; a full disk must not keep anybody from recording
            os.truncate(self._handle, 0)
            os.write(self._handle, f"{os.getpid()}\n".encode())

    @property
    def holds(self) -> bool:
        """Not when somebody has removed its file: another process would find none, and make one."""
        return file_at(self._beside) == self._file

    def end(self) -> None:
        os.close(self._handle)
