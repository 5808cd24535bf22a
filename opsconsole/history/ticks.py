"""One moment of the fleet as the rows that remember it: who stands in which slot, and a frame for each metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from opsconsole.core.fleet import Fleet, Roster
from opsconsole.core.headlines import fresh_gpus
from opsconsole.history.catalog import COLUMNS_OF_KIND, METRICS, METRICS_OF_KIND, WORKER_NUMBERS
from opsconsole.history.codec import pack
from opsconsole.history.moments import STEADY, Keyframe, Scribe, known_workers


@dataclass(frozen=True, slots=True)
class Tick:
    """What one commit writes. frames: (metric name, blob). entities: (kind, slot, name) that are new with this tick.

    headlines: the newest column of `Fleet.trend` and the newest queue of each model by its slot, as doubles. workers: (name, model,
    node, chip) of those that are new or have moved.
    """

    t: int
    at: float
    frames: tuple[tuple[str, bytes], ...]
    entities: tuple[tuple[str, int, str], ...]
    keyframe: Keyframe
    moment: bytes
    headlines: bytes
    workers: tuple[tuple[str, str, str, str], ...]

    @property
    def size_bytes(self) -> int:
        return len(self.moment) + sum(len(data) for _, data in self.frames)


class Slots:
    """The place of every entity in the frames of its kind; a place once given is never given again."""

    def __init__(self, known: Iterable[tuple[str, int, str]] = (), scales: Mapping[str, float] | None = None):
        self._of: dict[str, dict[str, int]] = {kind: {} for kind in COLUMNS_OF_KIND}
        self._new: list[tuple[str, int, str]] = []
        self.roster: Roster | None = None
        self.scales = {name: metric.scale for name, metric in METRICS.items()} | dict(scales or {})
        """The value of one count of each metric, as the file has it: an older release may have chosen otherwise."""
        for kind, slot, name in known:
            self._of[kind][name] = slot

    def place(self, kind: str, name: str) -> int:
        places = self._of[kind]
        slot = places.get(name)
        if slot is None:
            slot = places[name] = len(places)
            self._new.append((kind, slot, name))
        return slot

    def count(self, kind: str) -> int:
        return len(self._of[kind])

    def take_new(self) -> tuple[tuple[str, int, str], ...]:
        new, self._new = tuple(self._new), []
        return new

    def tell_again(self) -> None:
        """The next tick goes into a file that knows nobody."""
        self._new = list(self.everything())

    def everything(self) -> tuple[tuple[str, int, str], ...]:
        """All places, for a file that starts afresh."""
        return tuple((kind, slot, name) for kind, places in self._of.items() for name, slot in places.items())

    def follow(self, roster: Roster) -> None:
        """Learn where the nodes (`node_slots`) and GPUs (`gpu_slots`) of this roster stand, and its sites; cheap while it is the same."""
        if roster is self.roster:
            return
        self.roster = roster
        self.node_slots = np.array([self.place("node", node.name) for node in roster.nodes], np.int64)
        names = [node.name for node in roster.nodes]
        pairs = zip(roster.gpu_node.tolist(), roster.gpu_index.tolist(), strict=True)
        self.gpu_slots = np.array([self.place("gpu", f"{names[row]}/{index}") for row, index in pairs], np.int64)
        self.site_slots = np.array([self.place("site", node.site) if node.site else -1 for node in roster.nodes], np.int64)
        self.gpu_site_slots = self.site_slots[roster.gpu_node]

    def spread(self, kind: str, values: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Columns (C, E) in the order of the roster as columns (C, S) in the order of the slots."""
        size = len(self._of[kind])
        if size == len(slots) and (slots[:-1] < slots[1:]).all():
            return values
        spread = np.full((len(values), size), np.nan)
        spread[:, slots] = values
        return spread


class Pen:
    """Writes fleets down, one tick after the other."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self._scribe = Scribe()
        self._workers: list[tuple[object, ...]] = []
        self._known: dict[str, tuple[str, str, str]] = {}
        self._sites_of: Roster | None = None
        self._worker_slots = self._worker_models = self._worker_sites = np.zeros(0, np.int64)
        self._ready = self._heard = np.zeros(0, bool)

    def write(self, fleet: Fleet) -> Tick:
        """The rows of this moment. What a node last said before it fell silent is in none of its frames, but in its moment."""
        slots = self.slots
        slots.follow(fleet.roster)
        self._scribe.look(fleet)
        moved = self._follow_workers(fleet)
        numbers = self._worker_numbers(fleet)  # (WORKER_NUMBERS, workers)
        answering = fleet.answering
        tables = {
            "gpu": slots.spread("gpu", _fresh(fleet.gpu_values, answering[fleet.roster.gpu_node]), slots.gpu_slots),
            "node": slots.spread("node", _fresh(_node_numbers(fleet), answering), slots.node_slots),
            "worker": slots.spread("worker", numbers, self._worker_slots),
            "fleet": _headline_table(fleet, slots),
            "model": self._model_table(fleet, numbers),
            "site": self._site_table(fleet, numbers),
        }
        frames = [
            (metric.name, data)
            for kind, table in tables.items()
            for metric, values in zip(METRICS_OF_KIND[kind], table, strict=True)
            if (data := pack(values, slots.scales[metric.name])) is not None
        ]
        headlines = np.append(tables["fleet"][:, 0], tables["model"][0]).astype("<f8").tobytes()
        keyframe, moment = self._scribe.write(fleet, headlines)
        return Tick(int(fleet.at), fleet.at, tuple(frames), slots.take_new(), keyframe, moment, headlines, moved)

    @property
    def has_written(self) -> bool:
        return self._scribe.has_written

    def tell_again(self) -> None:
        """The next tick goes into a file that knows nobody."""
        self.slots.tell_again()
        self._workers, self._known = [], {}

    def known_workers(self) -> tuple[tuple[str, str, str, str], ...]:
        """(name, model, node, chip) of the workers of the last moment."""
        return tuple((name, *about) for name, about in self._known.items())

    def _follow_workers(self, fleet: Fleet) -> tuple[tuple[str, str, str, str], ...]:
        """Learn where the workers and their models stand; returns those that are new or have moved. Cheap while they are the same."""
        slots, steady = self.slots, self._scribe.steady
        for model in fleet.roster.models:
            slots.place("model", model.name)
        if steady is self._workers and slots.roster is self._sites_of:
            return ()
        self._workers, self._sites_of = steady, slots.roster
        rows = fleet.roster.node_row
        self._worker_sites = np.append(slots.site_slots, -1)[np.array([rows.get(one[1], -1) for one in steady], np.int64)]
        model, state = STEADY.index("model"), STEADY.index("state")
        self._worker_slots = np.array([slots.place("worker", one[0]) for one in steady], np.int64)
        self._worker_models = np.array([slots.place("model", one[model]) if one[model] else -1 for one in steady], np.int64)
        self._ready = np.array([one[state] == "READY" for one in steady], bool)
        known = known_workers(steady, fleet.roster)
        moved = tuple((name, *about) for name, about in known.items() if self._known.get(name) != about)
        self._known = known
        return moved

    def _worker_numbers(self, fleet: Fleet) -> np.ndarray:
        rows = self._scribe.numbers
        numbers = np.array(rows, dtype=np.float64).reshape(len(rows), len(WORKER_NUMBERS)).T  # None becomes NaN
        self._heard = np.ones(len(rows), bool)
        if fleet.heard_workers is not fleet.workers:
            heard = set(map(id, fleet.heard_workers))
            self._heard = np.array([id(worker) in heard for worker in fleet.workers], bool)
        return _fresh(numbers, self._heard)

    def _model_table(self, fleet: Fleet, numbers: np.ndarray) -> np.ndarray:
        """(MODEL_NUMBERS, S)."""
        count, models = self.slots.count("model"), self._worker_models
        column = dict(zip(WORKER_NUMBERS, numbers, strict=True))
        sums = [_sum(models, column[name], count) for name in ("running", "tokens_per_s", "requests_per_s")]
        worst = [_highest(models, column[name], count) for name in ("ttft_p95_ms", "itl_p95_ms")]
        ready = _sum(models, np.where(self._heard, self._ready, np.nan), count)
        return np.stack([self._queues(fleet, count), *sums, *worst, ready])

    def _queues(self, fleet: Fleet, count: int) -> np.ndarray:
        queues = np.full(count, np.nan)
        for name in {model.name for model in fleet.roster.models} | fleet.heard_workers_of_model.keys() - {""}:
            if (queue := fleet.queue_of_model(name)) is not None:
                queues[self.slots.place("model", name)] = queue
        return queues

    def _site_table(self, fleet: Fleet, numbers: np.ndarray) -> np.ndarray:
        """(SITE_NUMBERS, S)."""
        slots, count = self.slots, self.slots.count("site")
        power_w, util_pct = fresh_gpus(fleet, "power_w"), fresh_gpus(fleet, "util_pct")
        known = _sum(slots.gpu_site_slots, np.where(np.isnan(util_pct), np.nan, 1.0), count)
        tokens = _sum(self._worker_sites, numbers[WORKER_NUMBERS.index("tokens_per_s")], count)
        return np.stack([_sum(slots.gpu_site_slots, power_w, count), _sum(slots.gpu_site_slots, util_pct, count) / known, tokens])


def _sum(places: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Sums of what is known by place, (count,); NaN where nothing is. A place of -1 is none."""
    known = ~np.isnan(values) & (places >= 0)
    sums = np.bincount(places[known], weights=values[known], minlength=count)
    return np.where(np.bincount(places[known], minlength=count) > 0, sums, np.nan)


def _highest(places: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    highest = np.full(count, np.nan)
    known = places >= 0
    np.fmax.at(highest, places[known], values[known])
    return highest


def _fresh(values: np.ndarray, answering: np.ndarray) -> np.ndarray:
    return values if answering.all() else np.where(answering, values, np.nan)


def _node_numbers(fleet: Fleet) -> np.ndarray:
    """(NODE_NUMBERS, N)."""
    return np.concatenate([fleet.node_values, fleet.age_s[None], fleet.clock_offset_s[None]])


def _headline_table(fleet: Fleet, slots: Slots) -> np.ndarray:
    """(HEADLINES, 1)."""
    slots.place("fleet", "")
    newest = fleet.trend[:, -1:]
    return newest if newest.shape[1] else np.full((len(fleet.trend), 1), np.nan)
