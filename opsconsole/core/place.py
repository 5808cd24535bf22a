"""Where new workers of a model fit best: chip speed for that model, price, and a spread over sites, racks and nodes, within the power.

What one more worker at a place is worth is its speed less its price, less a penalty that grows with each worker of the model already on
that node, in that rack and at that site. Nodes nest in racks and racks in sites, so this is a laminar concave function, for which taking
the best place again and again is the optimum (Murota, Discrete Convex Analysis, 2003, 6.3). Only a power budget that binds spoils that,
because a slower chip draws less: then an integer programme says how many workers each site, chip and rack with a budget get, and the
same choice is made within those numbers.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from opsconsole.core.fleet import Fleet, Model
from opsconsole.core.money import price_lists
from opsconsole.core.power import added_w, allowed_w, at_feeds_w, feed_name, feeds, feeds_of_nodes, over_budget, pue_of, reckoned_w, rises_w
from opsconsole.core.room import GONE, Promised, free_gpus, places_of_nodes, room_of_gpus
from opsconsole.core.solver import Programme
from opsconsole.core.speeds import Speeds, bandwidth_gb_s
from opsconsole.core.steps import Step

RESUMING_ENGINE = "jax"
"""Workers of this engine can go on with an answer that another of them began."""

PRICE_WEIGHT = 0.2
"""The dearest chip of the fleet is worth so much less than a free one, where the fastest chip is worth 1."""
NODE_WEIGHT, RACK_WEIGHT, SITE_WEIGHT = 0.4, 0.3, 0.3
"""What a place loses when all workers of the model are on the same node, in the same rack, at the same site."""
RISE_STEP_W = 10.0
"""Places whose workers may rise by as many W, rounded up to this, are alike to the power budget."""

STEADY = 0.05
"""Speeds that differ by less than this share of the fastest are alike, so that a plan is still the same when it is confirmed."""


class Place(NamedTuple):
    node: str
    gpus: tuple[int, ...]
    """Indexes on the node."""


def place(
    fleet: Fleet, model: Model, count: int, promised: Promised, leaving: Collection[str] = (), speeds: Speeds | None = None,
    meant: Collection[Step] = (), only: Collection[int] | None = None,
) -> list[Place]:
    """Up to `count` places for workers of a model, the best first; shorter when there is no more room.

    promised: shares of GPUs meant for others; leaving: workers that will be gone; meant: steps whose launches take power too;
    only: rows of the nodes to choose from.
    A power budget that no choice keeps does not shorten it: the guard says that with its numbers.
    """
    choice = _Choice(fleet, model, count, room_of_gpus(fleet, promised, leaving), speeds or Speeds(fleet), frozenset(leaving), only)
    places = choice.best()
    extra_w = added_w(fleet, meant, choice.rises)
    if not places or not over_budget(fleet, choice.rise_w(places, extra_w)):
        return places
    quotas = choice.quotas(extra_w)
    return choice.best(quotas) if quotas else places


class _Choice:
    """One question: what each node has and is worth for the model."""

    def __init__(self, fleet: Fleet, model: Model, count: int, room: np.ndarray, speeds: Speeds, leaving: frozenset[str],
                 only: Collection[int] | None) -> None:
        self.fleet, self.model, self.count, self.room, self.speeds = fleet, model, count, room, speeds
        self.places = places_of_nodes(fleet, model, room)
        self.candidates = [row for row in np.flatnonzero(self.places).tolist() if only is None or row in only]
        self.worth = self._worths()
        self.rises = rises_w(fleet)
        present = [worker for worker in fleet.workers_of_model.get(model.name, ())
                   if worker.state not in GONE and worker.name not in leaving and worker.node in fleet.roster.node_row]
        self.present = [fleet.roster.node_row[worker.node] for worker in present]

    def _worths(self) -> dict[int, float]:
        """Speed less price of one worker on each candidate node, both as shares of the highest among them."""
        nodes, chips = self.fleet.roster.nodes, self.speeds.chips
        prices_of = price_lists(self.fleet)
        speed = {row: self.speeds.of(self.model.name, chips[row]) or bandwidth_gb_s(chips[row]) for row in self.candidates}
        price = {row: prices_of.get(nodes[row].site, {}).get(chips[row]) for row in self.candidates}
        known = [value for value in price.values() if value is not None]
        fastest, dearest = max(speed.values(), default=1.0), max(known, default=0.0) or 1.0
        unknown = dearest if known else 0.0
        asked = {row: unknown if price[row] is None else price[row] for row in self.candidates}
        return {row: round(speed[row] / fastest / STEADY) * STEADY - PRICE_WEIGHT * asked[row] / dearest for row in self.candidates}

    def best(self, quotas: dict[tuple, int] | None = None) -> list[Place]:
        """The best places one after another; quotas: how many each group of like nodes may get, all when there are none."""
        left = {row: int(self.places[row]) for row in self.candidates}
        free = {row: free_gpus(self.fleet, row, self.room, self.model.gpu_share) for row in self.candidates}
        counts: Counter[tuple] = Counter(key for row in self.present for key in self._domains(row))
        total = max(len(self.present) + self.count, 1)
        heap = [(*self._key(row, counts, total, free), row) for row in self.candidates]
        heapq.heapify(heap)
        found: list[Place] = []
        while heap and len(found) < self.count:
            *told, row = heapq.heappop(heap)
            now = self._key(row, counts, total, free)
            if tuple(told) != now:  # a neighbour was taken since: it is worth less now, never more
                heapq.heappush(heap, (*now, row))
                continue
            if quotas is not None and not quotas.get(self._group(row)):
                continue
            if quotas is not None:
                quotas[self._group(row)] -= 1
            found.append(Place(self.fleet.roster.nodes[row].name, tuple(free[row][: self.model.gpus])))
            free[row], left[row] = free[row][self.model.gpus:], left[row] - 1
            counts.update(self._domains(row))
            if left[row]:
                heapq.heappush(heap, (*self._key(row, counts, total, free), row))
        return found

    def _key(self, row: int, counts: Counter, total: int, free: dict[int, list[int]]) -> tuple[float, int]:
        node, rack, site = self._domains(row)
        spread = NODE_WEIGHT * counts[node] + RACK_WEIGHT * counts[rack] + SITE_WEIGHT * counts[site]
        return round(spread / total - self.worth[row], 9), -len(free[row])

    def _domains(self, row: int) -> tuple[tuple, tuple, tuple]:
        node = self.fleet.roster.nodes[row]
        return ("node", row), ("rack", node.site, node.rack), ("site", node.site)

    def _rise_of(self, row: int) -> float:
        """W that one worker on the node may add: of its GPUs with room that rise most."""
        gpus = self.fleet.roster.gpus_of(row)
        rising = np.sort(self.rises[gpus][self.room[gpus] >= self.model.gpu_share - 1e-6])[::-1]
        return float(rising[: self.model.gpus].sum())

    def _group(self, row: int) -> tuple[str, tuple[str, ...], str, int]:
        site, hang = self.fleet.roster.nodes[row].site, feeds_of_nodes(self.fleet.roster)[row]
        return site, tuple(map(feed_name, hang)), self.speeds.chips[row], int(np.ceil(self._rise_of(row) / RISE_STEP_W))

    def rise_w(self, places: list[Place], extra_w: dict[str, float]) -> dict[str, float]:
        """W by which each feed may rise with these places taken."""
        rows = sorted({self.fleet.roster.gpu_row[place.node, gpu] for place in places for gpu in place.gpus})
        added = at_feeds_w(self.fleet, ((row, float(self.rises[row])) for row in rows))
        return {name: added.get(name, 0.0) + extra_w.get(name, 0.0) for name in added | extra_w}

    def quotas(self, extra_w: dict[str, float]) -> dict[tuple, int]:
        """How many workers each group of nodes gets so that all feeds keep their budgets; {} when they cannot all be placed."""
        groups: dict[tuple, list[int]] = {}
        for row in self.candidates:
            groups.setdefault(self._group(row), []).append(row)
        programme = Programme()
        every = programme.row(self.count, self.count)
        columns = {}
        for group, rows in groups.items():
            columns[group] = programme.column(-self.worth[rows[0]], float(self.places[rows].sum()))
            programme.put(every, columns[group], 1.0)
        for feed in feeds(self.fleet.roster):
            name, may_w = feed_name(feed), allowed_w(self.fleet, feed)
            if may_w is not None:
                row = programme.row(upper=max(may_w - reckoned_w(self.fleet, feed) - extra_w.get(name, 0.0), 0.0))
                for (_, hang, _, tens), column in columns.items():
                    programme.put(row, column, tens * RISE_STEP_W * pue_of(feed) if name in hang else 0.0)
        point = programme.solve()
        return {} if point is None else {group: int(point[column]) for group, column in columns.items()}
