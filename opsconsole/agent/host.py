"""The node around the GPUs: processor, memory, load, disk and network, from /proc; None where there is no /proc."""

import os
import platform
import socket
import time

from .hostile import plain

MIB = 2**20


class HostUsage:
    """Differences between two readings. `read` is the question of a Probe, since a disk (statvfs) may hang."""

    def __init__(self, work_dir):
        self._work_dir = work_dir
        self._cpu = None
        self._network = None

    def read(self, probe):
        """Yields one list of NODE_COLUMNS values."""
        received_mib_s, sent_mib_s = self._network_rates()
        probe.call = "statvfs"
        yield [self._cpu_pct(), memory_used_mib(), load1(), disk_free_mib(self._work_dir), received_mib_s, sent_mib_s]

    def _cpu_pct(self):
        before, self._cpu = self._cpu, _cpu_ticks()
        if not before or not self._cpu or self._cpu[1] <= before[1]:
            return None
        return round(100.0 * (self._cpu[0] - before[0]) / (self._cpu[1] - before[1]), 1)

    def _network_rates(self):
        """(received, sent) in MiB/s over all interfaces but loopback."""
        before, self._network = self._network, _network_bytes()
        if not before or not self._network or self._network[0] <= before[0]:
            return None, None
        passed_s = self._network[0] - before[0]
        return tuple(round(max(0, new - old) / MIB / passed_s, 3) for new, old in zip(self._network[1:], before[1:]))  # noqa: B905


def _text(path):
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(65536)
    except OSError:
        return None


def _cpu_ticks():
    """(busy, all) since the node was started, or None."""
    text = _text("/proc/stat")
    if not text:
        return None
    ticks = [int(field) for field in text.split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _network_bytes():
    """(monotonic s, received, sent), or None."""
    text = _text("/proc/net/dev")
    if not text:
        return None
    received = sent = 0
    for line in text.splitlines()[2:]:
        name, _, counters = line.partition(":")
        fields = counters.split()
        if name.strip() != "lo" and len(fields) >= 9:
            received, sent = received + int(fields[0]), sent + int(fields[8])
    return time.monotonic(), received, sent


def _memory():
    """{name: MiB} of /proc/meminfo."""
    sizes = {}
    for line in (_text("/proc/meminfo") or "").splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[1].isdigit():
            sizes[fields[0].rstrip(":")] = int(fields[1]) // 1024
    return sizes


def memory_total_mib():
    return _memory().get("MemTotal")


def memory_used_mib():
    sizes = _memory()
    total, available = sizes.get("MemTotal"), sizes.get("MemAvailable")
    return None if total is None or available is None else total - available


def load1():
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def disk_free_mib(path):
    """MiB that a process of this user may still write where `path` is."""
    try:
        disk = os.statvfs(path)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize // MIB


def host_facts(boot_id):
    """The part of FACTS that is about the node itself."""
    return {
        "boot_id": boot_id, "hostname": plain(socket.gethostname()), "python": platform.python_version(),
        "cpu_count": os.cpu_count(), "mem_total_mib": memory_total_mib(),
    }
