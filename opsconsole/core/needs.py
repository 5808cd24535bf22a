"""How many GPUs of which chip a demand needs, what of them is there, and what the rest would take: racks, megawatts and dollars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np

from opsconsole.core.capacity import Capacity
from opsconsole.core.energy import energy_now
from opsconsole.core.fleet import Fleet, Model
from opsconsole.core.launch import launch_step
from opsconsole.core.money import price_lists
from opsconsole.core.place import Place, place
from opsconsole.core.power import added_w, over_budget, pue_of, rises_w
from opsconsole.core.room import promised_by
from opsconsole.core.situation import FULL_SHARE
from opsconsole.core.steps import Step
from opsconsole.core.targets import named
from opsconsole.core.wording import number_text, power_text
from opsconsole.physics import CHIPS

DAY_S, H_PER_DAY = 86400.0, 24.0
GPUS_PER_NODE = 8
"""Of a chip that the fleet has no node of."""
NODES_PER_RACK = 4
"""Where no rack of the fleet tells."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one model needs for its demand. GPU counts are by chip."""

    model: str
    demand_tokens_per_s: float
    needed: Mapping[str, int]
    """All GPUs that serve it, those it holds and those it lacks."""
    launches: int
    """Workers that fit on free GPUs and would have to be launched."""
    short: Mapping[str, int]
    """GPUs that the fleet does not have, of the chip that is cheapest for it."""
    unmet_tokens_per_s: float
    """What stays unserved, when no chip is known that could serve it."""


@dataclass(frozen=True, slots=True)
class Needs:
    models: tuple[Need, ...]
    mw_needed: float | None
    """At the feed: GPUs that serve as they draw at work, their nodes' rest, times PUE. None: not known."""
    usd_per_day: float | None
    racks_short: int
    assumptions: tuple[str, ...]

    def total(self, what: str) -> dict[str, int]:
        """`needed` or `short` of all models together, by chip."""
        counts: Counter[str] = Counter()
        for need in self.models:
            counts.update(getattr(need, what))
        return {chip: count for chip, count in sorted(counts.items()) if count}


def needs(capacity: Capacity) -> Needs:
    """What each model needs so that its workers run no fuller than FULL_SHARE at what it is asked for, those that lack most first.

    First the workers that are ready (the fastest for their GPUs first), then free GPUs by placement, within power, then GPUs that would
    have to be had, of the chip that gives most tokens for a dollar (for a GPU, where a price lacks).
    """
    finder = _Finder(capacity)
    asked = {model.name: model.demand_tokens_per_s for model in capacity.models}
    missing = {model.name: (asked[model.name] or 0.0) / FULL_SHARE - (model.capacity_tokens_per_s or 0.0) for model in capacity.models}
    models = sorted(capacity.fleet.roster.models, key=lambda model: -missing[model.name])
    found = {model.name: finder.of(model, asked[model.name]) for model in models}
    told = tuple(found[model.name] for model in capacity.fleet.roster.models)
    mw, usd = finder.power_and_money(told)
    unknown = [name for name, tokens in asked.items() if tokens is None]
    if unknown:
        finder.assume(f"what {named(unknown)} is asked for is not known and counts as nothing")
    return Needs(told, mw, usd, finder.racks(told), (*capacity.assumptions, *finder.assumptions))


class _Finder:
    def __init__(self, capacity: Capacity) -> None:
        self.capacity, self.fleet, self.serving = capacity, capacity.fleet, capacity.serving
        self.prices, self.steps, self.assumptions = price_lists(capacity.fleet), [], {}
        self.energy = {**energy_now(capacity.fleet), **capacity.learned.energy}
        self.assume(f"workers are to be no fuller than {100 * FULL_SHARE:.0f} %")

    def assume(self, text: str) -> None:
        self.assumptions[text] = None

    def of(self, model: Model, demand: float | None) -> Need:
        left = (demand or 0.0) / FULL_SHARE
        needed: Counter[str] = Counter()
        left = self._from_ready(model, left, needed)
        launches, left = self._from_free(model, left, needed)
        short: dict[str, int] = {}
        if left > 1e-6:
            chip, each = self._best(model)
            if each:
                count = ceil(left / each - 1e-9) * model.gpus
                short, left = {chip: count}, 0.0
                needed[chip] += count
        return Need(model.name, demand or 0.0, dict(needed), launches, short, max(left, 0.0) * FULL_SHARE)

    def _from_ready(self, model: Model, left: float, needed: Counter[str]) -> float:
        rows, chips = self.fleet.roster.node_row, self.serving.chips
        ready = [worker for worker in self.fleet.heard_workers_of_model.get(model.name, ()) if worker.state == "READY"]
        given = [(self.serving.of_worker(worker), worker) for worker in ready]
        given.sort(key=lambda pair: -(pair[0].tokens_per_s / max(len(pair[1].gpus), 1) if pair[0] else 0.0))
        for served, worker in given:
            if left <= 1e-6:
                break
            if served is not None:
                needed[chips[rows[worker.node]]] += len(worker.gpus)
                left -= served.tokens_per_s
        return left

    def _from_free(self, model: Model, left: float, needed: Counter[str]) -> tuple[int, float]:
        """Launches what is lacking, a few at a time as their speed turns out, while power and GPUs allow."""
        rows, chips, launches = self.fleet.roster.node_row, self.serving.chips, 0
        best = self._best(model, only_here=True)[1]
        while left > 1e-6 and best:
            places = place(self.fleet, model, ceil(left / best - 1e-9), promised_by(self.fleet, self.steps))
            steps = self._fitting(model, places)
            for step in steps:
                served = self.serving.of(model, chips[rows[step.node]])
                if left <= 1e-6 or served is None or served.tokens_per_s <= 0:
                    return launches, left
                self.steps.append(step)
                needed[chips[rows[step.node]]] += model.gpus
                launches, left = launches + 1, left - served.tokens_per_s
            if not steps or len(steps) < len(places):
                break
        return launches, left

    def _fitting(self, model: Model, places: list[Place]) -> list[Step]:
        """The first of the places that keep their sites' power with what is meant to be launched already."""
        steps = [launch_step(model, f"{model.name}+{len(self.steps) + number}", where) for number, where in enumerate(places)]
        rises = rises_w(self.fleet)
        low, high = 0, len(steps)
        while low < high:
            middle = (low + high + 1) // 2
            if over_budget(self.fleet, added_w(self.fleet, [*self.steps, *steps[:middle]], rises)):
                high = middle - 1
            else:
                low = middle
        return steps[:low]

    def _best(self, model: Model, only_here: bool = False) -> tuple[str, float]:
        """(chip, tokens/s of one worker on it): of the chips that are known here, that which gives most for a dollar, or for a GPU."""
        here = {chip for chip in self.serving.chips if chip}
        served = {chip: one.tokens_per_s for chip in sorted(here) if (one := self.serving.of(model, chip)) and one.tokens_per_s > 0}
        if not served:
            return "", 0.0
        if only_here:
            return "", max(served.values())
        costs = {chip: min((prices[chip] for prices in self.prices.values() if chip in prices), default=None) for chip in served}
        if None in costs.values() or not all(costs.values()):
            chip = max(served, key=lambda chip: (served[chip], chip))
        else:
            chip = max(served, key=lambda chip: (served[chip] / costs[chip], chip))
        return chip, served[chip]

    def power_and_money(self, told: tuple[Need, ...]) -> tuple[float | None, float | None]:
        """(MW at the feed, $ a day) of all GPUs that are needed, each at the mean price and PUE of the sites that have its chip."""
        watts, usd = 0.0, 0.0
        for need in told:
            for chip, count in need.needed.items():
                each_w, each_usd = self._watts(need.model, chip), self._usd_per_h(chip)
                watts = None if watts is None or each_w is None else watts + count * each_w
                usd = None if usd is None or each_usd is None else usd + count * each_usd * H_PER_DAY
        return None if watts is None else watts / 1e6, usd

    def _sites(self, chip: str) -> list:
        names = {node.site for row, node in enumerate(self.fleet.roster.nodes) if self.serving.chips[row] == chip}
        return [site for site in self.fleet.roster.sites if site.name in names] or list(self.fleet.roster.sites)

    def _watts(self, model: str, chip: str) -> float | None:
        """W of one serving GPU at the feed, with its part of its node's rest."""
        sites, known = self._sites(chip), self.energy.get((model, chip))
        each_w = known.watts_per_gpu if known else CHIPS.get(chip, {}).get("rated_w")
        if each_w is None:
            self.assume(f"what a GPU of {chip} draws is not known")
            return None
        if known is None:
            self.assume(f"{model} on {chip} draws its rated {power_text(each_w)} a GPU (not measured)")
        pue = float(np.mean([pue_of(site) for site in sites])) if sites else 1.0
        gpus = max(_gpus_of_a_node(self.fleet, self.serving.chips, chip), 1)
        rest_w = float(np.mean([site.node_overhead_w or 0.0 for site in sites])) / gpus if sites else 0.0
        if any(site.node_overhead_w is None for site in sites):
            self.assume("what nodes draw beside their GPUs counts as nothing where a site has no node_overhead_w")
        return (each_w + rest_w) * pue

    def _usd_per_h(self, chip: str) -> float | None:
        known = [prices[chip] for prices in self.prices.values() if chip in prices]
        if not known:
            self.assume(f"no site has a price for {chip}")
            return None
        if len(set(known)) > 1:
            self.assume(f"a GPU of {chip} costs {number_text(float(np.mean(known)), 2)} $/h, the mean of its sites")
        return float(np.mean(known))

    def racks(self, told: tuple[Need, ...]) -> int:
        """Racks that GPUs which are not there would fill, of each chip apart."""
        counts: Counter[str] = Counter()
        for need in told:
            counts.update(need.short)
        total = 0
        for chip, count in counts.items():
            nodes = ceil(count / max(_gpus_of_a_node(self.fleet, self.serving.chips, chip), 1))
            total += ceil(nodes / self._nodes_of_a_rack(chip))
        return total

    def _nodes_of_a_rack(self, chip: str) -> int:
        racks = Counter((node.site, node.rack) for row, node in enumerate(self.fleet.roster.nodes)
                        if node.rack and self.serving.chips[row] == chip)
        if not racks:
            self.assume(f"a rack holds {NODES_PER_RACK} nodes of {chip} (the fleet file names no rack of them)")
        return max(racks.values(), default=NODES_PER_RACK)


def _gpus_of_a_node(fleet: Fleet, chips: tuple[str, ...], chip: str) -> int:
    """As most nodes of the chip have."""
    counts = [count for row, count in enumerate(np.diff(fleet.roster.gpu_start).tolist()) if chips[row] == chip and count]
    return int(np.median(counts)) if counts else GPUS_PER_NODE


def demand_for(capacity: Capacity, tokens_per_day: float, peak_over_mean: float | None) -> tuple[dict[str, float], list[str]]:
    """tokens/s at the day's peak that each model would be asked for, were so many asked for in a day, and what that assumes.

    Shares are those of the models' targets where all have one, else those of what is asked for now, else equal parts.
    """
    models = capacity.fleet.roster.models
    targets = {model.name: model.tokens_per_day for model in models if model.tokens_per_day}
    now = {model.name: model.demand_tokens_per_s or 0.0 for model in capacity.models}
    if targets and len(targets) == len(models):
        weights, how = targets, "as their tokens_per_day"
    elif sum(now.values()) > 0:
        weights, how = now, "as what each is asked for now"
    else:
        weights, how = dict.fromkeys(now, 1.0), "in equal parts, because nothing is asked for now"
    peak = peak_over_mean or 1.0
    assumed = [f"the target is spread over the models {how}",
               f"the day's peak is {peak:.2f} times its mean, as its forecast has it" if peak_over_mean else
               "every hour of the day is alike: no day of history tells its peak"]
    total = sum(weights.values())
    return {name: tokens_per_day * weight / total / DAY_S * peak for name, weight in weights.items()}, assumed
