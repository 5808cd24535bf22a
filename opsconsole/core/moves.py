"""How many workers of which model should start or leave where: the integer programme behind a rebalance.

GPUs, watts and minimums bind all models at once, and a GPU that one model gives up serves another only where both fit: comparing single
moves finds neither the fewest nor the best. Nodes of one site and chip are one class here, so 10,000 GPUs are a few dozen rows; which
nodes and workers they are is settled after.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import exp, log

import numpy as np

from opsconsole.core.fleet import LIVE, Fleet, Model, Worker
from opsconsole.core.guards import out_names
from opsconsole.core.load import load_of
from opsconsole.core.power import allowed_w, reckoned_w, falls_w, pue_of, rises_w
from opsconsole.core.room import WHOLE, Promised, room_of_gpus
from opsconsole.core.solver import Programme
from opsconsole.core.speeds import Speeds, bandwidth_gb_s
from opsconsole.core.steps import Step

FULL_SHARE = 0.85
"""A model is given so much more than it is asked for that it runs this full: queues grow without bound near 1."""
HELPS_S = 1.0
"""A queue that is served faster than this is none worth a move."""
MOVE_GAIN = 0.02
"""A move must take away so much of the longest queue, of the watts above the budgets, or of the price."""
MOVES_LIMIT = 20
"""More moves are not one plan: what they would do is better seen from where these have led."""
STEADY = 0.1
"""Figures that differ by less than this share are the same to a plan, so that it is still the same when it is confirmed."""

Class = tuple[str, str]
"""(site, chip)."""


@dataclass
class Counts:
    """How many workers of a model start or leave in a class of nodes."""

    starts: dict[tuple[str, Class], int] = field(default_factory=dict)
    leaves: dict[tuple[str, Class], int] = field(default_factory=dict)


def steady(value: float) -> float:
    """The value on a scale whose steps are STEADY apart."""
    return exp(round(log(value) / STEADY) * STEADY) if value > 0 else 0.0


class Situation:
    """What all models have, need and may give, and what each class of nodes has room for."""

    def __init__(self, fleet: Fleet, promised: Promised, under_way: Collection[Step], objective: str, only: str = "") -> None:
        self.fleet, self.objective, self.only = fleet, objective, only
        self.speeds, self.promised, self.under_way = Speeds(fleet), promised, under_way
        self.models = {model.name: model for model in fleet.roster.models}
        self.loads = {name: load_of(fleet, name, self.speeds) for name in self.models}
        self.room = room_of_gpus(fleet, promised)
        self.class_of = [(node.site, self.speeds.chips[row]) for row, node in enumerate(fleet.roster.nodes)]
        self.classes = sorted({self.class_of[row] for row in np.flatnonzero(fleet.reach == LIVE)})
        self.sites = {site.name: site for site in fleet.roster.sites}
        self.rises, self.falls = rises_w(fleet), falls_w(fleet)
        self.givers = {name: self._givers(model) for name, model in self.models.items()}
        self._has: dict[str, float] = {}
        self._speed: dict[tuple[str, str], float] = {}
        self.coming = {name: self._coming(name) for name in self.models}
        self.needs = {name: self._need(name) for name in self.models}

    def speed(self, model: str, chip: str) -> float:
        """Tokens a second; of a model that was never seen at work the chips' memory bandwidth stands for it."""
        if (model, chip) not in self._speed:
            self._speed[model, chip] = steady(self.speeds.of(model, chip) or bandwidth_gb_s(chip))
        return self._speed[model, chip]

    def _givers(self, model: Model) -> dict[Class, list[Worker]]:
        """Ready workers that may be drained, by class, those with least in flight first; {} where the model has too many out already."""
        if len(out_names(self.fleet, model.name)) >= self.fleet.roster.policy.max_unavailable:
            return {}
        busy = {step.worker for step in self.under_way}
        found: dict[Class, list[Worker]] = {}
        for worker in sorted(self.loads[model.name].ready, key=lambda worker: (worker.in_flight is None, worker.in_flight, worker.name)):
            row = self.fleet.roster.node_row.get(worker.node)
            if row is not None and self.fleet.reach[row] == LIVE and worker.name not in busy and worker.gpus:
                found.setdefault(self.class_of[row], []).append(worker)
        return found

    def _coming(self, model: str) -> float:
        """Tokens a second of workers that are starting already."""
        there = {worker.name for worker in self.fleet.workers_of_model.get(model, ())}
        nodes = [worker.node for worker in self.fleet.heard_workers_of_model.get(model, ()) if worker.state in ("PENDING", "STARTING")]
        nodes += [step.node for step in self.under_way
                  if step.order.get("op") == "launch" and step.order.get("model") == model and step.worker not in there]
        rows = [row for node in nodes if (row := self.fleet.roster.node_row.get(node)) is not None]
        return sum(self.speed(model, self.speeds.chips[row]) for row in rows)

    def has(self, model: str) -> float:
        """Tokens a second that a model's ready and starting workers give when full."""
        if model not in self._has:
            self._has[model] = self._added_up(model)
        return self._has[model]

    def _added_up(self, model: str) -> float:
        rows = [self.fleet.roster.node_row.get(worker.node) for worker in self.loads[model].ready]
        return sum(self.speed(model, self.speeds.chips[row]) for row in rows if row is not None) + self.coming[model]

    def wait_s(self, model: str) -> float:
        """How long what waits for a model takes to be served; inf when nobody serves it, 0 when nothing waits or that is not known."""
        load = self.loads[model]
        if not load.waiting:
            return 0.0
        if not load.ready:
            return float("inf")
        return load.waiting_tokens / load.capacity_tokens_per_s if load.waiting_tokens and load.capacity_tokens_per_s else 0.0

    def _need(self, model: str) -> float:
        """Tokens a second that a model should have. One that nobody serves though requests wait needs a worker at least; of one whose
        demand is not known all that it has is needed."""
        load = self.loads[model]
        if not load.ready and load.waiting:
            return min((self.speed(model, chip) for _, chip in self.classes), default=1.0)
        demand = load.demand_tokens_per_s
        idle = load.waiting in (0, None) and all(worker.in_flight == 0 for worker in load.ready)
        if demand is None:
            return 0.0 if idle and load.waiting == 0 else self.has(model)
        if load.capacity_tokens_per_s is None and not idle:
            return self.has(model)
        return steady(demand / FULL_SHARE)

    def short(self) -> dict[str, float]:
        """Tokens a second that models lack whose requests wait too long, by model."""
        lacking = {name: self.needs[name] - self.has(name) for name in self.models
                   if self.wait_s(name) >= HELPS_S and self.only in ("", name)
                   and self.models[name].engine in self.fleet.roster.engines}
        return {name: value for name, value in lacking.items() if value > 0}

    def may_give(self, model: str) -> int:
        """How many ready workers a model can lose and keep its minimum and one."""
        return max(len(self.loads[model].ready) - max(self.models[model].min_ready, 1), 0)

    def over_w(self) -> dict[str, float]:
        """W by which sites draw more than they may."""
        found = {}
        for site in self.sites.values():
            may_w = allowed_w(self.fleet, site)
            if may_w is not None and reckoned_w(self.fleet, site) > may_w:
                found[site.name] = reckoned_w(self.fleet, site) - may_w
        return found

    def price(self, cls: Class) -> float:
        """$/h of a GPU; 0 where it has no price."""
        site = self.sites.get(cls[0])
        return site.price_per_gpu_hour.get(cls[1], 0.0) if site else 0.0


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
        self.total_price = max(sum(situation.price(cls) * len(worker.gpus) for givers in situation.givers.values()
                                   for cls, workers in givers.items() for worker in workers), 1.0)
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
        return sorted(name for name in self.situation.models if self.situation.may_give(name) or (not queue and name in self._may_start())
                      if (name not in self.short if queue else self.situation.only in ("", name)))

    def _start_cost(self, model: str, cls: Class) -> float:
        price = self.situation.price(cls) * self.situation.models[model].gpus
        if self.situation.objective == "cost":
            return MOVE_GAIN / 2 + price / self.total_price
        return MOVE_GAIN + price * 1e-5

    def _leave_cost(self, model: str, cls: Class) -> float:
        gpus = self.situation.models[model].gpus
        if self.situation.objective == "cost":
            return MOVE_GAIN / 2 - self.situation.price(cls) * gpus / self.total_price
        speed = self.situation.speed(model, cls[1]) / max(self.situation.has(model), 1.0)
        return MOVE_GAIN * (1.0 + 0.1 * speed)

    def _fits(self, model: str, cls: Class) -> float:
        """How many workers of a model the class could hold if all who may leave had left."""
        known = self.situation.models[model]
        return float((self._free(cls, 1) + self.could_leave[cls]) // (max(known.gpus, 1) * known.gpu_share))

    def _free(self, cls: Class, size: int, room: np.ndarray | None = None) -> float:
        """Free GPUs of a class in groups of `size` on one node. room: as it would be, as it is unless said."""
        room, gpus = self.situation.room if room is None else room, self.gpus_of[cls]
        if size == 1:
            return float(room[gpus].sum())
        return float((np.bincount(self.situation.fleet.roster.gpu_node[gpus], weights=room[gpus] >= 1.0 - WHOLE) // size * size).sum())

    def _most(self, cls: Class, size: int) -> float:
        """GPUs of a class in groups of `size` on one node when all who may leave have left."""
        return self._free(cls, size, self.room_if_all_left)

    def _capacity_rows(self) -> None:
        """What a model lacks after the moves costs by how long its queue is; what others need they keep."""
        longest = max((self.situation.loads[name].waiting or 0.0 for name in self.short), default=0.0) or 1.0
        for model in sorted({name for name, _ in (*self.starts, *self.leaves)}):
            has, need = self.situation.has(model), self.situation.needs[model]
            if self.situation.objective == "queue" and model in self.short:
                cost = (self.situation.loads[model].waiting or 0.0) / longest / self.short[model]
                lacking = self.programme.column(cost, whole=False)
                row = self.programme.row(lower=need - has)
                self.programme.put(row, lacking, 1.0)
            else:
                row = self.programme.row(lower=min(need - has, 0.0))
            kept = self.programme.row(lower=-float(self.situation.may_give(model)))
            for (name, cls), column in self.starts.items():
                if name == model:
                    self.programme.put(row, column, self.situation.speed(model, cls[1]))
                    self.programme.put(kept, column, 1.0)
            for (name, cls), column in self.leaves.items():
                if name == model:
                    self.programme.put(row, column, -self.situation.speed(model, cls[1]))
                    self.programme.put(kept, column, -1.0)

    def _room_rows(self) -> None:
        """GPUs of each class, in groups as large as each size of worker needs: what is free and what leaves, and never more than there would
        be if all who may leave had left."""
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
        """Sites keep their budgets; what one draws above its budget now costs until it is gone."""
        for site in self.situation.sites.values():
            may_w = allowed_w(self.situation.fleet, site)
            if may_w is None:
                continue
            row = self.programme.row(upper=may_w - reckoned_w(self.situation.fleet, site))
            if site.name in self.over:
                cost = 1.0 / max(self.over.values()) if self.situation.objective == "power" else 0.0
                above = self.programme.column(cost, self.over[site.name], whole=False)
                self.programme.put(row, above, -1.0)
            for (name, cls), column in self.starts.items():
                if cls[0] == site.name:
                    self.programme.put(row, column, self.rise_w[cls] * self.situation.models[name].gpus * pue_of(site))
            if self.situation.objective == "power":
                for (name, cls), column in self.leaves.items():
                    if cls[0] == site.name:
                        self.programme.put(row, column, -self._fall_w(name, cls) * pue_of(site))

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
