"""A fleet of real sshd nodes, each in a network namespace with its own address, that can be hung, cut off, rekeyed and healed.

    this namespace  ──veth──  backbone (a bridge)  ──veth──  node 1, node 2, …     each with its own sshd, home and host key

Everything carries this process's number in its name, so that several runs do not meet, and `down` removes it all. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.ssh.sshd import HAS_SSHD, Sshd, make_key, spec

CONSOLE_HOST = 254


def why_not() -> str:
    """Why such a fleet cannot be made here; "" when it can."""
    if not HAS_SSHD:
        return "needs OpenSSH's sshd"
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "needs root and iproute2"
    name = f"oc{os.getpid()}t"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
        return "network namespaces cannot be made here"
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return ""


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Fleet:
    """`up` makes it; nodes count from 1."""

    def __init__(self, home: Path, count: int, environment: dict[str, str] | None = None) -> None:
        self.home, self.count = home, count
        self._environment = environment or {}
        self._prefix = f"oc{os.getpid()}-"
        self._net = f"10.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
        self.backbone = f"{self._prefix}b"
        self.key = home / "operator"
        self.known_hosts = home / "known_hosts"
        self.servers: dict[int, Sshd] = {}

    def up(self) -> Fleet:
        self.home.mkdir(parents=True, exist_ok=True)
        make_key(self.key)
        try:
            _ip("netns", "add", self.backbone)
            _ip("-n", self.backbone, "link", "add", "br0", "type", "bridge")
            _ip("-n", self.backbone, "link", "set", "br0", "up")
            _ip("link", "add", f"{self._prefix}h", "type", "veth", "peer", "name", "vh", "netns", self.backbone)
            _ip("-n", self.backbone, "link", "set", "vh", "master", "br0", "up")
            _ip("addr", "add", f"{self._net}.{CONSOLE_HOST}/24", "dev", f"{self._prefix}h")
            _ip("link", "set", f"{self._prefix}h", "up")
            for number in range(1, self.count + 1):
                self._add(number)
        except BaseException:
            self.down()
            raise
        self.known_hosts.write_text("".join(f"{server.known_name} {server.host_key}\n" for server in self.servers.values()))
        return self

    def _add(self, number: int) -> None:
        name, address = self.namespace(number), f"{self._net}.{number}"
        _ip("netns", "add", name)
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"v{number}", "netns", self.backbone)
        _ip("-n", self.backbone, "link", "set", f"v{number}", "master", "br0", "up")
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        prefix = ("ip", "netns", "exec", name)
        self.servers[number] = Sshd(self.home / f"n{number}", self.key, address, 22, environment=self._environment, prefix=prefix).start()

    def namespace(self, number: int) -> str:
        return f"{self._prefix}n{number}"

    def node(self, number: int, **given: str):
        """What a link must be told of a node."""
        return spec(name=f"n{number}", address=self.servers[number].address, identity=str(self.key), **given)

    def _pids(self, name: str) -> list[int]:
        return [int(pid) for pid in _ip("netns", "pids", name).split()]

    def _signal(self, name: str, number: int) -> None:
        for pid in self._pids(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def part(self, number: int) -> None:
        """Silence: no reset, no refusal, nothing."""
        _ip("-n", self.backbone, "link", "set", f"v{number}", "down")

    def heal(self, number: int) -> None:
        _ip("-n", self.backbone, "link", "set", f"v{number}", "up")

    def hang(self, number: int) -> None:
        """Every process stops; the kernel goes on acknowledging and accepting."""
        self._signal(self.namespace(number), signal.SIGSTOP)

    def unhang(self, number: int) -> None:
        self._signal(self.namespace(number), signal.SIGCONT)

    def rekey(self, number: int) -> None:
        self.servers[number].rekey()

    def kill_sshd(self, number: int) -> None:
        """The listener only; sessions live on."""
        self.servers[number].stop()

    def down(self) -> None:
        """Removes everything `up` made, however far it came."""
        for name in [line.split()[0] for line in _ip("netns", "list").splitlines() if line.startswith(self._prefix)]:
            for _ in range(20):
                self._signal(name, signal.SIGKILL)
                if not self._pids(name):
                    break
                time.sleep(0.05)
            _ip("netns", "del", name)
        for server in self.servers.values():
            server.stop()
        with contextlib.suppress(RuntimeError):
            _ip("link", "del", f"{self._prefix}h")
