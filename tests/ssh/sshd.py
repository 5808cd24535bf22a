"""Real OpenSSH servers for tests, each with its own keys and directory, and what a test needs to talk to them."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from opsconsole.core.events import Event
from opsconsole.ssh.link import Shared, SshLink

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
HAS_SSHD = SSHD is not None and shutil.which("ssh-keygen") is not None
CONFIG = """\
Port {port}
ListenAddress {address}
HostKey {home}/host_key
PidFile {home}/sshd.pid
AuthorizedKeysFile {home}/authorized_keys
SetEnv HOME={home}{environment}
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
PrintLastLog no
LogLevel VERBOSE
{more}
"""


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", path], check=True)
    return path


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@dataclass
class Sshd:
    """One server on an address, as the current user. prefix: what starts it elsewhere, such as `ip netns exec NAME`."""

    home: Path
    operator_key: Path
    address: str = "127.0.0.1"
    port: int = field(default_factory=free_port)
    more: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "authorized_keys").write_text(Path(f"{self.operator_key}.pub").read_text())
        make_key(self.home / "host_key")
        environment = "".join(f" {name}={value}" for name, value in self.environment.items())
        self.config = self.home / "sshd_config"
        self.config.write_text(CONFIG.format(port=self.port, address=self.address, home=self.home, environment=environment, more=self.more))

    @property
    def host_key(self) -> str:
        """Type and key, as known_hosts has them."""
        return " ".join((self.home / "host_key.pub").read_text().split()[:2])

    @property
    def known_name(self) -> str:
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"

    def start(self) -> Sshd:
        with contextlib.suppress(OSError):
            os.makedirs("/run/sshd", exist_ok=True)
        assert SSHD is not None
        self.process = subprocess.Popen([*self.prefix, SSHD, "-D", "-f", self.config, "-E", self.home / "sshd.log"])
        for _ in range(100):
            if (self.home / "sshd.pid").exists():
                return self
            time.sleep(0.02)
        raise AssertionError((self.home / "sshd.log").read_text())

    def rekey(self) -> None:
        """As after a reinstallation."""
        for name in ("host_key", "host_key.pub"):
            (self.home / name).unlink()
        make_key(self.home / "host_key")
        self.stop()
        self.start()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(5)
            self.process = None
            (self.home / "sshd.pid").unlink(missing_ok=True)


def spec(name: str = "n1", **given: Any) -> SimpleNamespace:
    """What a link must be told of a node."""
    told = {"address": None, "port": None, "user": getpass.getuser(), "identity": None, "jump": None, "python": "python3"}
    return SimpleNamespace(**{"name": name, **told, "worker_python": "python3", "work_dir": "~/work", "gpus": "nvml", **given})


def settings(known_hosts: Path, ssh_config: Path | None = None) -> SimpleNamespace:
    return SimpleNamespace(ssh_config=ssh_config, known_hosts=(known_hosts,), nodes=())


@dataclass
class Heard:
    """Events of links in the order they came, with a way to wait for one."""

    events: list[Event] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def emit(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    async def first(self, kind: type, limit_s: float = 10.0, since: int = 0, where: Callable[[Any], bool] = lambda _: True) -> Any:
        """The first event of a kind after the first `since` ones."""
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    for event in self.events[since:]:
                        if isinstance(event, kind) and where(event):
                            return event
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            seen = [str(event)[:300] for event in self.events[since:]][-8:]
            raise AssertionError(f"no {kind.__name__} in {limit_s} s, only {seen}") from None

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.events)


@contextlib.asynccontextmanager
async def running(shared: Shared, *links: SshLink) -> AsyncIterator[Heard]:
    """The links at work; all ended and closed afterwards."""
    heard = Heard()
    tasks = [asyncio.create_task(link.run(heard.emit)) for link in links]
    try:
        yield heard
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await shared.close()
