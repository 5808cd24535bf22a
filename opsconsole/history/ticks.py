"""One moment of the fleet as the rows that remember it: who stands in which slot, and a frame for each metric."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from opsconsole.core.fleet import Fleet, Roster
from opsconsole.history.catalog import METRICS, Metric
from opsconsole.history.codec import pack


@dataclass(frozen=True, slots=True)
class Tick:
    """What one commit writes. frames: (metric name, blob). entities: (kind, slot, name) that are new with this tick."""

    t: int
    at: float
    frames: tuple[tuple[str, bytes], ...]
    entities: tuple[tuple[str, int, str], ...]

    @property
    def size_bytes(self) -> int:
        return sum(len(data) for _, data in self.frames)


class Slots:
    """The place of every entity in the frames of its kind; a place once given is never given again."""

    def __init__(self, known: Iterable[tuple[str, int, str]] = ()):
        self._of: dict[str, dict[str, int]] = {"gpu": {}, "node": {}, "worker": {}, "fleet": {}}
        self._new: list[tuple[str, int, str]] = []
        self._roster: Roster | None = None
        for kind, slot, name in known:
            self._of[kind][name] = slot

    def place(self, kind: str, name: str) -> int:
        places = self._of[kind]
        slot = places.get(name)
        if slot is None:
            slot = places[name] = len(places)
            self._new.append((kind, slot, name))
        return slot

    def take_new(self) -> tuple[tuple[str, int, str], ...]:
        new, self._new = tuple(self._new), []
        return new

    def everything(self) -> tuple[tuple[str, int, str], ...]:
        """All places, for a file that starts afresh."""
        return tuple((kind, slot, name) for kind, places in self._of.items() for name, slot in places.items())

    def follow(self, roster: Roster) -> None:
        """Learn where the nodes (`node_slots`) and GPUs (`gpu_slots`) of this roster stand; cheap while it is the same."""
        if roster is self._roster:
            return
        self._roster = roster
        self.node_slots = np.array([self.place("node", node.name) for node in roster.nodes], np.int64)
        names = [node.name for node in roster.nodes]
        pairs = zip(roster.gpu_node.tolist(), roster.gpu_index.tolist(), strict=True)
        self.gpu_slots = np.array([self.place("gpu", f"{names[row]}/{index}") for row, index in pairs], np.int64)

    def spread(self, kind: str, values: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Columns (C, E) in the order of the roster as columns (C, S) in the order of the slots."""
        size = len(self._of[kind])
        if size == len(slots) and (slots[:-1] < slots[1:]).all():
            return values
        spread = np.full((len(values), size), np.nan)
        spread[:, slots] = values
        return spread


METRICS_OF_KIND: dict[str, tuple[Metric, ...]] = {
    kind: tuple(metric for metric in METRICS.values() if metric.kind == kind) for kind in ("gpu", "node", "worker", "fleet")
}


_WORKER_NUMBERS = attrgetter(*(metric.column for metric in METRICS_OF_KIND["worker"]))


def write_down(fleet: Fleet, slots: Slots) -> Tick:
    """The rows of this moment. What a node last said before it fell silent is not among them."""
    slots.follow(fleet.roster)
    answering = fleet.answering
    tables = {
        "gpu": slots.spread("gpu", _fresh(fleet.gpu_values, answering[fleet.roster.gpu_node]), slots.gpu_slots),
        "node": slots.spread("node", _fresh(fleet.node_values, answering), slots.node_slots),
        "worker": _worker_table(fleet, slots),
        "fleet": _headline_table(fleet, slots),
    }
    frames = [
        (metric.name, data)
        for kind, table in tables.items()
        for metric, values in zip(METRICS_OF_KIND[kind], table, strict=True)
        if (data := pack(values, metric.scale)) is not None
    ]
    return Tick(int(fleet.at), fleet.at, tuple(frames), slots.take_new())


def _fresh(values: np.ndarray, answering: np.ndarray) -> np.ndarray:
    return values if answering.all() else np.where(answering, values, np.nan)


def _worker_table(fleet: Fleet, slots: Slots) -> np.ndarray:
    """(worker metrics, S)."""
    places = np.array([slots.place("worker", worker.name) for worker in fleet.heard_workers], np.int64)
    rows = list(map(_WORKER_NUMBERS, fleet.heard_workers))
    values = np.array(rows, dtype=np.float64).reshape(len(rows), len(METRICS_OF_KIND["worker"]))  # None becomes NaN
    return slots.spread("worker", values.T, places)


def _headline_table(fleet: Fleet, slots: Slots) -> np.ndarray:
    """(HEADLINES, 1)."""
    slots.place("fleet", "")
    newest = fleet.trend[:, -1:]
    return newest if newest.shape[1] else np.full((len(fleet.trend), 1), np.nan)
