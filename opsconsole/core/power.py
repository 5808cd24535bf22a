"""What sites and racks draw and may still draw: every launch is reckoned with its GPUs at their limit, because that is what they may take.

A feed is a site's, with its PUE, or that of a rack with a budget, within its site's and without PUE: no cooling hangs on it. A plan asks
the same of one fleet again and again, so the answers for the fleets asked about last are kept: a Fleet never changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np

from opsconsole.core.fleet import Fleet, Rack, Roster, Site
from opsconsole.core.headlines import fresh_gpus
from opsconsole.core.speeds import chips_of
from opsconsole.core.steps import Step
from opsconsole.physics import CHIPS

W_PER_KW = 1000.0

Feed = Site | Rack


def feed_name(feed: Feed) -> str:
    """How a feed is called, once for every front; no two have the same, for names hold no space."""
    if isinstance(feed, Site):
        return feed.name
    return f"rack {feed.name} of {feed.site}" if feed.site else f"rack {feed.name}"


@lru_cache(maxsize=4)
def feeds(roster: Roster) -> tuple[Feed, ...]:
    """All feeds, those of sites first."""
    return (*roster.sites, *roster.racks)


@lru_cache(maxsize=4)
def feeds_of_nodes(roster: Roster) -> tuple[tuple[Feed, ...], ...]:
    """The feeds that each node hangs on."""
    sites = {site.name: (site,) for site in roster.sites}
    racks = {(rack.site, rack.name): (rack,) for rack in roster.racks}
    return tuple(sites.get(node.site, ()) + racks.get((node.site, node.rack), ()) for node in roster.nodes)


@lru_cache(maxsize=4)
def _gpus_of_feeds(roster: Roster) -> dict[str, np.ndarray]:
    nodes: dict[str, list[int]] = {feed_name(feed): [] for feed in feeds(roster)}
    for row, here in enumerate(feeds_of_nodes(roster)):
        for feed in here:
            nodes[feed_name(feed)].append(row)
    none = np.zeros(0, np.int64)
    return {name: np.concatenate([none, *(np.arange(roster.gpu_start[row], roster.gpu_start[row + 1]) for row in rows)])
            for name, rows in nodes.items()}


def gpus_of_feed(roster: Roster, feed: Feed) -> np.ndarray:
    """Rows of the GPUs that hang on a feed, ascending."""
    return _gpus_of_feeds(roster)[feed_name(feed)]


def at_feed(roster: Roster, feed: Feed) -> np.ndarray:
    """Which GPUs hang on a feed, (G,) bool."""
    here = np.zeros(len(roster.gpu_uuid), bool)
    here[gpus_of_feed(roster, feed)] = True
    return here


def drawn_w(fleet: Fleet, feed: Feed) -> float:
    """What the answering GPUs of a site or rack, and the rest of their nodes, draw now at its feed, in W."""
    gpus_w = float(np.nansum(fresh_gpus(fleet, "power_w")[gpus_of_feed(fleet.roster, feed)]))
    return (gpus_w + overhead_w(fleet, feed, answering=True)) * pue_of(feed)


def overhead_w(fleet: Fleet, feed: Feed, answering: bool = False) -> float:
    """What the nodes with GPUs on a feed draw beside them, before PUE, in W: as the fleet file says of each at its site, else 0.

    answering: only of those that answer.
    """
    each_w = next((site.node_overhead_w for site in fleet.roster.sites
                   if site.name == (feed.name if isinstance(feed, Site) else feed.site)), None)
    if not each_w:
        return 0.0
    nodes = np.unique(fleet.roster.gpu_node[gpus_of_feed(fleet.roster, feed)])
    return each_w * float(fleet.answering[nodes].sum() if answering else len(nodes))


def reckoned_w(fleet: Fleet, feed: Feed) -> float:
    """What all GPUs of a site or rack must be reckoned to draw now at its feed, in W; see `draws_w`."""
    return _reckoned_w(fleet)[feed_name(feed)]


@lru_cache(maxsize=2)
def _reckoned_w(fleet: Fleet) -> dict[str, float]:
    draws, rows = draws_w(fleet), _gpus_of_feeds(fleet.roster)
    return {name: (float(draws[rows[name]].sum()) + overhead_w(fleet, feed)) * pue_of(feed)
            for feed in feeds(fleet.roster) for name in (feed_name(feed),)}


def allowed_w(fleet: Fleet, feed: Feed) -> float | None:
    """What a feed may give: its budget less the policy's headroom, in W; None when it has no budget."""
    if feed.power_budget_kw is None:
        return None
    return feed.power_budget_kw * W_PER_KW * (1.0 - fleet.roster.policy.power_headroom_pct / 100.0)


def binding_feeds(fleet: Fleet) -> frozenset[str]:
    """Names of the feeds that could not give what they must if all their GPUs drew what they may."""
    may_w = draws_w(fleet) + rises_w(fleet)
    return frozenset(feed_name(feed) for feed in feeds(fleet.roster) if (most_w := allowed_w(fleet, feed)) is not None
                     and (float(may_w[gpus_of_feed(fleet.roster, feed)].sum()) + overhead_w(fleet, feed)) * pue_of(feed) > most_w)


def pue_of(feed: Feed) -> float:
    return (feed.pue or 1.0) if isinstance(feed, Site) else 1.0


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


def at_feeds_w(fleet: Fleet, rises: Iterable[tuple[int, float]]) -> dict[str, float]:
    """What rises of GPUs, (row, W), add to each feed that they hang on, by its name."""
    hang, node_of = feeds_of_nodes(fleet.roster), fleet.roster.gpu_node
    added: dict[str, float] = {}
    for row, watts in rises:
        for feed in hang[node_of[row]]:
            name = feed_name(feed)
            added[name] = added.get(name, 0.0) + watts * pue_of(feed)
    return added


def added_w(fleet: Fleet, steps: Iterable[Step], rises: np.ndarray) -> dict[str, float]:
    """By how much the launches among steps raise the draw of each feed at most, in W; a shared GPU rises once."""
    rows = {fleet.roster.gpu_row.get((step.node, gpu)) for step in steps if step.order.get("op") == "launch"
            for gpu in step.order.get("gpus", ())}
    return at_feeds_w(fleet, ((row, float(rises[row])) for row in sorted(rows - {None})))


def over_budget(fleet: Fleet, added: Mapping[str, float]) -> str:
    """Why the feeds named must not give so many W more than now; "" when they may. One that is above its budget may give nothing."""
    for feed in feeds(fleet.roster):
        name, may_w = feed_name(feed), allowed_w(fleet, feed)
        if may_w is None or name not in added:
            continue
        now_w = reckoned_w(fleet, feed)
        if now_w + added[name] > may_w:
            peak_kw, free_pct = (now_w + added[name]) / W_PER_KW, fleet.roster.policy.power_headroom_pct
            return (f"{name} could draw {peak_kw:.1f} kW (now {now_w / W_PER_KW:.1f} kW); "
                    f"its budget is {feed.power_budget_kw:.1f} kW, of which {free_pct:.0f} % must stay free")
    return ""


def power_refusal(fleet: Fleet, steps: Iterable[Step]) -> str:
    """Why the launches among these steps must not be, when their GPUs at their limit would exceed a budget less its headroom."""
    steps = [step for step in steps if step.order.get("op") == "launch"]
    return over_budget(fleet, added_w(fleet, steps, rises_w(fleet))) if steps else ""
