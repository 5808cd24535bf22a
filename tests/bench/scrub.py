"""What holding a step key costs: a screen that stands in the past is moved 60 times a second, over seconds that were recorded.

The recording is made first, by a real recorder, of a fleet whose every figure moves; the screen draws into a pty, at 160x50.
Rerun: python tests/bench/scrub.py [NODES [GPUS [STEPS_A_SECOND]]]
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from key_to_paint import open_screen, read_for
from rig import cpu_s, memory_mib

RECORDED_S = 120
TRIED_S = 15.0
BACK, ON = b"[", b"]"


def record(path: Path, nodes: int, gpus: int) -> None:
    import numpy as np

    from opsconsole.history.samples import Recorder
    from tests.tui import fleets

    fleet, chance = fleets.calm(nodes, gpus), np.random.default_rng(1)
    recorder = Recorder(path)
    recorder.start()
    for _ in range(RECORDED_S):
        fleet = fleets.moving(fleet, chance)
        recorder.record(fleet)
        while recorder.acknowledged != int(fleet.at):
            time.sleep(0.01)
    recorder.close()


def scrub(terminal: int, steps_a_second: float, seconds: float) -> tuple[int, int, int]:
    """Press step keys at that rate; (keys pressed, moments drawn, bytes drawn)."""
    began, pressed, frames, size = time.monotonic(), 0, 0, 0
    while (passed := time.monotonic() - began) < seconds:
        if pressed < passed * steps_a_second:
            os.write(terminal, BACK if pressed // 80 % 2 == 0 else ON)  # there and back within what is recorded
            pressed += 1
        if select.select([terminal], [], [], 0.002)[0]:
            drawn = os.read(terminal, 1 << 20)
            size += len(drawn)
            frames += drawn.count(b" UTC")  # the clock of the banner changes with every second that is drawn
    return pressed, frames, size


def measured(path: Path, keys: bytes, steps_a_second: float) -> str:
    process, terminal = open_screen(["replay", str(path)])
    read_for(terminal, 4.0)
    os.write(terminal, keys)
    read_for(terminal, 2.0)
    before, began = cpu_s(process.pid), time.monotonic()
    pressed, frames, size = scrub(terminal, steps_a_second, TRIED_S)
    share = (cpu_s(process.pid) - before) / (time.monotonic() - began)
    memory = memory_mib(process.pid)
    process.terminate()
    with contextlib.suppress(OSError):  # the screen has closed its end
        read_for(terminal, 1.0)
    process.wait(10)
    return (f"{pressed / TRIED_S:.0f} steps/s, {frames / TRIED_S:.0f} moments/s drawn, {share:.1%} of a core, "
            f"{size / TRIED_S / 1000:.0f} kB/s to the terminal, {memory:.0f} MiB")


def main() -> None:
    nodes, gpus, rate = (int(sys.argv[index]) if len(sys.argv) > index else default for index, default in ((1, 128), (2, 8), (3, 60)))
    with tempfile.TemporaryDirectory(prefix="opsconsole-bench-") as home:
        path = Path(home) / "history.db"
        record(path, nodes, gpus)
        for name, keys in (("fleet", b""), ("node", b"2"), ("workers", b"3"), ("chart", b"c")):
            print(f"{nodes} nodes x {gpus} GPUs, {name} screen: {measured(path, keys, rate)}")


if __name__ == "__main__":
    main()
