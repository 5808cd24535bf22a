"""Ends what a demo has started and what outlives its starter by design (workers, collector); never a process that is not its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TERM_LIMIT_S = 3.0
KILL_LIMIT_S = 3.0
POLL_S = 0.05
ROUNDS_LIMIT = 5


def end_workers(directory: Path) -> int:
    """SIGTERM, then SIGKILL, to every process recorded under `directory`. Returns how many were alive.

    More than once, since a keeper that was in the middle of a start has recorded its worker only then.
    """
    total = 0
    for _ in range(ROUNDS_LIMIT):
        ended = end_processes(_records(directory))
        total += ended
        if not ended:
            break
    return total


def kill_workers_of(home: Path) -> int:
    """SIGKILL to every worker of one node, as when its power fails. Returns how many were alive."""
    alive = [record for record in _records_in(home.glob(".opsconsole/workers/*.json")) if _is_alive(record)]
    for record in alive:
        _signal(record, signal.SIGKILL)
    _wait(alive, KILL_LIMIT_S)
    return len(alive)


def end_processes(records: list[dict[str, Any]]) -> int:
    """SIGTERM, then SIGKILL, to each recorded process that still runs. Returns how many did."""
    alive = [record for record in records if _is_alive(record)]
    for record in alive:
        _signal(record, signal.SIGTERM)
    if not _wait(alive, TERM_LIMIT_S):
        for record in alive:
            _signal(record, signal.SIGKILL)
        _wait(alive, KILL_LIMIT_S)
    return len(alive)


def record_of(pid: int) -> dict[str, Any]:
    """What names this process and no later one with its number."""
    return {"pid": pid, "start_time": start_time(pid), "boot_id": boot_id()}


def _records(directory: Path) -> list[dict[str, Any]]:
    """Of the nodes' workers, as their agents keep them, each after its keeper, which would start it again; and of the demo's own helpers
    (`processes`)."""
    return _records_in((*directory.glob("*/.opsconsole/workers/*.json"), *directory.glob("processes/*.json")))


def _records_in(paths: Iterable[Path]) -> list[dict[str, Any]]:
    found = []
    for path in paths:
        try:
            record = json.loads(path.read_text())
            keeper = record.get("keeper")
            if keeper:
                found.append({"pid": int(keeper[0]), "start_time": keeper[1], "boot_id": record["boot_id"]})
            if isinstance(record["pid"], int) and record["start_time"]:
                found.append(record)
        except (OSError, ValueError, LookupError, TypeError):
            continue  # half a record names no process that could be ended safely
    return found


def _wait(records: list[dict[str, Any]], limit_s: float) -> bool:
    """Whether all are gone within the limit."""
    end_mono = time.monotonic() + limit_s
    while any(_is_alive(record) for record in records):
        if time.monotonic() > end_mono:
            return False
        time.sleep(POLL_S)
    return True


def _signal(record: dict[str, Any], number: signal.Signals) -> None:
    """A pidfd, where there is one, is opened before the identity is checked: it cannot come to mean another process in between."""
    try:
        pidfd = os.pidfd_open(record["pid"]) if hasattr(os, "pidfd_open") else None
    except OSError:
        return
    try:
        if not _is_alive(record):
            return
        if pidfd is None:
            os.kill(record["pid"], number)
        else:
            signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return
    finally:
        if pidfd is not None:
            os.close(pidfd)


def _is_alive(record: dict[str, Any]) -> bool:
    """Whether the recorded process, and no stranger with its number, still runs."""
    return record.get("boot_id") == boot_id() and start_time(record["pid"]) == record["start_time"]


def boot_id() -> str | None:
    """The name of this run of the kernel, as the agent records it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _output("sysctl", "-n", "kern.bootsessionuuid")


def start_time(pid: int) -> str | None:
    """When the process began, as the agent records it; None when it has ended."""
    if not os.path.isdir("/proc/self"):
        return _output("ps", "-o", "lstart=", "-p", str(pid))
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=2, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip() or None
