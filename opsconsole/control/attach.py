"""How a front finds its collector: the running one, or a new one started for it, and the words when neither can be had."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from opsconsole import __version__
from opsconsole.control import places

START_LIMIT_S = 20.0
POLL_S = 0.02


class SessionError(Exception):
    """A front cannot work with a collector. exit_code: what its program ends with."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def connect(config_path: Path, state_dir: Path) -> socket.socket:
    """A connected socket to the state directory's collector, started when none runs. Raises SessionError."""
    try:
        places.prepare(state_dir)
        path = places.socket_path(state_dir)
        found = _try(path)
        return found if found is not None else _started(config_path, state_dir, path)
    except places.StateDirError as error:
        raise SessionError(str(error), 2) from None


def _try(path: Path) -> socket.socket | None:
    attempt = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        attempt.connect(str(path))
        return attempt
    except (FileNotFoundError, ConnectionRefusedError):
        attempt.close()
        return None


def _started(config_path: Path, state_dir: Path, path: Path) -> socket.socket:
    log = places.log_path(state_dir)
    command = [sys.executable, "-m", "opsconsole", "--config", str(config_path), "--state-dir", str(state_dir), "collect", "--until-idle"]
    with places.used(state_dir):
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(handle, "w") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, close_fds=True
        )
    give_up = time.monotonic() + START_LIMIT_S
    while time.monotonic() < give_up:
        found = _try(path)
        if found is not None:
            return found
        if process.poll() not in (None, 6):  # 6: another front's collector won the race, its socket is about to appear
            raise SessionError(_last_words(log), process.returncode)
        time.sleep(POLL_S)
    raise SessionError(f"the collector did not open its socket within {START_LIMIT_S:.0f} s; see {log}")


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("opsconsole: ") if lines else f"the collector ended at once; see {log}"


def check_welcome(welcome: dict[str, Any], config_path: Path) -> None:
    """Raises SessionError when the collector is of another version or watches by another fleet file."""
    if welcome["version"] != __version__:
        raise SessionError(
            f"the running collector (pid {welcome['pid']}) is version {welcome['version']}, this is {__version__}; "
            f"end it with: kill {welcome['pid']}", 6)
    if welcome["config"] != str(config_path.resolve()):
        raise SessionError(
            f"the running collector (pid {welcome['pid']}) watches by {welcome['config']}; "
            "choose another --state-dir for this fleet file, or end it first", 6)
