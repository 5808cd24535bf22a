"""What sites draw and may still draw: every launch is reckoned with its GPUs at their limit, because that is what they may take.

A plan asks the same of one fleet again and again, so the answers for the fleets asked about last are kept: a Fleet never changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from opsconsole.core.fleet import Fleet, Site
from opsconsole.core.headlines import fresh_gpus
from opsconsole.core.speeds import chips_of
from opsconsole.core.steps import Step
from opsconsole.physics import CHIPS

W_PER_KW = 1000.0


def drawn_w(fleet: Fleet, site: Site) -> float:
    """What the answering GPUs of a site and the rest of their nodes draw now at the feed, its PUE included, in W."""
    gpus_w = float(np.nansum(np.where(at_site(fleet, site.name), fresh_gpus(fleet, "power_w"), np.nan)))
    return (gpus_w + overhead_w(fleet, site, answering=True)) * pue_of(site)


def overhead_w(fleet: Fleet, site: Site, answering: bool = False) -> float:
    """What the nodes of a site draw beside their GPUs, before PUE, in W: as the fleet file says of each, 0 where it says nothing.

    answering: only of those that answer.
    """
    if not site.node_overhead_w:
        return 0.0
    nodes = [row for row, node in enumerate(fleet.roster.nodes) if node.site == site.name and (not answering or fleet.answering[row])]
    return len(nodes) * site.node_overhead_w


def reckoned_w(fleet: Fleet, site: Site) -> float:
    """What a site must be reckoned to draw now at the feed, its PUE included, in W: all its GPUs (see `draws_w`) and its nodes' rest."""
    return (_reckoned_w(fleet, site.name) + overhead_w(fleet, site)) * pue_of(site)


@lru_cache(maxsize=64)
def _reckoned_w(fleet: Fleet, site: str) -> float:
    return float(np.sum(draws_w(fleet)[at_site(fleet, site)]))


def allowed_w(fleet: Fleet, site: Site) -> float | None:
    """What a site may draw at the feed: its budget less the policy's headroom, in W; None when it has no budget."""
    if site.power_budget_kw is None:
        return None
    return site.power_budget_kw * W_PER_KW * (1.0 - fleet.roster.policy.power_headroom_pct / 100.0)


def pue_of(site: Site) -> float:
    return site.pue or 1.0


@lru_cache(maxsize=64)
def at_site(fleet: Fleet, name: str) -> np.ndarray:
    """Which GPUs are at a site, (G,) bool."""
    here = np.array([node.site == name for node in fleet.roster.nodes], dtype=bool)
    return here[fleet.roster.gpu_node] if here.size else np.zeros(0, bool)


@lru_cache(maxsize=2)
def limits_w(fleet: Fleet) -> np.ndarray:
    """What each GPU may draw, (G,): its enforced limit, else the highest it can be set to, else its chip's rating; 0 when none is known."""
    limit = fleet.gpu("power_limit_w")
    limit = np.where(np.isnan(limit), fleet.roster.gpu_fact("power_max_w"), limit)
    return np.where(np.isnan(limit), _of_chips(fleet, "rated_w", 0.0), limit)


@lru_cache(maxsize=2)
def draws_w(fleet: Fleet) -> np.ndarray:
    """What each GPU draws, (G,): as last heard, for a node that is silent may be at work; its limit where that was never told."""
    drawn = fleet.gpu("power_w")
    return np.where(np.isnan(drawn), limits_w(fleet), drawn)


@lru_cache(maxsize=2)
def rises_w(fleet: Fleet) -> np.ndarray:
    """By how much each GPU may still rise to its limit, (G,)."""
    return np.maximum(limits_w(fleet) - draws_w(fleet), 0.0)


def falls_w(fleet: Fleet) -> np.ndarray:
    """By how much each GPU's draw falls once it stands still, (G,): to what its chip draws idle; 0 where either is not known."""
    rest = _of_chips(fleet, "idle_w", np.nan)
    return np.nan_to_num(np.maximum(fresh_gpus(fleet, "power_w") - rest, 0.0))


def _of_chips(fleet: Fleet, figure: str, unknown: float) -> np.ndarray:
    """A figure of the data sheet for each GPU, (G,)."""
    told = np.array([CHIPS.get(chip, {}).get(figure, unknown) for chip in chips_of(fleet.roster)])
    return told[fleet.roster.gpu_node] if told.size else np.zeros(0)


def added_w(fleet: Fleet, steps: Iterable[Step], rises: np.ndarray) -> dict[str, float]:
    """By how much the launches among steps raise the draw of each site at most, in W at the feed; a shared GPU rises once."""
    rows = {fleet.roster.gpu_row.get((step.node, gpu)) for step in steps if step.order.get("op") == "launch"
            for gpu in step.order.get("gpus", ())}
    pues = {site.name: pue_of(site) for site in fleet.roster.sites}
    added: dict[str, float] = {}
    for row in sorted(rows - {None}):
        site = fleet.roster.nodes[fleet.roster.gpu_node[row]].site
        added[site] = added.get(site, 0.0) + float(rises[row]) * pues.get(site, 1.0)
    return added


def over_budget(fleet: Fleet, added: dict[str, float]) -> str:
    """Why the sites named must not draw so many W more than now; "" when they may. One that is above its budget may take nothing."""
    for site in fleet.roster.sites:
        may_w = allowed_w(fleet, site)
        if may_w is None or site.name not in added:
            continue
        now_w = reckoned_w(fleet, site)
        if now_w + added[site.name] > may_w:
            peak_kw, free_pct = (now_w + added[site.name]) / W_PER_KW, fleet.roster.policy.power_headroom_pct
            return (f"{site.name} could draw {peak_kw:.1f} kW (now {now_w / W_PER_KW:.1f} kW); "
                    f"its budget is {site.power_budget_kw:.1f} kW, of which {free_pct:.0f} % must stay free")
    return ""


def power_refusal(fleet: Fleet, steps: Iterable[Step]) -> str:
    """Why the launches among these steps must not be, when their GPUs at their limit would exceed a site's budget less its headroom."""
    steps = [step for step in steps if step.order.get("op") == "launch"]
    return over_budget(fleet, added_w(fleet, steps, rises_w(fleet))) if steps else ""
