"""Which process is ours: a number alone may have been given to a stranger, so boot id and start time must match before a signal."""

import os
import signal
import subprocess


def boot_id():
    """Names this run of the node's kernel; None when the system has no such name."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return _output("sysctl", "-n", "kern.bootsessionuuid")


def start_time(pid):
    """When the process began, in the system's own words (ticks since boot on Linux); None when there is no such living process."""
    if not os.path.isdir("/proc/self"):
        return _output("ps", "-o", "lstart=", "-p", str(pid))
    fields = _stat_fields(pid)
    return None if fields is None or fields[0] in (b"Z", b"X") else fields[19].decode()


def _stat_fields(pid):
    """Fields of /proc/PID/stat from the third (state) on: the name before them may hold blanks and brackets."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (OSError, ValueError):
        return None


def _output(*command):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=2, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip() or None


def is_same(record, this_boot_id):
    """Whether the recorded process is still the one that runs under its number."""
    if not record.pid or not record.start_time or record.boot_id != this_boot_id:
        return False
    return start_time(record.pid) == record.start_time


def send_signal(record, this_boot_id, number):
    """Signal the recorded process, never another that has got its number. False when it is gone.

    A pidfd, where there is one, is opened before the identity is checked: it cannot come to mean another process in between.
    """
    try:
        pidfd = os.pidfd_open(record.pid) if hasattr(os, "pidfd_open") else None
    except OSError:
        pidfd = None
    try:
        if not is_same(record, this_boot_id):
            return False
        if pidfd is None:
            os.kill(record.pid, number)
        else:
            signal.pidfd_send_signal(pidfd, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        if pidfd is not None:
            os.close(pidfd)


def group_members(pid):
    """Living processes of the session that `pid` began, itself included. Empty where there is no /proc."""
    members = []
    for entry in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        fields = _stat_fields(int(entry)) if entry.isdigit() else None
        if fields and fields[0] not in (b"Z", b"X") and int(fields[3]) == pid:
            members.append(int(entry))
    return members


def descendants(pid):
    """[[pid, start_time], ...] of the living children of `pid`, theirs and so on; also those that have left its session."""
    children = {}
    for entry in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        fields = _stat_fields(int(entry)) if entry.isdigit() else None
        if fields and fields[0] not in (b"Z", b"X"):
            children.setdefault(int(fields[1]), []).append([int(entry), fields[19].decode()])
    found, unseen = [], [pid]
    while unseen:
        born = children.pop(unseen.pop(), [])
        found += born
        unseen += [child for child, _start_time in born]
    return found


def living(marks):
    """Those of [[pid, start_time], ...] that still run."""
    return [mark for mark in marks if start_time(mark[0]) == mark[1]]


def kill_group(record, this_boot_id):
    """SIGKILL to what is left of the recorded process's session; its leader only if it is still the recorded one."""
    if record.boot_id != this_boot_id:
        return
    leader_is_stranger = start_time(record.pid) is not None and not is_same(record, this_boot_id)
    for pid in () if leader_is_stranger else group_members(record.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    send_signal(record, this_boot_id, signal.SIGKILL)
