"""How long a second of alarms takes at 1,000 nodes of 8 GPUs with 2,000 workers, calm and on a bad night: python tests/bench/alarms.py"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from opsconsole.core.alarms import alarmed
from opsconsole.core.fleet import UNREACHABLE, Fleet
from opsconsole.protocol import GPU_COLUMNS
from tests.tui import fleets

NODES, SECONDS = 1000, 60


def bad_night(fleet: Fleet) -> Fleet:
    """A rack lost, 60 nodes hot, Xids here and there."""
    reach, values = fleet.reach.copy(), fleet.gpu_values.copy()
    reach[100:108] = UNREACHABLE
    values[GPU_COLUMNS.index("throttle"), 4000:4480] = 0x40
    values[GPU_COLUMNS.index("xid"), 7000:7900:100] = 79.0
    return replace(fleet, reach=reach, gpu_values=values)


def measure(fleet: Fleet) -> tuple[float, float, int]:
    """Median and worst ms of processor time a tick, and how many alarms stand in the end."""
    before = replace(fleet, at=fleet.at - 1, mono=fleet.mono - 1, alarms=())
    spent = []
    for second in range(SECONDS):
        now = replace(before, at=fleet.at + second, mono=fleet.mono + second)
        begun = time.process_time()
        before = alarmed(before, now)
        spent.append((time.process_time() - begun) * 1000)
    return float(np.median(spent)), max(spent), len(before.alarms)


if __name__ == "__main__":
    for name, fleet in (("calm", fleets.calm(NODES)), ("bad night", bad_night(fleets.calm(NODES)))):
        typical_ms, worst_ms, count = measure(fleet)
        print(f"{name}: {typical_ms:.1f} ms a tick, worst {worst_ms:.1f} ms, {count} alarms")
