"""The telemetry that the benchmark of the history records: what a simulated fleet says each second, as Fleets and as OpenMetrics text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from opsconsole.config.values import NodeSpec
from opsconsole.core.fleet import LIVE, Fleet, Model, NodeFacts, Roster
from opsconsole.core.headlines import headlines
from opsconsole.protocol import GPU_COLUMNS, NODE_COLUMNS
from opsconsole.sim.world import World

GPUS = 8
GPU_METRICS = tuple(column for column in GPU_COLUMNS if column != "xid")  # no GPU of this fleet ever has one
NODE_METRICS = (*NODE_COLUMNS, "age_s", "clock_offset_s")
A_NODE = GPUS * len(GPU_METRICS) + len(NODE_METRICS)
"""Samples that a node gives each second."""


class Telemetry:
    """A fleet of `nodes` nodes with eight GPUs, second by second. copies: so many times the nodes that are simulated."""

    def __init__(self, nodes: int, begin: int, copies: int = 1) -> None:
        self.begin, self._copies = begin, copies
        specs = [NodeSpec(f"n{row:05}", site="s1", chip="H100", gpus=f"sim:{GPUS}", link="sim") for row in range(nodes)]
        self._world = World(specs, [Model("demo", checkpoint="random:tiny")])
        count = nodes * copies
        facts = tuple(NodeFacts(f"n{row:05}", "s1", "r1", "H100") for row in range(count))
        gpus = count * GPUS
        self.roster = Roster(
            fleet_name="bench", nodes=facts, gpu_start=np.arange(count + 1) * GPUS, gpu_uuid=tuple(f"GPU-{row}" for row in range(gpus)),
            gpu_name=("H100",) * gpus, gpu_index=np.tile(np.arange(GPUS), count), gpu_facts=np.full((6, gpus), np.nan),
        )
        self._random = np.random.default_rng(1)

    def fleets(self, seconds: int) -> Iterator[Fleet]:
        count = len(self.roster.nodes)
        for second in range(seconds):
            self._world.advance(1.0)
            at = self.begin + second + 0.25
            gpu = np.tile(self._world.gpus.columns, (1, self._copies))
            gpu[GPU_COLUMNS.index("xid")] = np.nan
            node = np.tile(self._world._node_columns, (1, self._copies))
            heard = np.round(second + 1 - self._random.uniform(0.0, 1.0, count), 2)
            fleet = Fleet(
                at=at, mono=second + 1.0, roster=self.roster, reach=np.full(count, LIVE, np.int8), cause=("",) * count, sampled_mono=heard,
                clock_offset_s=np.round(self._random.normal(0.0, 0.02, count), 2), node_values=node, gpu_values=gpu,
            )
            assert len(node) == len(NODE_COLUMNS)
            yield replace(fleet, trend=headlines(fleet)[:, None])


def numbers_of(fleet: Fleet) -> tuple[np.ndarray, np.ndarray]:
    """(GPU_METRICS, G) and (NODE_METRICS, N)."""
    gpus = fleet.gpu_values[[GPU_COLUMNS.index(name) for name in GPU_METRICS]]
    return gpus, np.concatenate([fleet.node_values, fleet.age_s[None], fleet.clock_offset_s[None]])


def write_openmetrics(path: Path, begin: int, gpus: np.ndarray, nodes: np.ndarray) -> int:
    """(GPU_METRICS, G, seconds) and (NODE_METRICS, N, seconds) as text that promtool takes; returns how many samples."""
    times = [f" {begin + second}\n" for second in range(gpus.shape[2])]
    with path.open("w") as file:
        for kind, names, table in (("gpu", GPU_METRICS, gpus), ("node", NODE_METRICS, nodes)):
            for name, series in zip(names, table, strict=True):
                file.write(f"# TYPE {kind}_{name} gauge\n")
                for row, values in enumerate(series):
                    of = f'node="n{row // GPUS:05}",gpu="{row % GPUS}"' if kind == "gpu" else f'node="n{row:05}"'
                    begun = f"{kind}_{name}{{{of}}} "
                    file.writelines([f"{begun}{value:.10g}{time}" for value, time in zip(values.tolist(), times, strict=True)])
        file.write("# EOF\n")
    return gpus.size + nodes.size
