"""What the fleet can serve, serves and has to spare, in tokens a second of each model at its objective, so that all chips add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from opsconsole.core.demand import Demand, demand_of
from opsconsole.core.energy import rows_of
from opsconsole.core.fleet import Fleet, Model, Site, Worker
from opsconsole.core.learned import NOTHING_LEARNED, Learned
from opsconsole.core.money import gpu_prices, held_usd_per_h, usd_per_million_tokens
from opsconsole.core.power import allowed_w, at_feed, feed_name, feeds, feeds_of_nodes, pue_of, reckoned_w, rises_w
from opsconsole.core.rates import Rate
from opsconsole.core.room import GONE, WHOLE, places_of_nodes, room_of_gpus
from opsconsole.core.serving import Kind, Serving
from opsconsole.core.stranded import Stranded, stranded

DEMAND_SWAY = 0.15
"""By so much what is asked for may move within the minutes that a change takes, seen from one second of it."""


LATELY_LIMIT_S = 150.0
"""What was learned longer ago says nothing of what is asked for now."""


@dataclass(frozen=True, slots=True)
class ModelCapacity:
    """One model. tokens/s throughout; None: not known."""

    name: str
    ready: int
    demand: Demand
    demand_tokens_per_s: float | None
    """What is asked for: as `demand` has it, or as a what-if assumes."""
    capacity_tokens_per_s: float | None
    """Of its ready workers, each with as many requests as keep the objective. None as soon as one cannot be told."""
    spread: float | None
    """Share by which that may be off: the readings' spread, weighted by what each worker gives."""
    limit: str
    """What limits most of it: slots, ITL or TTFT; "" when nothing is ready."""
    addable_workers: int
    """How many more would fit on free GPUs, were all of them for this model, within the power of their sites."""
    addable_tokens_per_s: float | None
    added_limit: str
    """What ends when they are all taken: GPUs or power."""
    kv_used_pct: float | None
    """Mean of its ready workers."""
    usd_per_h: float | None
    """Of the GPUs its workers hold; of one that several share its part."""
    usd_per_million_tokens: float | None
    samples: int
    """Readings behind the capacity, 0: it stands on one moment."""

    @property
    def load(self) -> float | None:
        """Demand over capacity: 1 is full. None unknown; inf when nothing is ready and something is asked for."""
        if self.demand_tokens_per_s is None or self.capacity_tokens_per_s is None:
            return None
        if not self.capacity_tokens_per_s:
            return float("inf") if self.demand_tokens_per_s > 0 else 0.0
        return self.demand_tokens_per_s / self.capacity_tokens_per_s

    @property
    def expected(self) -> tuple[float, float, float] | None:
        """tokens/s that will be served, and between which two: what is asked for as far as it can be served. The band is that of the
        capacity (twice its spread) and DEMAND_SWAY of what is asked for. None as load."""
        if self.demand_tokens_per_s is None or self.capacity_tokens_per_s is None:
            return None
        reach = 2.0 * (self.spread or 0.0)
        mean, low, high = (min(self.demand_tokens_per_s * (1 + sign * DEMAND_SWAY), self.capacity_tokens_per_s * (1 + sign * reach))
                           for sign in (0, -1, 1))
        return mean, low, high

    @property
    def free_tokens_per_s(self) -> float | None:
        """What its ready workers could serve beside; below 0: what they lack."""
        if self.demand_tokens_per_s is None or self.capacity_tokens_per_s is None:
            return None
        return self.capacity_tokens_per_s - self.demand_tokens_per_s


@dataclass(frozen=True, slots=True)
class GpuCounts:
    """GPUs of a site or of the fleet by what becomes of them; they add up to all."""

    total: int
    serving: int
    """Held by a worker on a node that answers."""
    free: int
    """Idle, and a worker may take them."""
    stranded: int
    """Idle, and none may."""
    unheard: int
    """On nodes that do not answer."""


class Capacity:
    """One look at a fleet. demand: tokens/s by model in place of what is seen; pace and now: as in Serving."""

    def __init__(self, fleet: Fleet, learned: Learned = NOTHING_LEARNED, demand: Mapping[str, float] | None = None,
                 pace: np.ndarray | None = None, now: Mapping[Kind, Rate] | None = None) -> None:
        self.fleet, self.learned, self._demand = fleet, learned, demand or {}
        self.serving = Serving(fleet, learned, pace, now)
        self._room = room_of_gpus(fleet, {})
        self._prices = gpu_prices(fleet)

    @cached_property
    def models(self) -> tuple[ModelCapacity, ...]:
        """Of each configured model, in the fleet file's order."""
        return tuple(self._model(model) for model in self.fleet.roster.models)

    @cached_property
    def stranded(self) -> tuple[Stranded, ...]:
        return stranded(self.fleet, self.learned)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the figures asked for so far rest on beside measurements."""
        return tuple(self.serving.assumptions)

    def gpus(self, site: Site | None = None) -> GpuCounts:
        """Of one site, or of the fleet."""
        fleet, held = self.fleet, self._held
        here = np.ones(len(self._prices), bool) if site is None else at_feed(fleet.roster, site)
        lost = sum(one.gpus for one in self.stranded if site is None or one.site == site.name)
        answering = fleet.answering[fleet.roster.gpu_node] if len(here) else here
        idle = int((here & ~held & answering).sum())
        return GpuCounts(int(here.sum()), int((here & held & answering).sum()), idle - lost, lost, int((here & ~answering).sum()))

    @cached_property
    def _held(self) -> np.ndarray:
        """Which GPUs a worker holds, (G,) bool."""
        held = np.zeros(len(self._prices), bool)
        held[[row for worker in self.fleet.workers if worker.state not in GONE for row in rows_of(self.fleet, worker)]] = True
        return held

    def usd_per_h(self, rows: np.ndarray) -> float | None:
        """What GPUs cost an hour, by their rows; None where one has no price."""
        return held_usd_per_h(self._prices, rows.tolist())

    @cached_property
    def idle_usd_per_h(self) -> float | None:
        """What all GPUs without a worker cost an hour; the stranded ones are among them."""
        return self.usd_per_h(np.flatnonzero(~self._held))

    @property
    def stranded_usd_per_h(self) -> float | None:
        costs = [one.usd_per_h for one in self.stranded]
        return None if None in costs else float(sum(costs))

    def _model(self, model: Model) -> ModelCapacity:
        ready = [worker for worker in self.fleet.heard_workers_of_model.get(model.name, ()) if worker.state == "READY"]
        demand = demand_of(self.fleet, model.name, self.serving.speeds)
        served = [self.serving.of_worker(worker) for worker in ready]
        known = [one for one in served if one is not None]
        total = None if len(known) < len(served) else float(sum(one.tokens_per_s for one in known))
        measured = [one for one in known if one.spread is not None and one.tokens_per_s > 0]
        weights = [one.tokens_per_s for one in measured]
        spread = float(np.average([one.spread for one in measured], weights=weights)) if measured else None
        limits = [one.limit for one in known]
        workers, tokens, added_limit = self.addable(model)
        kv = [worker.kv_used_pct for worker in ready if worker.kv_used_pct is not None]
        cost, asked = self._cost(model), self._demand.get(model.name, self._asked(model.name, demand))
        return ModelCapacity(
            model.name, len(ready), demand, asked, total, spread,
            max(sorted(set(limits)), key=limits.count, default=""), workers, tokens, added_limit, float(np.mean(kv)) if kv else None,
            cost, usd_per_million_tokens(cost, demand.served_tokens_per_s), min((one.samples for one in known), default=0),
        )

    def _asked(self, name: str, demand: Demand) -> float | None:
        """tokens/s: of a second alone where nothing else is known, or where more waits; else the mean of the last minute."""
        lately = self.learned.lately.get(name)
        if lately is None or not 0 <= self.fleet.at - self.learned.until <= LATELY_LIMIT_S:
            return demand.tokens_per_s
        waits = bool(demand.waiting) or demand.growth_per_s > 0
        return max(lately, demand.tokens_per_s or 0.0) if waits else lately

    def _cost(self, model: Model) -> float | None:
        held = [row for worker in self.fleet.workers_of_model.get(model.name, ()) if worker.state not in GONE
                for row in rows_of(self.fleet, worker)]
        cost = float(self._prices[held].sum()) * model.gpu_share if held else 0.0
        return None if cost != cost else cost

    def addable(self, model: Model) -> tuple[int, float | None, str]:
        """(workers, their tokens/s, what ends with them: GPUs or power) that free GPUs could still take, were all of them for this model.

        The places that give most tokens for a watt first, each GPU reckoned at its limit, as far as the feeds of site and rack allow.
        """
        places, roster = places_of_nodes(self.fleet, model, self._room), self.fleet.roster
        # the mean rise of a node's GPUs with room stands for each of them
        fitting_gpus = np.floor(self._room / model.gpu_share + WHOLE)
        rise, count = (np.bincount(roster.gpu_node, weights=weights, minlength=len(roster.nodes))
                       for weights in (fitting_gpus * rises_w(self.fleet), fitting_gpus))
        rise_of_worker_w = (model.gpus * rise / np.maximum(count, 1.0)).tolist()
        hang, left_w = feeds_of_nodes(roster), self._left_w()
        spots = [(rise_of_worker_w[row], self.serving.of(model, self.serving.chips[row]), row) for row in np.flatnonzero(places).tolist()]
        workers, tokens, limit = 0, 0.0, "GPUs"
        for rise_w, one, row in sorted(spots, key=lambda spot: spot[0] / max(spot[1].tokens_per_s if spot[1] else 0.0, 1e-9)):
            here = [(name, rise_w * pue_of(feed)) for feed in hang[row] if (name := feed_name(feed)) in left_w]
            fitting = min([int(places[row]), *(int(left_w[name] // watts) for name, watts in here if watts > 0)])
            limit = "power" if fitting < places[row] else limit
            for name, watts in here:
                left_w[name] -= fitting * watts
            workers, tokens = workers + fitting, tokens + fitting * (one.tokens_per_s if one else 0.0)
        return workers, tokens if all(one is not None for _, one, _ in spots) else None, limit

    def _left_w(self) -> dict[str, float]:
        """W that each feed with a budget may still give, by its name."""
        may_w = {feed_name(feed): (feed, allowed_w(self.fleet, feed)) for feed in feeds(self.fleet.roster)}
        return {name: max(most_w - reckoned_w(self.fleet, feed), 0.0) for name, (feed, most_w) in may_w.items() if most_w is not None}

    def load_of_worker(self, worker: Worker) -> float:
        """tokens/s over what it could serve within its objective, 0..1; its running over its slots when that is not known."""
        served = self.serving.of_worker(worker)
        if served is not None and served.tokens_per_s > 0 and worker.tokens_per_s is not None:
            return min(worker.tokens_per_s / served.tokens_per_s, 1.0)
        return min((worker.running or 0.0) / worker.slots, 1.0) if worker.slots else 0.0
