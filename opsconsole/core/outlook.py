"""The answer to "how much is left, when does it end, what if": one value for every front, now or before and after a change."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

from opsconsole.core.as_json import at_text
from opsconsole.core.burn import budget_left, empty_in_s
from opsconsole.core.cap_offers import cap_offers, throttled
from opsconsole.core.capacity import Capacity, ModelCapacity
from opsconsole.core.energy import energy_now
from opsconsole.core.fleet import Fleet, Model, Site
from opsconsole.core.forecast import DAY_S
from opsconsole.core.learned import NOTHING_LEARNED, Learned
from opsconsole.core.money import bill_usd, fleet_usd_per_h, midnight, site_usd_per_h
from opsconsole.core.needs import Needs, demand_for, needs
from opsconsole.core.power import at_feed, drawn_w, limits_w, overhead_w, pue_of
from opsconsole.core.saturation import Saturation, saturation
from opsconsole.core.totals import worker_total, worker_worst
from opsconsole.core.whatif import imagine

Row = dict[str, Any]
_EXPECTED = ("expected_tokens_per_s", "expected_tokens_per_s_low", "expected_tokens_per_s_high")
"""What will be served, and the band that this is said with."""


@dataclass(frozen=True, eq=False)
class Outlook:
    """One look: what is there, what it needs, when it ends."""

    capacity: Capacity
    more_assumptions: tuple[str, ...] = ()

    @cached_property
    def needs(self) -> Needs:
        return needs(self.capacity)

    @cached_property
    def saturation(self) -> tuple[Saturation, ...]:
        return saturation(self.capacity.fleet, self.capacity.learned, self.capacity)

    def complete(self) -> None:
        """Work out now what is worked out when it is asked for: for a thread, so that who draws it need not wait."""
        _ = self.saturation, self.needs, self.capacity.idle_usd_per_h

    @property
    def assumptions(self) -> tuple[str, ...]:
        note = (self.capacity.learned.note,) if self.capacity.learned.note else ()
        return tuple(dict.fromkeys((*note, *self.more_assumptions, *self.needs.assumptions)))


def outlook(
    fleet: Fleet, learned: Learned = NOTHING_LEARNED, what_if: str = "", tokens_per_day: float | None = None,
) -> tuple[Outlook, Outlook | None]:
    """The fleet as it is, and as it would be with the change and the day's target; None when neither was asked for. Raises WhatIfError."""
    now = Outlook(Capacity(fleet, learned))
    if not what_if and tokens_per_day is None:
        return now, None
    scene = imagine(fleet, what_if) if what_if else None
    asked = {model.name: model.demand_tokens_per_s for model in now.capacity.models if model.demand_tokens_per_s is not None}
    assumed = list(scene.assumptions) if scene else []
    if tokens_per_day is not None:
        asked, how = demand_for(now.capacity, tokens_per_day, learned.peak_over_mean)
        assumed += how
    if scene:
        asked = {name: tokens * scene.surge.get(name, 1.0) for name, tokens in asked.items()}
    then = Capacity(scene.fleet if scene else fleet, learned, asked, scene.pace if scene else None, now.capacity.serving.now)
    return now, Outlook(then, tuple(assumed))


def outlook_json(now: Outlook, then: Outlook | None = None) -> Row:
    """As plain values; the figures at the top are those that were asked about: of `then`, where there is one, and now else."""
    fleet, learned = now.capacity.fleet, now.capacity.learned
    asked = figures(then or now)
    told = {"at": at_text(fleet.at), **asked}
    if then is not None:
        told |= {"before": figures(now), "after": asked}
    return told | {"learned": _learned(learned)}


def figures(look: Outlook) -> Row:
    """All figures of one look; units are in the names, None is unknown, `inf` (nothing is ready) too."""
    capacity, need = look.capacity, look.needs
    fleet = capacity.fleet
    per_h, today = fleet_usd_per_h(fleet), midnight(fleet.at)
    counts = capacity.gpus()
    mw = plain(sum(drawn_w(fleet, site) for site in fleet.roster.sites) / 1e6, 6) if fleet.roster.sites else None
    return {
        "gpus": {name: getattr(counts, name) for name in ("total", "serving", "free", "stranded", "unheard")},
        "gpus_needed": need.total("needed"), "gpus_short": need.total("short"), "racks_short": need.racks_short,
        "mw_needed": plain(need.mw_needed, 6), "mw_drawn": mw,
        "usd_per_day": plain(need.usd_per_day), "usd_per_h_rented": plain(per_h),
        "usd_today": plain(bill_usd(fleet, today, fleet.at)), "usd_today_projected": plain(bill_usd(fleet, today, today + DAY_S)),
        "idle_usd_per_h": plain(capacity.idle_usd_per_h), "stranded_usd_per_h": plain(capacity.stranded_usd_per_h),
        "models": [model_figures(look, model) for model in capacity.models],
        "sites": [site_figures(look, site) for site in fleet.roster.sites],
        "stranded": [{
            "reason": one.reason, "site": one.site, "node": one.node or None, "chip": one.chip, "gpus": one.gpus, "text": one.text,
            "mend": one.mend, "usd_per_h": plain(one.usd_per_h),
        } for one in capacity.stranded],
        "saturation": [saturation_json(one) for one in look.saturation],
        "power_limits": [{
            "model": offer.model, "chip": offer.chip, "watts_per_gpu": offer.watts, "tokens_per_joule": plain(offer.tokens_per_joule),
            "now_watts_per_gpu": offer.now_w, "now_tokens_per_joule": plain(offer.now_tokens_per_joule), "nodes": list(offer.nodes),
            "mend": offer.mend,
        } for offer in cap_offers(capacity)],
        "assumptions": list(look.assumptions),
    }


def saturation_json(one: Saturation) -> Row:
    return {
        "kind": one.kind, "name": one.subject, "load_pct": pct(one.load), "full_in_s": plain(one.full_in_s), "ends": one.ends or None,
        "ends_in_s": plain(one.in_s), "ends_in_s_earliest": plain(one.earliest_s), "horizon_s": plain(one.horizon_s), "text": one.text,
        "mend": one.mend or None,
    }


def model_figures(look: Outlook, model: ModelCapacity) -> Row:
    learned, need = look.capacity.learned, next(need for need in look.needs.models if need.model == model.name)
    known: Model = next(known for known in look.capacity.fleet.roster.models if known.name == model.name)
    found = learned.burns.get(model.name, ())
    energy = {**energy_now(look.capacity.fleet), **learned.energy}
    heard = look.capacity.fleet.heard_workers_of_model.get(model.name, ())
    return {
        "name": model.name, "ready": model.ready, "served_tokens_per_s": plain(model.demand.served_tokens_per_s),
        "demand_tokens_per_s": plain(model.demand_tokens_per_s), "capacity_tokens_per_s": plain(model.capacity_tokens_per_s),
        "capacity_spread_pct": pct(model.spread), "samples": model.samples, "free_tokens_per_s": plain(model.free_tokens_per_s),
        **dict(zip(_EXPECTED, map(plain, model.expected or (None,) * 3), strict=True)),
        "load_pct": pct(model.load), "limit": model.limit or None,
        "addable_workers": model.addable_workers, "addable_tokens_per_s": plain(model.addable_tokens_per_s),
        "tokens_today": plain(learned.tokens_today.get(model.name), 0), "tokens_per_day": plain(known.tokens_per_day, 0),
        "tokens_today_wanted": plain(_wanted(known, look.capacity.fleet.at), 0),
        "gpus_needed": dict(need.needed), "gpus_short": dict(need.short), "launches": need.launches,
        "unmet_tokens_per_s": plain(need.unmet_tokens_per_s),
        "requests_per_s": plain(worker_total(heard, "requests_per_s")),
        "ttft_p95_ms": plain(worker_worst(heard, "ttft_p95_ms")), "itl_p95_ms": plain(worker_worst(heard, "itl_p95_ms")),
        "objective": {"ttft_p95_ms": plain(known.ttft_p95_ms), "itl_p95_ms": plain(known.itl_p95_ms)},
        "burn": [{"window_s": burn.window_s, "seen_s": burn.seen_s, "burn": plain(burn.burn)} for burn in found],
        "error_budget_left_pct": pct(budget_left(found)), "error_budget_empty_in_s": plain(empty_in_s(found)),
        "usd_per_h": plain(model.usd_per_h), "usd_per_million_tokens": plain(model.usd_per_million_tokens),
        "joules_per_token": {chip: plain(one.joules_per_token) for (name, chip), one in sorted(energy.items()) if name == model.name},
        "forecast": _forecast(learned, model.name),
    }


def _wanted(model: Model, at: float) -> float | None:
    """Tokens that should have been given since midnight UTC, were every hour of the day alike; None without a day's target."""
    return None if model.tokens_per_day is None else model.tokens_per_day * (at - midnight(at)) / DAY_S


def _forecast(learned: Learned, model: str) -> Row | None:
    ahead = learned.demand.get(model)
    if ahead is None:
        return None
    peak = int(ahead.mean.argmax())
    return {
        "way": ahead.way, "horizon_s": plain(ahead.horizon_s), "backtest_error_pct": plain(ahead.error_pct),
        "band_covered_pct": plain(ahead.covered_pct), "samples": ahead.samples, "peak_at": at_text(float(ahead.times[peak])),
        "peak_tokens_per_s": plain(float(ahead.mean[peak])), "peak_tokens_per_s_low": plain(float(ahead.low[peak])),
        "peak_tokens_per_s_high": plain(float(ahead.high[peak])),
    }


def site_figures(look: Outlook, site: Site) -> Row:
    fleet, capacity = look.capacity.fleet, look.capacity
    here, counts, today = at_feed(fleet.roster, site), capacity.gpus(site), midnight(fleet.at)
    limits = limits_w(fleet)[here]
    return {
        "name": site.name, "provider": site.provider, "gpus": counts.total, "gpus_serving": counts.serving, "gpus_free": counts.free,
        "gpus_stranded": counts.stranded, "gpus_unheard": counts.unheard,
        "drawn_w": plain(drawn_w(fleet, site)), "capped_w": plain(float(limits.sum()) * pue_of(site)),
        "rated_w": plain(float(fleet.roster.gpu_fact("power_max_w")[here].sum()) * pue_of(site)),
        "throttled_gpus": throttled(capacity, here),
        "overhead_w": plain(overhead_w(fleet, site) * pue_of(site)), "pue": site.pue,
        "power_budget_w": None if site.power_budget_kw is None else plain(site.power_budget_kw * 1e3),
        "usd_per_h": plain(site_usd_per_h(fleet, site, fleet.at)), "usd_today": plain(bill_usd(fleet, today, fleet.at, site)),
        "budget_usd_per_month": plain(site.budget_usd_per_month),
    }


def _learned(learned: Learned) -> Row:
    return {
        "since": at_text(learned.since) if learned.until else None, "until": at_text(learned.until) if learned.until else None,
        "note": learned.note or None,
        "rates": [{
            "model": model, "chip": chip, "alpha_ms": plain(1e3 * rate.alpha_s), "beta_ms": plain(1e3 * rate.beta_s),
            "spread_pct": pct(rate.spread), "samples": rate.samples, "most_running": plain(rate.most_running),
        } for (model, chip), rate in sorted(learned.rates.items())],
        "peak_over_mean": plain(learned.peak_over_mean),
    }


def plain(value: float | None, digits: int = 3) -> float | int | None:
    """A number as JSON has it; None for what is not known or not finite."""
    if value is None or not isfinite(value):
        return None
    return int(value) if value == int(value) else round(float(value), digits)


def pct(share: float | None) -> float | int | None:
    """A share as a percentage."""
    return None if share is None else plain(100.0 * share, 1)

