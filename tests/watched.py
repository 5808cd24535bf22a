"""A simulated world as the console sees it, without links or clocks: its lines folded second by second, and recorded if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from opsconsole.core.events import Linked, Lost, Sampled, Ticked
from opsconsole.core.fleet import UNREACHABLE, Fleet, Model, NodeFacts, Roster, Site, opening
from opsconsole.core.fold import fold
from opsconsole.core.ingest import ingest
from opsconsole.sim.world import World

BEGIN = 1_700_006_400.0
SITES = (
    Site("ams1", "northlight", 60.0, 1.25, {"H100": 2.10}), Site("fra1", "meridian", 60.0, 1.35, {"H200": 2.90, "L40S": 0.85}),
)
MODELS = (
    Model("chat", gpus=4, slots=64, min_ready=1, ttft_p95_ms=600.0, itl_p95_ms=60.0),
    Model("code", gpus=2, slots=48, min_ready=1, ttft_p95_ms=600.0, itl_p95_ms=60.0),
)
NODES = (("ams1", "H100"), ("fra1", "H200"), ("ams1", "H100"), ("fra1", "L40S"))


class Watched:
    """nodes: how many, in turn as NODES, or their facts; at: epoch seconds of the beginning."""

    def __init__(self, nodes: int | Sequence[NodeFacts] = 8, seed: int = 3, at: float = BEGIN, models=MODELS, sites=SITES) -> None:
        facts = _facts(nodes) if isinstance(nodes, int) else tuple(nodes)
        self.names = [node.name for node in facts]
        self.world = World([SimpleNamespace(name=node.name, chip=node.chip, gpus="sim:8") for node in facts], models, seed, at)
        starts = np.zeros(len(facts) + 1, np.int64)
        self.fleet: Fleet = opening(Roster(fleet_name="sim", nodes=facts, sites=sites, models=models, gpu_start=starts))
        self._linked: set[int] = set()
        self.look()

    def of_site(self, site: str) -> list[str]:
        return [node.name for node in self.fleet.roster.nodes if node.site == site]

    def look(self) -> Fleet:
        """The fleet as its lines of this second tell it."""
        world, events = self.world, []
        for row, name in enumerate(self.names):
            if row in world.cut:
                events += [Lost(name, world.at, UNREACHABLE, "cut")] if row in self._linked else []
                self._linked.discard(row)
                continue
            if row not in self._linked:
                self._linked.add(row)
                events.append(Linked(name, world.at, ingest(world.facts_line(row), name)))
            events.append(Sampled(name, world.at, world.at, ingest(world.sample_line(row, world.at, world.at), name)))
        self.fleet = fold(self.fleet, [*events, Ticked(world.at, world.at)])
        return self.fleet

    def run(self, seconds: int, step_s: float = 1.0, record=None) -> Fleet:
        """record: called with each fleet."""
        for _ in range(int(seconds / step_s)):
            self.world.advance(step_s)
            self.look()
            if record is not None:
                record(self.fleet)
        return self.fleet

    def tokens_per_s(self, seconds: int = 60) -> dict[str, float]:
        """What each model gives, a mean over so many seconds."""
        total = dict.fromkeys((model.name for model in self.fleet.roster.models), 0.0)
        for _ in range(seconds):
            self.run(1)
            for worker in self.fleet.heard_workers:
                total[worker.model] += (worker.tokens_per_s or 0.0) / seconds
        return total


def _facts(count: int) -> tuple[NodeFacts, ...]:
    kinds = (NODES[row % len(NODES)] for row in range(count))
    return tuple(NodeFacts(f"{site}-{chip.lower()}-{row}", site, f"r{row // 4}", chip) for row, (site, chip) in enumerate(kinds))
