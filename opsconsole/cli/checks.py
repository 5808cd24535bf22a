"""What `doctor` looks at: this machine's files and packages, and each node from its key to its clock, every finding with its mend."""

from __future__ import annotations

import importlib.util
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from opsconsole.core.fleet import (
    AUTH_FAILED,
    CONNECTING,
    HOST_KEY_CHANGED,
    HOST_KEY_UNKNOWN,
    HUNG,
    NO_DRIVER,
    NO_PYTHON,
    REACH_WORDS,
    STALE,
    UNREACHABLE,
    Fleet,
)

PACKAGES = ("asyncssh", "textual", "numpy", "msgspec", "sqlite_utils", "pluggy", "platformdirs")
CLOCK_LIMIT_S = 5.0
"""Beyond this a node's clock confuses ages and logs."""
FILES_PER_NODE = 4
FILES_BESIDES = 64


class Check(NamedTuple):
    """One finding. ok: None when nothing can be said yet, because something before it is broken. mend: what to do, "" when all is well."""

    subject: str
    check: str
    ok: bool | None
    text: str
    mend: str = ""


def local_checks(config: Any, state_dir: Path) -> Iterator[Check]:
    """This machine: packages, keys, known hosts, state directory, open files."""
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            yield Check("local", "packages", False, f"{package} is not installed", f"pip install {package}")
    for identity in sorted({str(node.identity) for node in config.nodes if node.identity}):
        yield _private(Path(identity).expanduser(), "ssh key", 0o600)
    yield from (_known_hosts(path) for path in config.known_hosts)
    if state_dir.exists():
        yield _private(state_dir, "state directory", 0o700)
        yield from (_private(path, "state file", 0o600) for path in sorted(state_dir.glob("*.db")))
    yield _open_files(len(config.nodes))


def _private(path: Path, check: str, mode: int) -> Check:
    try:
        found = path.lstat() if check != "ssh key" else path.stat()
    except OSError as error:
        return Check("local", check, False, f"{path}: {error.strerror}", "name another one in the fleet file")
    if stat.S_ISLNK(found.st_mode):
        return Check("local", check, False, f"{path} is a symbolic link", "choose another with --state-dir")
    if found.st_uid not in (os.getuid(), 0):
        return Check("local", check, False, f"{path} belongs to uid {found.st_uid}", f"sudo chown {os.getuid()} {path}")
    if found.st_mode & 0o077:
        return Check("local", check, False, f"{path} is open to others ({stat.S_IMODE(found.st_mode):04o})", f"chmod {mode:o} {path}")
    return Check("local", check, True, f"{path} is private")


def _known_hosts(path: Path) -> Check:
    path = Path(path).expanduser()
    if not path.is_file():
        return Check("local", "known hosts", False, f"{path} is missing", "connect to each node once with ssh and compare its fingerprint")
    return Check("local", "known hosts", True, f"{path} is there")


def _open_files(nodes: int) -> Check:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = nodes * FILES_PER_NODE + FILES_BESIDES
    enough = soft >= wanted or soft == resource.RLIM_INFINITY
    mend = f"ulimit -n {wanted} (the hard limit is {hard})"
    return Check("local", "open files", enough, f"{soft} allowed, {wanted} wanted for {nodes} nodes", "" if enough else mend)


_STAGES = ("reach", "host key", "login", "python", "agent", "driver", "clock")
"""What must work on a node, in the order in which it is met."""
_BROKEN_AT = {
    UNREACHABLE: "reach", HOST_KEY_CHANGED: "host key", HOST_KEY_UNKNOWN: "host key", AUTH_FAILED: "login", NO_PYTHON: "python",
    HUNG: "agent", STALE: "agent", NO_DRIVER: "driver", CONNECTING: "reach",
}
_MENDS = {
    UNREACHABLE: "see whether `ssh {name}` reaches it; check address, port and jump in the fleet file",
    HOST_KEY_CHANGED: "was it rebuilt? compare the fingerprint at its console, then: ssh-keygen -R {host}; else suspect an intruder",
    HOST_KEY_UNKNOWN: "compare the fingerprint at the node's console, then connect once with: ssh {name}",
    AUTH_FAILED: "see whether `ssh {name}` logs in; check user and identity in the fleet file",
    NO_PYTHON: "install Python 3.9 or newer there, or name it as `python` of the node in the fleet file",
    HUNG: "the node accepts connections but says nothing: look at its console for a hung driver or full disk",
    STALE: "wait a few seconds and ask again",
    NO_DRIVER: "run nvidia-smi there; after a driver update a reboot is often missing",
    CONNECTING: "ask again in a few seconds",
}


def node_checks(fleet: Fleet, row: int) -> list[Check]:
    """All findings on one node; stages behind the broken one cannot be told."""
    node, reach = fleet.roster.nodes[row], int(fleet.reach[row])
    broken = _BROKEN_AT.get(reach)
    said = _said(fleet, row)
    checks = []
    for place, stage in enumerate(_STAGES):
        if broken is not None and stage == broken:
            mend = _MENDS[reach].format(name=node.name, host=node.address or node.name)
            text = fleet.cause[row] or node.gpu_error or REACH_WORDS[reach]
            checks.append(Check(node.name, stage, None if reach == CONNECTING else False, text, mend))
        elif broken is not None and place > _STAGES.index(broken) and not fleet.answering[row]:
            checks.append(Check(node.name, stage, None, "cannot be told"))
        elif stage == "clock":
            checks.append(_clock(node.name, float(fleet.clock_offset_s[row])))
        else:
            checks.append(Check(node.name, stage, True, said.get(stage, "")))
    return checks


def _said(fleet: Fleet, row: int) -> dict[str, str]:
    node = fleet.roster.nodes[row]
    gpus = int(fleet.roster.gpu_start[row + 1] - fleet.roster.gpu_start[row])
    driver = f"{node.driver}, {gpus} GPUs" if node.driver else f"{gpus} GPUs"
    return {"reach": node.address, "python": node.python, "driver": driver, "agent": f"sample {fleet.age_s[row]:.1f} s old"}


def _clock(name: str, offset_s: float) -> Check:
    if offset_s != offset_s:
        return Check(name, "clock", None, "cannot be told")
    near = abs(offset_s) <= CLOCK_LIMIT_S
    return Check(name, "clock", near, f"{offset_s:+.1f} s", "" if near else "set up chrony or ntpd there")
