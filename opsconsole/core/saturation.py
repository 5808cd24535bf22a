"""When models and sites run out, and of what: the demand's forecast held against what is there and what is still free."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, inf, isfinite

import numpy as np

from opsconsole.core.capacity import Capacity, ModelCapacity
from opsconsole.core.energy import rows_of
from opsconsole.core.fleet import Fleet, Site
from opsconsole.core.learned import NOTHING_LEARNED, Learned
from opsconsole.core.money import budget_ends_at
from opsconsole.core.power import allowed_w, at_feed, draws_w, falls_w, overhead_w, pue_of
from opsconsole.core.situation import FULL_SHARE
from opsconsole.core.speeds import chips_of
from opsconsole.core.wording import age_text, count_text, number_text

KV_FULL_PCT = 95.0
"""From here on engines evict caches of running requests, so more of them make nothing faster."""


@dataclass(frozen=True, slots=True)
class Saturation:
    """One model or site. Times are seconds from the fleet's moment; None: not within the forecast, or there is none."""

    kind: str
    """model or site."""
    subject: str
    load: float | None
    """What is asked for over what is there: of a model its ready workers, of a site its GPUs, memory or power. 1 is full."""
    full_in_s: float | None
    """Of a model: until its ready workers are full; 0 when they are. Of a site as in_s."""
    ends: str
    """What ends first when all that is free has been taken: GPUs, memory, power or budget; "" when nothing was seen to end."""
    in_s: float | None
    """Until that ends, as the forecast's mean has it."""
    earliest_s: float | None
    """As in_s, at the upper edge of the forecast's band."""
    horizon_s: float
    """How far the forecast sees; 0: there is none, so only what is full now is told."""
    text: str
    mend: str
    """A command that plans what helps; "" when nothing needs to be done."""
    limit: str = ""
    """What limits the ready workers of a model: slots, ITL, TTFT or KV cache; "" for a site, or when nothing is ready."""


def saturation(fleet: Fleet, learned: Learned = NOTHING_LEARNED, capacity: Capacity | None = None) -> tuple[Saturation, ...]:
    """Every configured model and site, those that end first before the others."""
    capacity = capacity or Capacity(fleet, learned)
    found = [*(_of_model(capacity, model) for model in capacity.models), *_of_sites(capacity)]
    return tuple(sorted(found, key=lambda one: (_soonest(one), -(one.load or 0.0), one.kind, one.subject)))


def _soonest(one: Saturation) -> float:
    return min(inf if one.full_in_s is None else one.full_in_s, inf if one.in_s is None else one.in_s)


class _Growth:
    """How demand grows against now: (H,) factors from the forecasts of some models. weights: tokens/s of each that are meant here; a
    model without a forecast, or that is asked for nothing now, tells nothing."""

    def __init__(self, capacity: Capacity, weights: Mapping[str, float]) -> None:
        now = {model.name: model.demand_tokens_per_s for model in capacity.models}
        ahead = capacity.learned.demand
        known = {name: weight / now[name] for name, weight in weights.items() if name in ahead and weight > 0 and now.get(name)}
        total = sum(weights[name] for name in known)
        self.at = capacity.fleet.at
        self.times = max((ahead[name].times for name in known), key=len, default=np.zeros(0))
        self.mean, self.high = (
            sum(share * np.interp(self.times, ahead[name].times, getattr(ahead[name], edge)) for name, share in known.items()) / total
            if known else np.zeros(0) for edge in ("mean", "high")
        )

    @property
    def horizon_s(self) -> float:
        return max(float(self.times[-1]) - self.at, 0.0) if len(self.times) else 0.0

    @property
    def most(self) -> float:
        """The highest of the mean within the horizon, now at least."""
        return max(float(self.mean.max()) if len(self.mean) else 1.0, 1.0)

    def when(self, factor: float) -> tuple[float | None, float | None]:
        """Seconds until demand has grown to so many times what it is now: as the mean and as the upper edge have it."""
        if not isfinite(factor):
            return None, None
        if factor <= 1.0:
            return 0.0, 0.0
        found = []
        for line in (self.mean, self.high):
            reached = np.flatnonzero(line >= factor)
            found.append(max(float(self.times[reached[0]]) - self.at, 0.0) if len(reached) else None)
        return found[0], found[1]


def _of_model(capacity: Capacity, model: ModelCapacity) -> Saturation:
    asked, has = model.demand_tokens_per_s, model.capacity_tokens_per_s
    growth = _Growth(capacity, {model.name: asked or 0.0})
    if asked is None or has is None:
        return Saturation("model", model.name, None, None, "", None, None, growth.horizon_s,
                          f"{model.name}: what it is asked for or can serve is not known", "")
    by_slots = has / asked if asked else inf
    by_memory = KV_FULL_PCT / model.kv_used_pct if model.kv_used_pct else inf
    ready = min(by_slots, by_memory)
    addable = model.addable_tokens_per_s or 0.0
    every = ready * (has + addable) / has if has else addable / asked if asked else inf
    ends = "power" if model.added_limit == "power" else "memory" if by_memory < by_slots else "GPUs"
    full_s, _ = growth.when(ready)
    in_s, earliest_s = growth.when(every)
    ends = ends if earliest_s is not None or in_s is not None else ""
    load = 1.0 / ready if ready > 0 else inf
    what = "KV cache" if by_memory < by_slots else model.limit
    mend = _launch(capacity, model, asked * growth.most) if load > FULL_SHARE or full_s is not None else ""
    last = f"; with all that is free taken, {ends} {_ends_text(ends, in_s, earliest_s)}" if ends else ""
    text = _model_text(model, load, what, full_s, growth.horizon_s) + last
    return Saturation("model", model.name, load, full_s, ends, in_s, earliest_s, growth.horizon_s, text, mend, what)


def _model_text(model: ModelCapacity, load: float, what: str, full_s: float | None, horizon_s: float) -> str:
    asked = f"asked for {count_text(model.demand_tokens_per_s)} of {count_text(model.capacity_tokens_per_s)} tokens/s"
    full = f"{number_text(100 * load)} % full"
    if not model.ready:
        return f"{model.name}: no worker is ready, {asked}" if model.demand_tokens_per_s else f"{model.name}: no worker, and not asked for"
    if full_s is not None:
        when = "now" if full_s == 0 else f"in {age_text(full_s)}"
        first = f"its {model.ready} ready workers are full {when} ({what}); {asked}"
    elif horizon_s:
        first = f"{full}, {'not more than that for' if load > 1 else 'not full within'} {age_text(horizon_s)}; {asked}"
    else:
        first = f"{full}; {asked}; no history yet to tell when it is full"
    return f"{model.name}: {first}"


def _ends_text(what: str, in_s: float | None, earliest_s: float | None) -> str:
    end = "end" if what == "GPUs" else "ends"
    if in_s is None:
        return f"{end} in {age_text(earliest_s)} at the earliest"
    return f"{end} now" if in_s == 0 else f"{end} in {age_text(in_s)}"


def _launch(capacity: Capacity, model: ModelCapacity, most_tokens_per_s: float) -> str:
    """The command that launches what is lacking at the highest that is foreseen, as far as it fits; else the one that looks for room."""
    lacking = most_tokens_per_s / FULL_SHARE - (model.capacity_tokens_per_s or 0.0)
    if lacking <= 0:
        return ""
    if not model.addable_workers or not model.addable_tokens_per_s:
        return f"opsconsole rebalance --model {model.name} --plan"
    count = min(ceil(lacking / (model.addable_tokens_per_s / model.addable_workers)), model.addable_workers)
    return f"opsconsole launch {model.name} --count {count} --plan"


def _of_sites(capacity: Capacity) -> Iterator[Saturation]:
    for site in capacity.fleet.roster.sites:
        yield _of_site(capacity, site)


def _of_site(capacity: Capacity, site: Site) -> Saturation:
    fleet, at = capacity.fleet, capacity.fleet.at
    workers = [worker for worker in fleet.heard_workers if worker.state == "READY"
               and (row := fleet.roster.node_row.get(worker.node)) is not None and fleet.roster.nodes[row].site == site.name]
    given = {name: sum(worker.tokens_per_s or 0.0 for worker in workers if worker.model == name) for name in {w.model for w in workers}}
    growth = _Growth(capacity, given)
    busy = sum(capacity.load_of_worker(worker) * len(rows_of(fleet, worker)) for worker in workers)
    held, free = sum(len(rows_of(fleet, worker)) for worker in workers), capacity.gpus(site).free
    kv = [worker.kv_used_pct for worker in workers if worker.kv_used_pct]
    factors = {"GPUs": (held + free) / busy if busy else inf,
               "memory": KV_FULL_PCT / float(np.mean(kv)) * (held + free) / held if kv else inf,
               "power": _power_factor(fleet, site)}
    times = {what: growth.when(factor) for what, factor in factors.items()}
    times["power"] = _power_times(capacity, site, times["power"])
    ends_at = budget_ends_at(fleet, site, at)
    times["budget"] = (None, None) if ends_at is None else (max(ends_at - at, 0.0),) * 2
    what = min(times, key=lambda what: tuple(inf if seconds is None else seconds for seconds in times[what]))
    in_s, earliest_s = times[what]
    load = max((1.0 / factor for factor in factors.values() if factor > 0), default=None)
    what = what if earliest_s is not None else ""
    return Saturation("site", site.name, load, in_s, what, in_s, earliest_s, growth.horizon_s,
                      _site_text(site, what, in_s, earliest_s, load, growth.horizon_s), _site_mend(fleet, site, what, in_s))


def _power_factor(fleet: Fleet, site: Site) -> float:
    """How many times the present demand the site's power bears: what GPUs draw above idle grows with demand, the rest stays."""
    may_w = allowed_w(fleet, site)
    here = at_feed(fleet.roster, site)
    if may_w is None or not here.any():
        return inf
    dynamic_w = float(falls_w(fleet)[here].sum())
    rest_w = float(draws_w(fleet)[here].sum()) - dynamic_w + overhead_w(fleet, site)
    return max((may_w / pue_of(site) - rest_w) / dynamic_w, 0.0) if dynamic_w > 0 else inf


def _power_times(capacity: Capacity, site: Site, by_demand: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    """By the site's own draw where its history tells it, else by what demand makes of it."""
    ahead, may_w = capacity.learned.power.get(site.name), allowed_w(capacity.fleet, site)
    if ahead is None or may_w is None or by_demand == (0.0, 0.0):
        return by_demand
    limit_w = may_w / pue_of(site) - overhead_w(capacity.fleet, site)
    found = [ahead.first_above(limit_w, edge) for edge in ("mean", "high")]
    mean_s, high_s = (None if moment is None else max(moment - capacity.fleet.at, 0.0) for moment in found)
    return mean_s, high_s


def _site_text(
    site: Site, what: str, in_s: float | None, earliest_s: float | None, load: float | None, horizon_s: float,
) -> str:
    full = f"{number_text(100 * load)} % full" if load is not None else "how full it is, is not known"
    if what:
        of = {"power": f" ({number_text(site.power_budget_kw, 1)} kW)", "budget": f" ({number_text(site.budget_usd_per_month)} $ a month)"}
        return f"{site.name}: {what}{of.get(what, '')} {_ends_text(what, in_s, earliest_s)}; {full}"
    seen = f"nothing ends within {age_text(horizon_s)}" if horizon_s else "no history yet to tell when something ends"
    return f"{site.name}: {full}; {seen}"


def _site_mend(fleet: Fleet, site: Site, what: str, in_s: float | None) -> str:
    if what == "power" and in_s != 0:
        may_w = (allowed_w(fleet, site) or 0.0) / pue_of(site) - overhead_w(fleet, site)
        return f"opsconsole cap {site.name} --watts {max(may_w, 0.0):.0f} --plan"
    if what == "power":
        return "opsconsole rebalance --objective power --plan"
    if what in ("GPUs", "memory"):
        chips = [chip for node, chip in zip(fleet.roster.nodes, chips_of(fleet.roster), strict=True) if node.site == site.name and chip]
        return f"opsconsole capacity --what-if 'add 1 node {max(sorted(set(chips)), key=chips.count)} at {site.name}'" if chips else ""
    return "opsconsole rebalance --objective cost --plan" if what == "budget" else ""
