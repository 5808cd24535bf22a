"""A recording of a simulated fleet, made in a moment: the world's clock is moved by hand, the recorder is the real one."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from opsconsole.core.events import Linked, Lost, Sampled, Ticked
from opsconsole.core.fleet import UNREACHABLE, Fleet, Model, NodeFacts, Roster, Site, opening
from opsconsole.core.fold import fold
from opsconsole.core.ingest import ingest
from opsconsole.history.samples import Recorder
from opsconsole.sim.world import World
from tests.tui import fleets

BEGAN = fleets.NOW - 299.0
SECONDS = 300
GAP = range(100, 160)
"""Seconds after BEGAN in which nothing was recorded."""
LOST = 70
"""From this second on the last node is not heard."""
MODELS = (Model("small", slots=8, ttft_p95_ms=2000.0), Model("large", gpus=2, slots=8))


def simulated() -> list[Fleet]:
    """The fleet of each second."""
    specs = [SimpleNamespace(name=f"sim-{row}", chip="H100", gpus="sim:4") for row in range(4)]
    world = World(specs, MODELS, seed=3)
    fleet = opening(Roster(
        "sims", "staging", tuple(NodeFacts(spec.name, "ams1", "r01", "H100") for spec in specs), (Site("ams1", "acme", 20.0),),
        models=MODELS, gpu_start=np.zeros(len(specs) + 1, np.int64),
    ))
    told = []
    for second in range(SECONDS):
        world.advance(1.0)
        wall, mono = BEGAN + second, 100.0 + second
        heard = [row for row in range(len(specs)) if second < LOST or row < len(specs) - 1]
        events = [Linked(spec.name, mono, ingest(world.facts_line(row), spec.name)) for row, spec in enumerate(specs)] if not second else []
        events += [Sampled(specs[row].name, wall, mono, ingest(world.sample_line(row, wall, mono), specs[row].name)) for row in heard]
        events += [Lost(specs[-1].name, mono, UNREACHABLE, "no route to host")] if second == LOST else []
        fleet = fold(fleet, [*events, Ticked(wall, mono)])
        told.append(fleet)
    return told


def record(path: Path, told: list[Fleet]) -> None:
    """Write them down, but for the gap, and one action."""
    recorder = Recorder(path)
    recorder.start()
    for second, fleet in enumerate(told):
        if second not in GAP:
            recorder.record(fleet)
        if second % 20 == 0 or second == SECONDS - 1:
            _wait_for(recorder, fleet, second)
    recorder.note("action", "sim-1", "drain sim-1", "dana", at=BEGAN + 200)
    recorder.close()


def _wait_for(recorder: Recorder, fleet: Fleet, second: int) -> None:
    give_up = time.monotonic() + 20.0
    while second not in GAP and recorder.acknowledged != int(fleet.at):
        assert time.monotonic() < give_up and not recorder.trouble, recorder.trouble
        time.sleep(0.002)
