"""What an action must not break: the power feed of a site, and how many workers of a model may be out at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

import numpy as np

from opsconsole.core.fleet import LIVE, REACH_WORDS, Fleet, Site, Worker
from opsconsole.core.headlines import fresh_gpus
from opsconsole.core.steps import Step

W_PER_KW = 1000.0


def drawn_w(fleet: Fleet, site: Site) -> float:
    """What the answering GPUs of a site draw now at the feed, its PUE included, in W."""
    return float(np.nansum(np.where(_at_site(fleet, site), fresh_gpus(fleet, "power_w"), np.nan))) * (site.pue or 1.0)


def power_refusal(fleet: Fleet, steps: Iterable[Step]) -> str:
    """Why the launches among these steps must not be, when their GPUs at their limit would exceed a site's budget less its headroom."""
    added_w: Counter[str] = Counter()
    for step in steps:
        row = fleet.roster.node_row[step.node]
        added_w[fleet.roster.nodes[row].site] += _rise_w(fleet, row, step.order.get("gpus", ()))
    for site in fleet.roster.sites:
        if not site.power_budget_kw or not added_w[site.name]:
            continue
        now_w, headroom_pct = drawn_w(fleet, site), fleet.roster.policy.power_headroom_pct
        peak_w = now_w + added_w[site.name] * (site.pue or 1.0)
        if peak_w > site.power_budget_kw * W_PER_KW * (1.0 - headroom_pct / 100.0):
            return (f"{site.name} could draw {peak_w / W_PER_KW:.1f} kW (now {now_w / W_PER_KW:.1f} kW); "
                    f"its budget is {site.power_budget_kw:.1f} kW, of which {headroom_pct:.0f} % must stay free")
    return ""


def _rise_w(fleet: Fleet, row: int, indexes: Iterable[int]) -> float:
    """By how much the GPUs of a node may still rise to their enforced limit, in W; 0 for a GPU whose draw or limit is unknown."""
    gpus = fleet.roster.gpus_of(row)
    chosen = np.isin(fleet.roster.gpu_index[gpus], list(indexes))
    rise_w = fleet.gpu("power_limit_w")[gpus] - fleet.gpu("power_w")[gpus]
    return float(np.nansum(np.where(chosen, np.maximum(rise_w, 0.0), 0.0)))


def _at_site(fleet: Fleet, site: Site) -> np.ndarray:
    """(G,) bool."""
    here = np.array([node.site == site.name for node in fleet.roster.nodes], dtype=bool)
    return here[fleet.roster.gpu_node] if here.size else np.zeros(0, bool)


def out_at_once(fleet: Fleet, leaving: Iterable[Worker]) -> list[str]:
    """A warning for each model of which more workers would be out at once than the policy allows."""
    limit = fleet.roster.policy.max_unavailable
    out = Counter(worker.model for worker in leaving)
    out.update(worker.model for worker in fleet.workers if worker.state in ("DRAINING", "NOT_READY") and worker.model in out)
    return [
        f"{count} workers of {model} would be out at once, max_unavailable is {limit}"
        for model, count in sorted(out.items()) if count > limit
    ]


def step_refusal(fleet: Fleet, step: Step, under_way: Iterable[Step] = ()) -> str:
    """Why a step of a confirmed plan must not begin now, against the newest fleet; "" when it may.

    under_way: the other steps that have begun.
    """
    row = fleet.roster.node_row.get(step.node)
    if row is None:
        return f"{step.node} is no longer in the fleet file"
    if fleet.reach[row] != LIVE:
        return f"{step.node} is {REACH_WORDS[fleet.reach[row]]}"
    if step.order["op"] == "launch":
        return power_refusal(fleet, (step, *under_way))
    if step.order["op"] == "drain":
        return minimum_refusal(fleet, {step.worker, *(other.worker for other in under_way if other.order["op"] == "drain")})
    return ""


def minimum_refusal(fleet: Fleet, leaving: Collection[str]) -> str:
    """Why these workers must not leave: a model would have fewer ready ones than its minimum; "" when they may."""
    for model in fleet.roster.models:
        ready = [worker.name for worker in fleet.workers_of_model.get(model.name, ()) if worker.state == "READY"]
        left = sum(name not in leaving for name in ready)
        if left < min(len(ready), model.min_ready):
            return f"{model.name} would have {left} ready workers, its minimum is {model.min_ready} (now {len(ready)}); launch one first"
    return ""
