"""Who else holds the history file: the one question that a locked database does not answer itself."""

from __future__ import annotations

from pathlib import Path


def holder_text(path: Path) -> str:
    """The processes that hold a write lock on a database in WAL mode, in words. Linux only; elsewhere "another process"."""
    pids = sorted(_holders(path))
    return ", ".join(f"process {pid} ({_name_of(pid)})" for pid in pids) or "another process"


def _holders(path: Path) -> set[int]:
    inodes = {str(file.stat().st_ino) for file in (path, path.with_name(path.name + "-shm")) if file.exists()}
    found = set()
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        # "1: POSIX  ADVISORY  WRITE 4711 08:01:1234 120 120"
        words = line.split()
        if len(words) >= 6 and words[3] == "WRITE" and words[5].rsplit(":", 1)[-1] in inodes and words[4].isdigit():
            found.add(int(words[4]))
    return found


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone"
