"""How many workers of which model should start or leave where: the integer programme behind a rebalance.

GPUs, watts and minimums bind all models at once, and a GPU that one model gives up serves another only where both fit: comparing single
moves finds neither the fewest nor the best. Nodes of one site and chip are one class here, and those of a rack with a budget one of their
own, so 10,000 GPUs are a few dozen rows; which nodes and workers they are is settled after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from opsconsole.core.power import allowed_w, feed_name, feeds, pue_of, reckoned_w
from opsconsole.core.room import WHOLE, room_of_gpus
from opsconsole.core.situation import Class, Situation
from opsconsole.core.solver import Programme

START_SHARE = 0.1
"""A worker of which less than this would be needed is not started."""
LEAVE_SHARE = 0.25
"""Of that, what a worker that leaves for another must bring."""
MOVE_W = 50.0
"""A move must free so many W at a feed above its budget."""
PRICE_SHARE = 0.05
"""A move must save so much of what the dearest worker costs an hour."""
MOVES_LIMIT = 20
"""More moves are not one plan: what they would do is better seen from where these have led."""


@dataclass
class Counts:
    """How many workers of a model start or leave in a class of nodes."""

    starts: dict[tuple[str, Class], int] = field(default_factory=dict)
    leaves: dict[tuple[str, Class], int] = field(default_factory=dict)


def best_counts(situation: Situation) -> Counts:
    """The moves that help most by the situation's objective; none when none helps enough."""
    short, over = situation.short(), situation.over_w()
    useful = {"queue": bool(short), "power": bool(over), "cost": any(map(situation.price, situation.classes))}
    if not useful[situation.objective]:
        return Counts()
    programme = _Moves(situation, short, over)
    point = programme.programme.solve()
    if point is None:
        return Counts()
    return Counts(_taken(programme.starts, point), _taken(programme.leaves, point))


def _taken(columns: Mapping[tuple[str, Class], int], point: np.ndarray) -> dict[tuple[str, Class], int]:
    return {key: int(point[column]) for key, column in columns.items() if point[column] > 0.5}


class _Moves:
    """The programme's columns and rows."""

    def __init__(self, situation: Situation, short: dict[str, float], over: dict[str, float]) -> None:
        self.situation, self.short, self.over = situation, short, over
        self.programme = Programme()
        could = {worker.name for givers in situation.givers.values() for workers in givers.values() for worker in workers}
        self.room_if_all_left = room_of_gpus(situation.fleet, situation.promised, could)
        nodes = situation.fleet.roster.gpu_node
        rows_of = {cls: [row for row, own in enumerate(situation.class_of) if own == cls] for cls in situation.classes}
        self.gpus_of = {cls: np.flatnonzero(np.isin(nodes, rows)) for cls, rows in rows_of.items()}
        self.rise_w = {cls: self._rise_w(cls) for cls in situation.classes}
        self.could_leave = {cls: sum(len(worker.gpus) for givers in situation.givers.values() for worker in givers.get(cls, ()))
                            for cls in situation.classes}
        self.dearest = max((situation.price(cls) * len(worker.gpus) for givers in situation.givers.values()
                            for cls, workers in givers.items() for worker in workers), default=0.0) or 1.0
        longest = max((situation.loads[name].waiting or 0.0 for name in short), default=0.0) or 1.0
        self.gain = {name: (situation.loads[name].waiting or 0.0) / longest / lacking for name, lacking in short.items()}
        self.least = self._least()
        self.starts = {(model, cls): self.programme.column(self._start_cost(model, cls), self._fits(model, cls))
                       for model in self._may_start() for cls in situation.classes if self._fits(model, cls)}
        self.leaves = {(model, cls): self.programme.column(self._leave_cost(model, cls), float(len(workers)))
                       for model in self._may_leave() for cls, workers in situation.givers[model].items()}
        limit = self.programme.row(upper=MOVES_LIMIT)
        for column in (*self.starts.values(), *self.leaves.values()):
            self.programme.put(limit, column, 1.0)
        self._capacity_rows()
        self._room_rows()
        self._power_rows()

    def _may_start(self) -> list[str]:
        known = self.situation.models
        if self.situation.objective == "queue":
            return sorted(self.short)
        return sorted(name for name in known if self.situation.givers[name] and self.situation.only in ("", name)
                      and known[name].engine in self.situation.fleet.roster.engines)

    def _may_leave(self) -> list[str]:
        queue = self.situation.objective == "queue"
        may = [name for name in self.situation.models if self.situation.may_give(name) or (not queue and name in self._may_start())]
        return sorted(name for name in may if (name not in self.short if queue else self.situation.only in ("", name)))

    def _least(self) -> float:
        """What a move must bring at least, in the units of the objective: the longest queue, the W of the feed furthest above its budget,
        the hour of the dearest worker."""
        if self.situation.objective == "queue":
            chips = {cls.chip for cls in self.situation.classes}
            brought = [self.situation.speed(name, chip) * gain for name, gain in self.gain.items() for chip in chips]
            return START_SHARE * min(brought, default=1.0)
        return PRICE_SHARE / 2 if self.situation.objective == "cost" else MOVE_W / max(self.over.values())

    def _start_cost(self, model: str, cls: Class) -> float:
        price = self.situation.price(cls) * self.situation.models[model].gpus / self.dearest
        if self.situation.objective == "queue":
            return START_SHARE * self.situation.speed(model, cls.chip) * self.gain[model] * (1.0 + 0.01 * price)
        return self.least + price * (1.0 if self.situation.objective == "cost" else 0.01 * self.least)

    def _leave_cost(self, model: str, cls: Class) -> float:
        gpus = self.situation.models[model].gpus
        if self.situation.objective == "cost":
            return self.least - self.situation.price(cls) * gpus / self.dearest
        speed = self.situation.speed(model, cls.chip) / max(self.situation.has(model), 1.0)
        share = LEAVE_SHARE if self.situation.objective == "queue" else 1.0
        return self.least * share * (1.0 + 0.1 * speed)

    def _fits(self, model: str, cls: Class) -> float:
        """How many workers of a model the class could hold if all who may leave had left."""
        known = self.situation.models[model]
        return float((self._free(cls, 1) + self.could_leave[cls]) // (max(known.gpus, 1) * known.gpu_share))

    def _free(self, cls: Class, size: int, room: np.ndarray | None = None) -> float:
        """Free GPUs of a class in groups of `size` on one node. room: as it would be, as it is unless said."""
        gpus = self.gpus_of[cls]
        here = (self.situation.room if room is None else room)[gpus]
        if size == 1:
            return float(here.sum())
        whole = np.bincount(self.situation.fleet.roster.gpu_node[gpus], weights=here >= 1.0 - WHOLE)
        return float((whole // size * size).sum())

    def _most(self, cls: Class, size: int) -> float:
        """GPUs of a class in groups of `size` on one node when all who may leave have left."""
        return self._free(cls, size, self.room_if_all_left)

    def _capacity_rows(self) -> None:
        """What a model lacks after the moves costs by how long its queue is; what others need they keep."""
        for model in sorted({name for name, _ in (*self.starts, *self.leaves)}):
            has, need = self.situation.has(model), self.situation.needs[model]
            if self.situation.objective == "queue" and model in self.short:
                lacking = self.programme.column(self.gain[model], whole=False)
                row = self.programme.row(lower=need - has)
                self.programme.put(row, lacking, 1.0)
            else:
                row = self.programme.row(lower=min(need - has, 0.0))
            kept = self.programme.row(lower=-float(self.situation.may_give(model)))
            for (name, cls), column in self.starts.items():
                if name == model:
                    self.programme.put(row, column, self.situation.speed(model, cls.chip))
                    self.programme.put(kept, column, 1.0)
            for (name, cls), column in self.leaves.items():
                if name == model:
                    self.programme.put(row, column, -self.situation.speed(model, cls.chip))
                    self.programme.put(kept, column, -1.0)

    def _room_rows(self) -> None:
        """GPUs of each class, in groups as large as each size of worker needs: what is free and what leaves, and never more than there
        would be if all who may leave had left."""
        models = self.situation.models
        sizes = sorted({max(models[name].gpus, 1) for name, _ in self.starts} | {1})
        for cls in self.situation.classes:
            starts = [(name, column) for (name, own), column in self.starts.items() if own == cls]
            leaves = [(name, column) for (name, own), column in self.leaves.items() if own == cls]
            for size in sizes:
                row, most = self.programme.row(upper=self._free(cls, size)), self.programme.row(upper=self._most(cls, size))
                for name, column in starts:
                    if models[name].gpus >= size:
                        self.programme.put(row, column, models[name].gpus * models[name].gpu_share)
                        self.programme.put(most, column, models[name].gpus * models[name].gpu_share)
                for name, column in leaves:
                    self.programme.put(row, column, -float(models[name].gpus * models[name].gpu_share))

    def _power_rows(self) -> None:
        """Feeds keep their budgets; what one gives above its budget now costs until it is gone."""
        for feed in feeds(self.situation.fleet.roster):
            may_w, feeding = allowed_w(self.situation.fleet, feed), feed_name(feed)
            if may_w is None:
                continue
            row = self.programme.row(upper=may_w - reckoned_w(self.situation.fleet, feed))
            if feeding in self.over:
                cost = 1.0 / max(self.over.values()) if self.situation.objective == "power" else 0.0
                above = self.programme.column(cost, self.over[feeding], whole=False)
                self.programme.put(row, above, -1.0)
            for (name, cls), column in self.starts.items():
                if feeding in cls.feeds:
                    self.programme.put(row, column, self.rise_w[cls] * self.situation.models[name].gpus * pue_of(feed))
            if self.situation.objective == "power":
                for (name, cls), column in self.leaves.items():
                    if feeding in cls.feeds:
                        self.programme.put(row, column, -self._fall_w(name, cls) * pue_of(feed))

    def _rise_w(self, cls: Class) -> float:
        """W by which a GPU with room in a class may rise: the most of them; where there is none, of all."""
        here = self.gpus_of[cls]
        free = here[self.situation.room[here] > 0]
        rises = self.situation.rises[free if free.size else here]
        return float(rises.max()) if rises.size else 0.0

    def _fall_w(self, model: str, cls: Class) -> float:
        """W by which the draw falls when a worker of a model leaves: the mean."""
        rows = self.situation.fleet.roster.gpu_row
        workers = self.situation.givers[model][cls]
        fallen = [self.situation.falls[rows[worker.node, gpu]] for worker in workers for gpu in worker.gpus if (worker.node, gpu) in rows]
        return float(sum(fallen)) / len(workers) * self.situation.models[model].gpu_share
