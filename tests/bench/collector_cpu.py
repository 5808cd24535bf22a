"""What watching a fleet costs: steady CPU of the collector for simulated nodes at 1 Hz, with history on, with and without a front.

The simulated nodes live in the collector's process, so their own cost is measured apart and shown beside.
Rerun: python tests/bench/collector_cpu.py [NODES [GPUS [SECONDS]]]
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time

from rig import collector, cpu_s, fleet_file, memory_mib


def share_of_a_core(pid: int, seconds: float) -> float:
    before, began = cpu_s(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_s(pid) - before) / (time.monotonic() - began)


def generator_share(nodes: int, gpus: int, seconds: int) -> float:
    """CPU share of the simulated nodes alone: the same lines made at the same rate, and thrown away."""
    command = [sys.executable, __file__, "--generate", str(nodes), str(gpus), str(seconds)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def generate(nodes: int, gpus: int, seconds: int) -> float:
    """The work behind `generator_share`, in a process of its own: the CPU share of a world and its lines, at one second a second."""
    from opsconsole.config import read_config
    from opsconsole.sim.world import World

    with fleet_file(nodes, gpus) as path:
        config = read_config(path)
    world = World(config.nodes, config.models)
    gc.collect()
    gc.freeze()  # as the collector does
    before, began = time.process_time(), time.monotonic()
    for second in range(1, seconds + 1):
        world.advance(1.0)
        for row in range(nodes):
            world.sample_line(row, world.at, float(second))
        time.sleep(max(began + second - time.monotonic(), 0.0))
    return (time.process_time() - before) / (time.monotonic() - began)


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
        memory = memory_mib(pid)
    simulated = generator_share(nodes, gpus, seconds)
    print(
        f"{nodes} nodes x {gpus} GPUs at 1 Hz, history on: {alone:.1%} of a core, of which the simulated nodes {simulated:.1%} "
        f"and the collector {alone - simulated:.1%}; {watched:.1%} with a front; {memory:.0f} MiB"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--generate"]:
        print(generate(*map(int, sys.argv[2:])))
    else:
        main()
