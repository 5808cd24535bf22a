"""The demo's stage: a private directory and the processes in it, all of which are gone when the curtain falls, however it falls.

The nodes' process is also the guardian: it ends when its standard input closes, so even a demo that is killed leaves nothing. Then it
ends every process that is recorded under the directory, and removes the directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from opsconsole.sim.fleetfile import DemoFleet, fleet_file
from opsconsole.sim.leftovers import end_processes, end_workers, record_of

START_LIMIT_S = 30.0
END_LIMIT_S = 20.0


class StageError(Exception):
    """The demo cannot be set up; one sentence."""


class Stage:
    """Use as a context manager. `config`, `state_dir` and `gateway` (an URL, or None) are there after `open`."""

    def __init__(self, fleet: DemoFleet, tell_traffic: Callable[[dict[str, Any]], None] = lambda report: None):
        """tell_traffic: gets the traffic's last report at the end, when there was traffic."""
        self.fleet, self._tell_traffic = fleet, tell_traffic
        self.directory = Path(tempfile.mkdtemp(prefix="opsconsole-demo-"))
        self.config = self.directory / "fleet.toml"
        self.state_dir = self.directory / "state"
        self.gateway: str | None = None
        self._records: dict[str, dict[str, Any]] = {}
        self._nodes: subprocess.Popen | None = None
        self._gateway: subprocess.Popen | None = None
        self._traffic: subprocess.Popen | None = None

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Nodes, gateway and fleet file. Raises StageError."""
        self.state_dir.mkdir(mode=0o700)
        (self.directory / "processes").mkdir(mode=0o700)
        (self.directory / "plan.json").write_text(json.dumps(self.fleet.plan() if self.fleet.is_real else {"nodes": []}))
        self._nodes = self._start("nodes", "opsconsole.sim.nodes", str(self.directory), "--remove")
        ports = self._first_line("nodes", self._nodes)["nodes"]
        if self.fleet.is_real:
            self._open_gateway()
        self.config.write_text(fleet_file(self.fleet, self.directory, ports, self.gateway))

    def _open_gateway(self) -> None:
        routes = self.state_dir / "routes.json"
        routes.write_text('{"models": {}}')
        routes.chmod(0o600)
        self._gateway = self._start("gateway", "opsconsole.gateway", "--routes", str(routes), "--port", "0")
        self.note("gateway", self._gateway.pid)
        self.gateway = f"http://127.0.0.1:{self._first_line('gateway', self._gateway)['port']}"

    def open_traffic(self) -> None:
        """The public. It follows traffic.json, which the scenario's player writes."""
        if self.gateway and self.fleet.traffic:
            plan = self.directory / "traffic.json"
            arguments = ("--url", self.gateway, "--plan", str(plan), "--seed", str(self.fleet.seed), "--until-stdin-closes")
            self._traffic = self._start("traffic", "opsconsole.sim.traffic", *arguments)
            self.note("traffic", self._traffic.pid)

    def note(self, name: str, pid: int) -> None:
        """Remember a process that must end with the demo, also if the demo itself cannot see to it."""
        self._records[name] = record_of(pid)
        (self.directory / "processes" / f"{name}.json").write_text(json.dumps(self._records[name]))

    def close(self) -> None:
        """End everything, the public first and the nodes last, and remove the directory."""
        self._end_traffic()
        end_processes(list(self._records.values()))
        for process in (self._gateway, self._nodes):
            _end(process)
        end_workers(self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _end_traffic(self) -> None:
        """Its last line is its report."""
        if self._traffic is not None:
            with contextlib.suppress(OSError, ValueError, IndexError, subprocess.TimeoutExpired):
                out, _ = self._traffic.communicate(timeout=END_LIMIT_S)
                self._tell_traffic(json.loads(out.splitlines()[-1]))

    def _start(self, name: str, module: str, *arguments: str) -> subprocess.Popen:
        with self._log(name) as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                # a Ctrl-C at the terminal is the demo's to handle: it ends its processes in their order
                start_new_session=True, env=_environment(),
            )

    def _log(self, name: str) -> IO[bytes]:
        return open(self.directory / f"{name}.log", "wb")

    def _first_line(self, name: str, process: subprocess.Popen) -> dict[str, Any]:
        """What a process says when it listens. Raises StageError with its last words."""
        has_spoken, _, _ = select.select([process.stdout], [], [], START_LIMIT_S)
        try:
            return json.loads(process.stdout.readline() if has_spoken else "")
        except ValueError:
            words = (self.directory / f"{name}.log").read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise StageError(f"the demo's {name} did not start: {words[-1]}") from None


def _end(process: subprocess.Popen | None) -> None:
    """By closing its standard input, which each of them takes as the end; by force when that is not enough."""
    if process is None:
        return
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(END_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def _environment() -> dict[str, str]:
    """This package is found there as it was found here, installed or not."""
    here = str(Path(__file__).resolve().parents[2])
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
