"""What a rebalance looks at: what every model has, is asked for and may give, and what each class of nodes has room for."""

from __future__ import annotations

from collections.abc import Collection
from math import exp, log
from typing import NamedTuple

import numpy as np

from opsconsole.core.fleet import LIVE, Fleet, Model, Worker
from opsconsole.core.guards import out_names
from opsconsole.core.load import load_of
from opsconsole.core.money import price_lists
from opsconsole.core.power import allowed_w, binding_feeds, falls_w, feed_name, feeds, feeds_of_nodes, reckoned_w, rises_w
from opsconsole.core.room import Promised, room_of_gpus
from opsconsole.core.speeds import Speeds, bandwidth_gb_s
from opsconsole.core.steps import Step

FULL_SHARE = 0.85
"""A model is given so much more than it is asked for that it runs this full: queues grow without bound near 1."""
HELPS_S = 1.0
"""A queue that is served faster than this is none worth a move."""
STEADY = 0.1
"""Figures that differ by less than this share are the same to a plan, so that it is still the same when it is confirmed."""



class Class(NamedTuple):
    """Nodes that are alike to a rebalance."""

    site: str
    chip: str
    feeds: tuple[str, ...]
    """Those of their feeds that may bind, by name."""


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
        binding = binding_feeds(fleet)
        hang = [tuple(name for name in map(feed_name, here) if name in binding) for here in feeds_of_nodes(fleet.roster)]
        self.class_of = [Class(node.site, self.speeds.chips[row], hang[row]) for row, node in enumerate(fleet.roster.nodes)]
        self.classes = sorted({self.class_of[row] for row in np.flatnonzero(fleet.reach == LIVE)})
        self.sites = {site.name: site for site in fleet.roster.sites}
        self._prices = price_lists(fleet)
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
            return min((self.speed(model, chip) for chip in {cls.chip for cls in self.classes}), default=1.0)
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
        """W by which feeds give more than they may, by name."""
        found = {}
        for feed in feeds(self.fleet.roster):
            may_w = allowed_w(self.fleet, feed)
            if may_w is not None and reckoned_w(self.fleet, feed) > may_w:
                found[feed_name(feed)] = reckoned_w(self.fleet, feed) - may_w
        return found

    def price(self, cls: Class) -> float:
        """$/h of a GPU; 0 where it has no price."""
        return self._prices.get(cls.site, {}).get(cls.chip, 0.0)
