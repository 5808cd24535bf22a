"""Which simulated workers there are, from launch to stop, and what orders have to say meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from opsconsole.protocol import WORKER_PHASES
from opsconsole.sim.service import REQUESTS_PER_S_OF_CHIP, Service

PHASE_S = {"spawn": 2.0, "import": 2.0, "load": 4.0, "compile": 5.0, "warm": 2.0}
STOPPED_KEPT_S = 10.0
FIRST_PORT = 8100


@dataclass
class SimWorker:
    """One worker. gpus and rows: as in its Place."""

    name: str
    model: str
    node: int
    gpus: list[int]
    rows: list[int]
    slots: int
    port: int
    pid: int
    started_at: float
    state: str = "STARTING"
    phase: str | None = "spawn"
    since: float = 0.0
    order: dict[str, Any] | None = None
    """The order under way, None when there is none."""
    in_flight_at_start: int = 0
    until_s: float = 0.0
    """How long its drain may take; `extend` moves it on."""
    in_flight_before: int = 0
    """At the deadline before."""
    told: str = ""
    """The phase last spoken of."""
    checkpoint: str = ""
    generation: int = 0
    share: float = 1.0
    """Of each of its GPUs."""


class Place(NamedTuple):
    """Where a worker goes. gpus: as rows of its node; rows: the same as rows of the whole fleet; chip: that of the node."""

    name: str
    model: str
    node: int
    gpus: list[int]
    rows: list[int]
    chip: str
    slots: int
    checkpoint: str


Answer = tuple[int, dict[str, Any]]
"""(row of the node, answer message)."""


class Crew:
    """The workers of a world, in the order of the service's arrays."""

    def __init__(self, models: list[str], random: np.random.Generator):
        self.models = models
        self.workers: list[SimWorker] = []
        self.service = Service(len(models), random)
        self.changes = 0
        """Grows whenever a worker comes or goes."""
        self._pids = 20_000
        self._claimed_at_change = -1

    def add(self, places: Sequence[Place], at: float) -> list[SimWorker]:
        """The new workers, the last of all."""
        added = []
        for place in places:
            self._pids += 1
            port = FIRST_PORT + self._pids % 20_000
            added.append(
                SimWorker(
                    place.name, place.model, place.node, place.gpus, place.rows, place.slots, port, self._pids, at, since=at,
                    checkpoint=place.checkpoint,
                )
            )
        self.workers += added
        self.changes += 1
        models = [self.models.index(place.model) for place in places]
        speeds = [REQUESTS_PER_S_OF_CHIP[place.chip] * len(place.gpus) for place in places]
        self.service.add(models, speeds, [place.slots for place in places])
        return added

    def launch(self, place: Place, order: dict[str, Any], at: float, share: float) -> SimWorker:
        (worker,) = self.add([place], at)
        worker.order, worker.share, worker.checkpoint = order, share, str(order.get("checkpoint") or place.checkpoint)
        return worker

    def claims(self) -> tuple[np.ndarray, np.ndarray]:
        """(GPUs that workers hold, as rows of the whole fleet; the index of the worker that holds each), both (claims,)."""
        if self._claimed_at_change != self.changes:
            self._claimed_at_change = self.changes
            self._claimed_rows = np.array([row for worker in self.workers for row in worker.rows], np.int64)
            self._claimants = np.repeat(np.arange(len(self.workers)), [len(worker.rows) for worker in self.workers])
        has_stopped = np.array([worker.state == "STOPPED" for worker in self.workers], bool)
        held = ~has_stopped[self._claimants]
        return self._claimed_rows[held], self._claimants[held]

    def open(self, index: int) -> None:
        worker = self.workers[index]
        worker.state, worker.phase = "READY", None
        self.service.is_open[index] = 1.0

    def index_of(self, node: int, name: str) -> int | None:
        return next((index for index, worker in enumerate(self.workers) if worker.node == node and worker.name == name), None)

    def drain(self, index: int, order: dict[str, Any], at: float) -> None:
        worker = self.workers[index]
        worker.state, worker.phase, worker.order, worker.since = "DRAINING", None, order, at
        worker.in_flight_at_start = worker.in_flight_before = self.service.in_flight(index)
        worker.until_s = float(order.get("deadline_s") or 0.0)
        self.service.is_open[index] = 0.0

    def advance(self, at: float) -> list[Answer]:
        """Move those that start or stop; returns what they have to say."""
        said: list[Answer] = []
        for index in range(len(self.workers) - 1, -1, -1):
            worker = self.workers[index]
            if worker.state == "STARTING":
                said.extend(self._start(index, at))
            elif worker.state == "DRAINING" and not worker.order:
                worker.state = "DRAINING" if self.service.in_flight(index) else "DRAINED"
            elif worker.state == "DRAINING":
                said.extend(self._drain_on(index, at))
            elif worker.state == "STOPPED" and at - worker.since > STOPPED_KEPT_S:
                self.remove(index)
        return said

    def remove(self, index: int) -> None:
        self.changes += 1
        del self.workers[index]
        self.service.remove(index)

    def _start(self, index: int, at: float) -> Iterator[Answer]:
        worker = self.workers[index]
        left_s = at - worker.since
        for phase in WORKER_PHASES:
            if left_s < PHASE_S[phase]:
                if phase != worker.told:
                    worker.phase = worker.told = phase
                    yield from _say(worker, True, False, f"phase {phase}", phase=phase)
                return
            left_s -= PHASE_S[phase]
        self.open(index)
        yield from _say(worker, True, True, "READY", pid=worker.pid, port=worker.port, seconds=round(at - worker.since, 2))
        worker.order = None

    def _drain_on(self, index: int, at: float) -> Iterator[Answer]:
        worker, left = self.workers[index], self.service.in_flight(index)
        order, seconds = worker.order or {}, round(at - worker.since, 2)
        on_deadline = order.get("on_deadline", "hold")
        counts = {
            "in_flight_at_start": worker.in_flight_at_start, "finished": max(0, worker.in_flight_at_start - left), "moved": 0, "aborted": 0,
            "seconds": seconds,
        }
        proof = f"pid {worker.pid} is gone, port {worker.port} is closed, GPU memory is back"
        if seconds >= worker.until_s > 0 and on_deadline == "extend" and left < worker.in_flight_before:
            worker.until_s, worker.in_flight_before = worker.until_s + float(order["deadline_s"]), left
        if left == 0:
            yield from _say(worker, True, True, "stopped", **counts, proof=proof)
            self.stop(index, at)
        elif seconds < worker.until_s:
            yield from _say(worker, True, False, f"{left} in flight", in_flight=left)
        elif on_deadline == "migrate":
            yield from _say(worker, True, True, "stopped", **{**counts, "moved": left}, proof=proof)
            self.stop(index, at)
        elif on_deadline == "abort":
            yield from _say(worker, True, True, f"aborted with {left} in flight", **{**counts, "aborted": left}, proof=proof)
            self.stop(index, at)
        else:
            yield from _say(worker, False, True, f"deadline: {left} in flight; held", **counts, held=True, in_flight=left)
            worker.order = None

    def stop(self, index: int, at: float) -> None:
        worker = self.workers[index]
        worker.state, worker.phase, worker.order, worker.since = "STOPPED", None, None, at
        self.service.is_open[index] = 0.0


def _say(worker: SimWorker, ok: bool, done: bool, text: str, **detail: Any) -> Iterator[Answer]:
    if worker.order:
        yield worker.node, answer(worker.order, ok, done, text, **detail)


def answer(order: dict[str, Any], ok: bool, done: bool, text: str, /, **detail: Any) -> dict[str, Any]:
    return {"t": "answer", "id": order.get("id", ""), "ok": ok, "done": done, "text": text, "detail": detail}
