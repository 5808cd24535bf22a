"""A fleet of simulated nodes with its collector, as every benchmark here needs it, and the CPU time that a process has used."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")

FLEET = """
[fleet]
name = "bench"

[[sites]]
name = "ams1"
power_budget_kw = {budget_kw}

[[nodes]]
hosts = "gpu[0001-{nodes:04}].ams1"
site = "ams1"
chip = "H100"
link = "sim"
gpus = "sim:{gpus}"

[[models]]
name = "demo"
checkpoint = "random:tiny"
"""


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def memory_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


@contextlib.contextmanager
def fleet_file(nodes: int, gpus: int) -> Iterator[Path]:
    """A fleet file with so many simulated nodes, in a directory of its own that goes at the end."""
    with tempfile.TemporaryDirectory(prefix="opsconsole-bench-") as home:
        path = Path(home) / "fleet.toml"
        path.write_text(FLEET.format(nodes=nodes, gpus=gpus, budget_kw=nodes * gpus))
        yield path


@contextlib.contextmanager
def collector(nodes: int, gpus: int) -> Iterator[tuple[int, list[str]]]:
    """(pid of a collector that watches so many simulated nodes, the options that attach a front to it)."""
    with fleet_file(nodes, gpus) as config:
        options = ["--config", str(config), "--state-dir", str(config.parent / "state")]
        process = subprocess.Popen([sys.executable, "-m", "opsconsole", *options, "collect"])
        try:
            _wait_until_live(options, nodes)
            yield process.pid, options
        finally:
            process.terminate()
            process.wait(20)


def _wait_until_live(options: list[str], nodes: int) -> None:
    import json

    for _ in range(60):
        answer = subprocess.run([sys.executable, "-m", "opsconsole", *options, "nodes", "--json"], capture_output=True, text=True)
        if answer.stdout and sum(node["reach"] == "LIVE" for node in json.loads(answer.stdout)["nodes"]) == nodes:
            return
        time.sleep(1.0)
    raise SystemExit(f"the simulated fleet did not come up: {answer.stderr}")
