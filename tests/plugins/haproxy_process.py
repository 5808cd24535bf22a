"""A real HAProxy for tests: master and worker process, runtime socket, clients over a unix socket, reload by signal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import aiohttp

from opsconsole.hooks import RouterError
from opsconsole_haproxy.runtime import ask

BINARY = shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")
CONFIG = """
global
    stats socket {folder}/admin.sock mode 600 level admin expose-fd listeners
    server-state-file {folder}/servers.state
defaults
    mode http
    option redispatch 1
    retries 3
    retry-on conn-failure
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout queue 20s
    load-server-state-from-file global
frontend door
    bind unix@{folder}/door.sock
    default_backend llm
backend llm
    balance leastconn
    {servers}
"""


class HAProxyProcess:
    def __init__(self, folder: Path, servers: str = "") -> None:
        self.folder, self.socket, self.state_file = folder, str(folder / "admin.sock"), folder / "servers.state"
        self.config = folder / "haproxy.cfg"
        self.config.write_text(CONFIG.format(folder=folder, servers=servers))
        self.options = {"socket": self.socket, "backends": {"demo": "llm"}, "state_file": str(self.state_file), "check_interval_ms": 100}

    async def __aenter__(self) -> HAProxyProcess:
        self.process = subprocess.Popen(
            [BINARY, "-W", "-db", "-f", str(self.config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        await self.answering()
        return self

    async def __aexit__(self, *error: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGCONT)
            os.killpg(self.process.pid, signal.SIGKILL)
        await asyncio.to_thread(self.process.wait)

    async def pid(self) -> str:
        """Of the process that serves now."""
        lines = (await ask(self.socket, "show info")).splitlines()
        return next(line for line in lines if line.startswith("Pid:"))

    async def answering(self) -> None:
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(RouterError, StopIteration):
                    await self.pid()
                    return
                await asyncio.sleep(0.02)

    async def reload(self) -> None:
        """A new process takes over; the old one finishes what it has."""
        before = await self.pid()
        self.process.send_signal(signal.SIGUSR2)
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(RouterError, StopIteration):
                    if await self.pid() != before:
                        return
                await asyncio.sleep(0.02)

    def hang(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)

    def client(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession("http://door", connector=aiohttp.UnixConnector(path=str(self.folder / "door.sock"), limit=0))
