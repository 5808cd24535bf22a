"""A state directory with the past of a small simulated fleet in it: seconds, a gap, actions, an audit and a run, on a clock of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from opsconsole.config import read_config
from opsconsole.control import wire
from opsconsole.core.events import Linked, Lost, Sampled, Ticked
from opsconsole.core.fleet import UNREACHABLE, Fleet, NodeFacts, Roster, opening
from opsconsole.core.fold import fold
from opsconsole.core.ingest import ingest
from opsconsole.core.run import Run, StepRun
from opsconsole.core.steps import Drain, Plan, Step
from opsconsole.history.audit import Audit
from opsconsole.history.journal import Journal
from opsconsole.history.samples import Recorder
from opsconsole.protocol import GPU_COLUMNS
from opsconsole.sim.world import World

FLEET = """
[fleet]
name = "lab"

[[sites]]
name = "ams1"
power_budget_kw = 40.0

[[sites]]
name = "fra2"

[[nodes]]
hosts = "n[1-2]"
site = "ams1"
chip = "H100"
gpus = "sim:4"
link = "sim"
address = "10.1.2.[3-4]"

[[nodes]]
hosts = "n3"
site = "fra2"
chip = "L40S"
gpus = "sim:2"
link = "sim"

[[models]]
name = "llama"
min_ready = 1
checkpoint = "https://ann:hunter2@hub/llama"

[[alarms]]
rule = "saturation"
enabled = false
"""
SECONDS, GAP_AFTER, GAP_S = 180, 120, 60
"""So many seconds are recorded; after the first GAP_AFTER of them nobody records for GAP_S."""
ACTOR, REASON = "ann@laptop", "fan is loud"


@dataclass(frozen=True)
class Recorded:
    """place: holds fleet.toml and state/. fleets: what was recorded, by second. gap: its last second before and first one after."""

    place: Path
    fleets: dict[int, Fleet]
    start: int
    gap: tuple[int, int]

    @property
    def options(self) -> list[str]:
        return ["--config", str(self.place / "fleet.toml"), "--state-dir", str(self.place / "state")]

    @property
    def file(self) -> Path:
        return self.place / "state" / "history.db"


def sim_fleets(config, start: int) -> Iterator[Fleet]:
    """n3 is lost in the last ten seconds before the gap."""
    nodes = tuple(NodeFacts(spec.name, spec.site, spec.rack, spec.chip, spec.address or spec.name) for spec in config.nodes)
    start_of_gpus = np.zeros(len(nodes) + 1, np.int64)
    fleet = opening(Roster(
        config.fleet_name, config.environment, nodes, config.sites, models=config.models, alarm_rules=config.alarm_rules,
        gpu_start=start_of_gpus,
    ))
    world = World(config.nodes, config.models, at=float(start))
    fleet = fold(fleet, [Linked(spec.name, 0.0, ingest(world.facts_line(row), spec.name)) for row, spec in enumerate(config.nodes)])
    for second in range(SECONDS):
        at = start + second + (GAP_S if second >= GAP_AFTER else 0)
        mono = float(at - start)
        lost = GAP_AFTER - 10 <= second < GAP_AFTER
        rows = [row for row, spec in enumerate(config.nodes) if not (lost and spec.name == "n3")]
        lines = {config.nodes[row].name: world.sample_line(row, at, mono) for row in rows}
        events = [Sampled(name, at, mono, ingest(line, name)) for name, line in lines.items()]
        events += [Lost("n3", mono, UNREACHABLE, "no route to 10.1.2.3:22")] if lost else []
        fleet = fold(fleet, [*events, Ticked(float(at), mono)])
        world.advance(1.0)
        yield fleet


def with_a_hot_gpu(fleet: Fleet, second: int) -> Fleet:
    """GPU 3 of n2 has 91 °C for one second: a peak that no mean may hide."""
    if second != 50:
        return fleet
    values = fleet.gpu_values.copy()
    values[GPU_COLUMNS.index("temp_c"), fleet.roster.gpu_row["n2", 3]] = 91.0
    return replace(fleet, gpu_values=values)


def record(place: Path, start: int | None = None) -> Recorded:
    """start: the first second; None: so that all of it ended a minute ago."""
    start = int(time.time()) - SECONDS - GAP_S - 60 if start is None else start
    (place / "fleet.toml").write_text(FLEET)
    state = place / "state"
    state.mkdir(mode=0o700)
    fleets = {}
    recorder = Recorder(state / "history.db", hours=1e5)
    recorder.start()
    for second, fleet in enumerate(sim_fleets(read_config(place / "fleet.toml"), start)):
        fleet = fleets[int(fleet.at)] = with_a_hot_gpu(fleet, second)
        recorder.record(fleet)
        while recorder.acknowledged != int(fleet.at):
            assert not recorder.trouble, recorder.trouble
            time.sleep(0.001)
    recorder.note("action", "llama-1", f"drain llama-1 on n1: {REASON}", ACTOR, start + 30.0)
    recorder.note("receipt", "llama-1", "done, with token=abcdef123", ACTOR, start + 40.0)
    recorder.close()
    act(state, start)
    return Recorded(place, fleets, start, (start + GAP_AFTER - 1, start + GAP_AFTER + GAP_S))


def act(state: Path, start: int) -> None:
    """What audit and journal have to say of that time, and of one before it."""
    order = {"op": "drain", "worker": "llama-1", "engine_spec": {"env": {"HF_TOKEN": "hf_secretsecret", "MODE": "fast"}}}
    audit = Audit(state / "audit.db")
    for at, node in ((start - 500.0, "n1"), (start + 30.0, "n1"), (start + 31.0, "n3")):
        audit.append(at, "order", "r-1", ACTOR, {"node": node, **order, "reason": REASON})
    audit.close()
    step = Step("drain llama-1 on n1", "n1", "llama-1", order)
    plan = Plan(Drain(("llama-1",), 600.0, "hold", REASON, ACTOR), "drain llama-1", (step,))
    journal = Journal(state / "runs.db")
    for number, began_at in ((0, start - 500.0), (1, start + 30.0)):
        journal.put(wire.run_out(Run(f"r-{number}", plan, began_at, (StepRun(step, "o-1", "DONE"),), "DONE", began_at + 10.0)))
    journal.close()
