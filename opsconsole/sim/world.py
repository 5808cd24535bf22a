"""A whole fleet that is not there, on a clock that moves only when told: the same seed and the same orders give the same lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from opsconsole.physics import CHIPS
from opsconsole.protocol import NODE_COLUMNS, PROTOCOL_VERSION
from opsconsole.sim.crew import Crew, Place
from opsconsole.sim.desk import Desk
from opsconsole.sim.gpus import MEM_SHARE_OF_WORKER, Gpus
from opsconsole.sim.lines import SampleLine, encode, worker_lines

GPUS_BY_DEFAULT = 8
SEED_BY_DEFAULT = 7
HOT_C = 32.0
OCCUPIED_SHARE = 0.85
"""Share of the GPUs that have a worker when the world begins."""
FAULTS = ("lost", "hot", "silent", "cut")


def count_and_seed(spec: Any) -> tuple[int, int]:
    """What a node of the fleet file says of its simulation: `gpus = "sim:4"`, or `"sim:4:17"` with a seed."""
    count, _, seed = str(spec.gpus).removeprefix("sim:").partition(":")
    return (int(count) if count.isdigit() else GPUS_BY_DEFAULT), (int(seed) if seed.isdigit() else SEED_BY_DEFAULT)


class World:
    """specs: nodes with name, chip and gpus; models: with name, gpus and slots. seed None: as the first spec says.

    N nodes, G GPUs in the order of the nodes.
    """

    def __init__(self, specs: Sequence[Any], models: Sequence[Any], seed: int | None = None, at: float = 1_700_000_000.0):
        self.specs, self.models, self.at = tuple(specs), tuple(models), at
        self.seed = seed if seed is not None else count_and_seed(self.specs[0])[1] if self.specs else SEED_BY_DEFAULT
        self.row = {spec.name: row for row, spec in enumerate(self.specs)}
        self.random = np.random.default_rng(self.seed)
        counts = [count_and_seed(spec)[0] for spec in self.specs]
        self.gpu_start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)  # (N+1,)
        self._slices = [slice(first, after) for first, after in pairwise(self.gpu_start.tolist())]
        self.chips = [spec.chip if spec.chip in CHIPS else "H100" for spec in self.specs]
        self.gpus = Gpus([chip for chip, count in zip(self.chips, counts, strict=True) for _ in range(count)], self.random)
        self.crew = Crew([model.name for model in self.models], self.random)
        self.desk = Desk(self)
        self.silent: set[int] = set()
        self.cut: set[int] = set()
        self.dark: set[int] = set()
        self.boots = [0] * len(self.specs)
        self.ticks = 0
        self._answers: dict[int, deque[bytes]] = {}
        self._procs: dict[int, list] = {}
        self._procs_of_change = -1
        self._staff()
        self.crew.service.advance(self.at, 1.0, self._pace())
        self.gpus.warm_up(self._load())
        self.advance(1.0)

    def _staff(self) -> None:
        """READY workers on most GPUs, the models in turn."""
        numbers = dict.fromkeys((model.name for model in self.models), 0)
        turn, places = 0, []
        for row in range(len(self.specs)):
            free = list(range(int(self.gpu_start[row + 1] - self.gpu_start[row])))
            while free and self.models:
                model = self.models[turn % len(self.models)]
                turn += 1
                need = max(model.gpus, 1)
                if need > len(free) or self.random.random() > OCCUPIED_SHARE:
                    free = free[need:] if need <= len(free) else free[: len(free) - 1]
                    continue
                numbers[model.name] += 1
                places.append(self.place(f"{model.name}-{numbers[model.name]}", model, row, free[:need]))
                free = free[need:]
        for index, _ in enumerate(self.crew.add(places, self.at)):
            self.crew.open(index)
        self.crew.service.settle_demand()

    def place(self, name: str, model: Any, row: int, gpus: list[int]) -> Place:
        rows = [int(self.gpu_start[row]) + gpu for gpu in gpus]
        return Place(name, model.name, row, gpus, rows, self.chips[row], model.slots, getattr(model, "checkpoint", ""))

    def advance(self, dt_s: float) -> None:
        """Let time pass: requests come and are served, GPUs warm up, orders go on."""
        self.at += dt_s
        self.ticks += 1
        for row, message in self.crew.advance(self.at):
            self.say(row, message)
        self.crew.service.advance(self.at, dt_s, self._pace())
        self.gpus.advance(self._load(), dt_s)
        self._prepare()

    def _pace(self) -> np.ndarray:
        """How fast each worker is for the limits of its GPUs, (W,); the slowest GPU sets the pace."""
        pace = np.ones(len(self.crew.workers))
        rows, claimants = self.crew.claims()
        np.minimum.at(pace, claimants, self.gpus.pace[rows])
        return pace

    def _load(self) -> np.ndarray:
        """Share of each GPU's compute that its worker asks for, (G,)."""
        load = np.zeros(len(self.gpus.chips))
        rows, claimants = self.crew.claims()
        busy, is_open = self.crew.service.busy[claimants], self.crew.service.is_open[claimants]
        self.gpus.occupied[:] = False
        self.gpus.occupied[rows] = True
        load[rows] = np.where(is_open > 0, 0.05 + 0.9 * busy, busy)
        noise = self.random.uniform(0.97, 1.03, len(load))
        return np.clip(load * noise, 0.0, 1.0)

    def _prepare(self) -> None:
        """What the lines of this tick are cut from."""
        self._workers = worker_lines(self.crew)
        count = len(self.specs)
        load1 = self.random.uniform(2.0, 9.0, count)
        columns = (load1 * 6.0, np.rint(60_000 + 900 * load1), load1, np.full(count, 1.5e6), load1 * 4.0, load1 * 9.0)
        self._node_columns = np.stack(columns).round(1)  # (NODE_COLUMNS, N)
        assert len(self._node_columns) == len(NODE_COLUMNS)
        if self._procs_of_change != self.crew.changes:
            self._procs_of_change = self.crew.changes
            self._procs = {}
            for worker in self.crew.workers:
                mem_mib = MEM_SHARE_OF_WORKER * CHIPS[self.chips[worker.node]]["mem_mib"]
                self._procs.setdefault(worker.node, []).extend([gpu, worker.pid, "python3", mem_mib] for gpu in worker.gpus)

    def facts_line(self, row: int) -> bytes:
        spec, boot = self.specs[row], f"-{self.boots[row]}" if self.boots[row] else ""
        return encode({
            "t": "facts", "protocol": PROTOCOL_VERSION, "agent": "simulated", "boot_id": f"sim-{self.seed}-{row}{boot}",
            "hostname": spec.name, "python": "3.11", "cpu_count": 96, "mem_total_mib": 1_031_000, "gpu_source": "simulated",
            "driver": "580.95.05", "gpu_error": None, "gpus": self.gpus.facts(self._slice(row), spec.name, self.seed),
        })

    def sample_line(self, row: int, wall: float, mono: float) -> bytes:
        gpus = self._slice(row)
        errors = {}
        if np.count_nonzero(self.gpus.lost[gpus]):  # any() costs ten times as much on so few
            errors = {str(gpu): "LOST: GPU is lost (simulated)" for gpu in np.flatnonzero(self.gpus.lost[gpus]).tolist()}
        return encode(SampleLine(
            self.ticks, wall, mono, self.gpus.columns[:, gpus].tolist(), self._node_columns[:, row].tolist(), errors,
            self._procs.get(row, []), self._workers.get(row, []), self.desk.cordons.get(row),
        ))

    def take_answers(self, row: int) -> Iterable[bytes]:
        """Lines that answer orders, each handed out once."""
        return self._answers.pop(row, ())

    def _slice(self, row: int) -> slice:
        return self._slices[row]

    def order(self, node: str, order: Mapping[str, Any]) -> None:
        """An order of the protocol to a node; it is answered as time passes."""
        row = self.row[node]
        self.desk.take(row, dict(order))

    def say(self, row: int, message: dict[str, Any]) -> None:
        """An answer of a node, handed out with its next lines."""
        self.desk.keep(row, message)
        self._answers.setdefault(row, deque()).append(encode(message))

    def fault(self, kind: str, node: str, gpu: int | None = None, on: bool = True) -> None:
        """Break something, or mend it (on=False). kind: lost and hot (of one GPU, or all of the node), silent, cut (of the node)."""
        row = self.row[node]
        gpus = self._slice(row) if gpu is None else slice(int(self.gpu_start[row]) + gpu, int(self.gpu_start[row]) + gpu + 1)
        if kind == "lost":
            self.gpus.lost[gpus] = on
        elif kind == "hot":
            self.gpus.hot_c[gpus] = HOT_C if on else 0.0
        elif kind in FAULTS:
            nodes = self.silent if kind == "silent" else self.cut
            (nodes.add if on else nodes.discard)(row)
        else:
            raise ValueError(f"fault must be one of {', '.join(FAULTS)}, not {kind!r}")

    def suffer(self, faults: Mapping[str, Any]) -> None:
        """All faults at once, as the scenario player writes them: what is not named is mended."""
        self._darken({self.row[node] for node in faults.get("dark", ()) if node in self.row})
        self.cut = {self.row[node] for node in faults.get("cut", ()) if node in self.row} | self.dark
        self.silent = {self.row[node] for node in faults.get("hang", ()) if node in self.row}
        self.gpus.lost[:], self.gpus.hot_c[:] = False, 0.0
        for node, troubles in faults.get("gpus", {}).items():
            if node in self.row:
                self._suffer_of(self.row[node], troubles)
        for number, model in enumerate(self.models):
            self.crew.service.surge[number] = float(faults.get("surge", {}).get(model.name, 1.0))

    def _darken(self, rows: set[int]) -> None:
        """Nodes without power: their workers are gone, and do not come back with it."""
        for index in range(len(self.crew.workers) - 1, -1, -1):
            if self.crew.workers[index].node in rows - self.dark:
                self.crew.remove(index)
        for row in self.dark - rows:
            self.boots[row] += 1
        self.dark = rows

    def _suffer_of(self, row: int, troubles: Mapping[str, Any]) -> None:
        gpus = self._slice(row)
        for gpu in troubles.get("lost", ()):
            self.gpus.lost[gpus][gpu] = True
        for gpu, warmer_c in troubles.get("hot", {}).items():
            self.gpus.hot_c[gpus][int(gpu)] = float(warmer_c)
