"""Workers as transient systemd units, where the node has systemd for this user: its cgroup, its restarts, and a name that is a mutex.

An engine that speaks sd_notify gets Type=notify and a watchdog: its unit is active only once it serves, it asks for more time while it
loads, and one whose engine hangs is ended and started again, though its HTTP may still answer.
"""

import getpass
import os
import shutil
import subprocess
import time

from . import processes
from .records import write_private

LIMIT_S = 10.0
"""For one question to systemd."""
SHOWN = ("MainPID", "ActiveState", "SubState", "Result", "NRestarts", "ExecMainStatus", "ExecMainCode", "ControlGroup")
KILLED_CODES = ("2", "3")
"""ExecMainCode of a process that a signal ended (CLD_KILLED, CLD_DUMPED)."""
STARTS_LIMIT, STARTS_WINDOW_S, BACKOFF_S = 3, 300, 1
WATCHDOG_S = 30.0
"""How long an engine may be silent: hundreds of times what a step takes."""
WATCHDOG_VARIABLE = "OPSCONSOLE_WATCHDOG_S"
"""A node's own figure, in the environment of its agent (sshd_config: SetEnv)."""
FIRST_WORD_LIMIT_S = 120
"""Until a worker says that it is alive; from then on it asks for the time that it needs."""
BEGIN_LIMIT_S = 10.0
CGROUP_ROOTS = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")
"""Where groups are, with version 1, both versions, and version 2 of cgroups."""
WHY_ENDED = {
    "watchdog": "hung: its engine was silent for longer than its watchdog allows",
    "timeout": "did not tell systemd that it is ready in time (an opsconsole in worker_python that is older than the console never does)",
    "oom-kill": "out of memory, killed by the kernel",
}
"""systemd's Result of a unit, where it tells more than the exit code."""
NOT_HANDED_DOWN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "INVOCATION_ID")
"""What a manager has told this agent of itself, if it runs under one: not its workers' concern."""


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


def start_unit(records, record, argv, variables, term_limit_s, notifies):
    """The record with its unit and process. Raises OSError, also when a unit of that name runs; then nothing of it does."""
    manager, name = record.unit
    environment = os.path.join(records.work_dir, "workers", record.name + ".env")
    told = ["%s=%s\n" % (key, _quoted(value)) for key, value in sorted(variables.items()) if value.isprintable()]
    write_private(environment, "".join(told))
    _ask(manager, "reset-failed", name)
    with open(record.log, "wb"):
        os.chmod(record.log, 0o600)
    properties = dict(_properties(records, record, term_limit_s), EnvironmentFile=environment, **_kind(notifies))
    command = ["systemd-run", *_scope(manager), "--quiet", "--no-block", "--unit=" + name]
    command += ["--property=%s=%s" % pair for pair in properties.items()]
    argv = [text.replace("$", "$$") for text in argv]  # systemd would put variables in
    done = subprocess.run([*command, "--", *argv], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        raise OSError("systemd-run: %s" % done.stderr.decode("utf-8", "replace").strip()[:300])
    record.pid, record.start_time = _first_process(record)
    if not record.start_time:
        code = exit_code(show(record))
        stop_unit(record)
        raise OSError("crash loop: %s ended at once, each time it was started, exit code %s" % (name, code))
    return record


def _properties(records, record, term_limit_s):
    return {
        "KillMode": "mixed", "TimeoutStopSec": "%.0f" % term_limit_s, "Restart": "on-failure", "RestartSec": str(BACKOFF_S),
        "StartLimitBurst": str(STARTS_LIMIT), "StartLimitIntervalSec": str(STARTS_WINDOW_S), "LimitCORE": "0",
        "StandardOutput": "append:" + record.log, "StandardError": "append:" + record.log, "WorkingDirectory": records.work_dir,
        "ExecCondition": "%s ! -e %s" % (shutil.which("test") or "/usr/bin/test", records.leaving_path(record.name)),
    }


def _kind(notifies):
    if not notifies:
        return {"Type": "exec"}
    return {"Type": "notify", "NotifyAccess": "main", "TimeoutStartSec": str(FIRST_WORD_LIMIT_S), "WatchdogSec": "%g" % watchdog_s()}


def watchdog_s():
    """After how many seconds of silence a worker's engine is taken to hang."""
    try:
        return min(max(float(os.environ[WATCHDOG_VARIABLE]), 1.0), 3600.0)
    except (KeyError, ValueError):
        return WATCHDOG_S


def _first_process(record):
    """(pid, start time) once systemd has started it, or started it again; (None, None) when it has failed by then, or never came."""
    end_mono = time.monotonic() + BEGIN_LIMIT_S
    while time.monotonic() < end_mono:
        shown = show(record)
        pid = int(shown.get("MainPID") or 0)
        start_time = processes.start_time(pid) if pid else None
        if start_time:
            return pid, start_time
        if shown.get("ActiveState") in ("failed", "inactive"):
            break
        time.sleep(0.05)
    return None, None


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


def restarts(shown):
    """How often the unit was started again; systemd counts a start that its limit, or the worker's leaving, did not let be."""
    counted = int(shown.get("NRestarts") or 0)
    return counted - 1 if counted and shown.get("ActiveState") in ("failed", "inactive") else counted


def members(group):
    """Processes in a control group and those below it; none when it is gone. group: as systemd names it, "" is none."""
    pids = []
    for root in CGROUP_ROOTS if group.strip("/") else ():
        for folder, _folders, _files in os.walk(root + group):
            try:
                with open(os.path.join(folder, "cgroup.procs"), encoding="ascii") as file:
                    pids += [int(line) for line in file if line.strip().isdigit()]
            except OSError:
                continue
    return sorted(set(pids) - {0})


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
