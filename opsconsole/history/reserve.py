"""Room that is kept for a full disk: removing what is old needs some, too, because it is written down before it is done.

The reserve is a file of zeros beside a history that has grown as large. When the disk is full it is given up: then what is too old can be
removed and the pages that it leaves be filled again, so that history goes on in the file it has. It is made again once there is room.
"""

from __future__ import annotations

import os
from pathlib import Path

SIZE_BYTES = 16 * 1024 * 1024


class Reserve:
    """For the history at `path`. Nothing here is raised: a disk that has no room for it has none."""

    def __init__(self, path: Path, size_bytes: int = SIZE_BYTES) -> None:
        self._path, self._beside, self._size_bytes = path, path.with_name(f"{path.name}.reserve"), size_bytes

    def keep(self) -> None:
        """Make it where it is worth having and there is room for it twice."""
        try:
            if self._beside.exists() or self._path.stat().st_size < self._size_bytes or not self.has_room:
                return
            handle = os.open(self._beside, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(handle, 0, self._size_bytes)
            finally:
                os.close(handle)
        except OSError:
            self.give_up()

    def give_up(self) -> None:
        try:
            self._beside.unlink(missing_ok=True)
        except OSError:
            return

    @property
    def has_room(self) -> bool:
        """Whether the disk has room for more than it."""
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize >= 2 * self._size_bytes
