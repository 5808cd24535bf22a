"""The demo's nodes: real SSH servers on loopback in one process, each with its own key, home and simulated GPUs.

python -m opsconsole.sim.nodes DIR [--remove]

Reads DIR/plan.json: {"nodes": [{"name", "chip", "gpus", "site", "background_load"?}, ...], "seed": N,
"full_tokens_per_s"?: what a worker gives that uses its GPU fully}. Writes DIR/user_key (0600),
DIR/known_hosts and DIR/NAME/gpus.json, then says one line on stdout: {"event": "listening", "nodes": {NAME: PORT}}. It follows
DIR/faults.json: {"cut": [NODE], "dark": [NODE], "hang": [NODE], "gpus": {NODE: {"lost": [GPU], "hot": {GPU: DEGREES}}}}; a dark node is
cut and its workers are killed. It ends when its standard input does, or on SIGTERM; then it ends the workers that its nodes have started,
and with --remove it removes DIR.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncssh

from opsconsole.sim.leftovers import end_workers, kill_workers_of
from opsconsole.sim.lifeline import watch_stdin
from opsconsole.sim.server import Node

FAULTS_POLL_S = 0.2
DRIVER = "580.95.05"


class Site:
    """All nodes of a demo, their files and their faults."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.plan: dict[str, Any] = json.loads((directory / "plan.json").read_text())
        self.nodes: dict[str, Node] = {}
        self._faults_seen: object = None

    async def open(self) -> None:
        user_key = asyncssh.generate_private_key("ssh-ed25519", comment="opsconsole demo")
        write_private(self.directory / "user_key", user_key.export_private_key())
        known = []
        for row, about in enumerate(self.plan["nodes"]):
            home = self.directory / about["name"]
            home.mkdir(mode=0o700, exist_ok=True)
            self._write_gpus(row, {})
            host_key = asyncssh.generate_private_key("ssh-ed25519")
            node = self.nodes[about["name"]] = Node(about["name"], home, host_key, user_key)
            await node.open()
            known.append(f"[127.0.0.1]:{node.port} {host_key.export_public_key().decode().strip()}\n")
        write_private(self.directory / "known_hosts", "".join(known).encode())

    def _write_gpus(self, row: int, troubles: Mapping[str, Any]) -> None:
        """The file that a node's agent reads its simulated GPUs from."""
        about = self.plan["nodes"][row]
        source = {
            "chip": about["chip"], "count": about["gpus"], "seed": int(self.plan.get("seed", 7)) * 1000 + row, "driver": DRIVER,
            "inlet_c": 23.0 + row % 3, "background_load": about.get("background_load", 0.0),
            "full_tokens_per_s": self.plan.get("full_tokens_per_s"), **troubles,
        }
        write_private(self.directory / about["name"] / "gpus.json", json.dumps(source).encode())

    async def follow_faults(self) -> None:
        """Until cancelled: break and mend as the file says, whenever it changes."""
        path = self.directory / "faults.json"
        while True:
            with contextlib.suppress(OSError, ValueError):
                status = path.stat()
                seen = (status.st_mtime_ns, status.st_ino)
                if seen != self._faults_seen:
                    await self.suffer(json.loads(path.read_text()))
                    self._faults_seen = seen
            await asyncio.sleep(FAULTS_POLL_S)

    async def suffer(self, faults: Mapping[str, Any]) -> None:
        """All faults at once; what is not named is mended."""
        for row, about in enumerate(self.plan["nodes"]):
            name = about["name"]
            self._write_gpus(row, faults.get("gpus", {}).get(name, {}))
            self.nodes[name].hang(name in faults.get("hang", ()))
            if name in faults.get("dark", ()):
                await self.nodes[name].cut()
                await asyncio.to_thread(kill_workers_of, self.directory / name)
            elif name in faults.get("cut", ()):
                await self.nodes[name].cut()
            else:
                await self.nodes[name].mend()

    async def close(self) -> None:
        await asyncio.gather(*(node.close() for node in self.nodes.values()))


def write_private(path: Path, content: bytes) -> None:
    """Whole or not at all, for its owner only."""
    beside = path.with_name(path.name + ".new")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    beside.replace(path)


async def serve(directory: Path) -> None:
    """Until told to end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    watch_stdin(stop)
    site = Site(directory)
    try:
        await site.open()
        print(json.dumps({"event": "listening", "nodes": {name: node.port for name, node in site.nodes.items()}}), flush=True)
        following = asyncio.create_task(site.follow_faults())
        await stop.wait()
        following.cancel()
    finally:
        await site.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m opsconsole.sim.nodes", description="The demo's nodes.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--remove", action="store_true", help="remove DIR at the end")
    given = parser.parse_args()
    os.umask(0o077)
    try:
        asyncio.run(serve(given.directory.resolve()))
    finally:
        end_workers(given.directory)
        if given.remove:
            shutil.rmtree(given.directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
