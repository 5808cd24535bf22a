"""Workers as transient systemd units, where the node has systemd for this user: its cgroup, its restarts, and a name that is a mutex."""

import getpass
import os
import shutil
import subprocess

from .records import write_private

LIMIT_S = 10.0
"""For one question to systemd."""
SHOWN = ("MainPID", "ActiveState", "SubState", "Result", "NRestarts", "ExecMainStatus", "ExecMainCode")
KILLED_CODES = ("2", "3")
"""ExecMainCode of a process that a signal ended (CLD_KILLED, CLD_DUMPED)."""
STARTS_LIMIT, STARTS_WINDOW_S, BACKOFF_S = 3, 300, 1


def find_manager():
    """("system" or "user", None), or (None, why systemd cannot be used here)."""
    if not all(shutil.which(tool) for tool in ("systemd-run", "systemctl")):
        return None, "no systemd-run here"
    if os.geteuid() == 0:
        return ("system", None) if _ask("system", "show", "--property=Version") is not None else (None, "systemd does not run here")
    if _ask("user", "show", "--property=Version") is None:
        return None, "no systemd of this user runs here"
    try:
        linger = _output(["loginctl", "show-user", getpass.getuser(), "--property=Linger"])
    except (OSError, KeyError):
        linger = None
    if linger != "Linger=yes":
        return None, "linger is off for this user, so systemd would end workers at logout (loginctl enable-linger)"
    return "user", None


def unit_name(worker):
    return "opsworker-%s.service" % worker


def start_unit(records, record, argv, variables, term_limit_s):
    """The record with its unit and process, saved. Raises OSError, also when a unit of that name runs."""
    manager, name = record.unit
    environment = os.path.join(records.work_dir, "workers", record.name + ".env")
    told = ["%s=%s\n" % (key, _quoted(value)) for key, value in sorted(variables.items()) if value.isprintable()]
    write_private(environment, "".join(told))
    _ask(manager, "reset-failed", name)
    with open(record.log, "wb"):
        os.chmod(record.log, 0o600)
    properties = {
        "Type": "exec", "KillMode": "mixed", "TimeoutStopSec": "%.0f" % term_limit_s, "Restart": "on-failure", "RestartSec": str(BACKOFF_S),
        "StartLimitBurst": str(STARTS_LIMIT), "StartLimitIntervalSec": str(STARTS_WINDOW_S), "EnvironmentFile": environment,
        "StandardOutput": "append:" + record.log, "StandardError": "append:" + record.log, "WorkingDirectory": records.work_dir,
        "ExecCondition": "%s ! -e %s" % (shutil.which("test") or "/usr/bin/test", records.leaving_path(record.name)),
    }
    command = ["systemd-run", *_scope(manager), "--quiet", "--unit=" + name]
    command += ["--property=%s=%s" % pair for pair in properties.items()]
    argv = [text.replace("$", "$$") for text in argv]  # systemd would put variables in
    done = subprocess.run([*command, "--", *argv], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        raise OSError("systemd-run: %s" % done.stderr.decode("utf-8", "replace")[:300])
    record.pid = int(show(record).get("MainPID") or 0) or None
    return record


def show(record):
    """What systemd says of the worker's unit; {} when it does not answer."""
    manager, name = record.unit
    said = _ask(manager, "show", name, *("--property=" + field for field in SHOWN)) or ""
    return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


def exit_code(shown):
    """As subprocess tells it: negative for a signal; None when it is not known."""
    status = shown.get("ExecMainStatus", "")
    if not status.isdigit():
        return None
    return -int(status) if shown.get("ExecMainCode") in KILLED_CODES else int(status)


def stop_unit(record):
    """SIGTERM to its main process and no start again. Whether systemd took it."""
    manager, name = record.unit
    return _ask(manager, "stop", "--no-block", name) is not None


def forget_unit(record):
    """Free the name of a unit that has failed."""
    _ask(record.unit[0], "reset-failed", record.unit[1])


def _quoted(value):
    return '"%s"' % value.replace("\\", "\\\\").replace('"', '\\"')


def _scope(manager):
    return ["--user"] if manager == "user" else []


def _ask(manager, *arguments):
    try:
        return _output(["systemctl", *_scope(manager), *arguments])
    except OSError:
        return None


def _output(command):
    """What it printed, or None when it failed."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return None
    return None if done.returncode else done.stdout.decode("utf-8", "replace").strip()
