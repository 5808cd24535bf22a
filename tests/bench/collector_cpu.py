"""What watching a fleet costs: steady CPU of the collector for simulated nodes at 1 Hz, with history on, with and without a front.

The simulated nodes live in the collector's process, so their own cost is measured apart and shown beside.
Rerun: python tests/bench/collector_cpu.py [NODES [GPUS [SECONDS]]]
"""

from __future__ import annotations

import subprocess
import sys
import time

from rig import collector, cpu_s, memory_mib


def share_of_a_core(pid: int, seconds: float) -> float:
    before, began = cpu_s(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_s(pid) - before) / (time.monotonic() - began)


def generator_share(nodes: int, gpus: int, seconds: float) -> float:
    """CPU share of the simulated nodes alone: the same lines made at the same rate, and thrown away."""
    script = f"import sys; sys.path.insert(0, {__file__.rsplit('/', 1)[0]!r}); from collector_cpu import generate; generate({nodes}, {gpus}, {seconds})"
    return float(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    nodes, gpus, seconds = (int(sys.argv[index]) if len(sys.argv) > index else default for index, default in ((1, 1000), (2, 8), (3, 30)))
    with collector(nodes, gpus) as (pid, options):
        time.sleep(15)  # the ramp, and what is frozen after it
        alone = share_of_a_core(pid, seconds)
        front = subprocess.Popen([sys.executable, "-m", "opsconsole", *options, "nodes", "--json", "--watch"], stdout=subprocess.DEVNULL)
        time.sleep(3)
        watched = share_of_a_core(pid, seconds)
        front.terminate()
        front.wait()
        print(f"{nodes} nodes x {gpus} GPUs at 1 Hz, history on: {alone:.1%} of a core, {watched:.1%} with a front, {memory_mib(pid):.0f} MiB")


if __name__ == "__main__":
    main()
