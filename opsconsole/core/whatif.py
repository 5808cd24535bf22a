"""What if a node, a rack, a site or a provider were lost, more were asked for, prices rose, power fell, or nodes came: the fleet as it
would be then, so that every question about capacity can be asked of it too.

An expression is one change, or several with a comma between:
    lose node NAME | lose rack SITE/RACK | lose site NAME | lose provider NAME
    surge [MODEL] 30%            more is asked for (-30%: less)
    price CHIP 2.5 | price CHIP +20% [at SITE]
    cap NODE|SITE 400            W of each GPU, at most
    budget SITE 35 | budget SITE -10%      kW at the feed
    add 4 nodes CHIP [at SITE]
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from opsconsole.core.declared import Price
from opsconsole.core.fleet import GPU_FACT_COLUMNS, LIVE, UNREACHABLE, Fleet, NodeFacts, Site
from opsconsole.core.money import price_lists
from opsconsole.core.power import falls_w, limits_w
from opsconsole.core.speeds import chips_of
from opsconsole.physics import CHIPS
from opsconsole.protocol import GPU_COLUMNS

NODES_LIMIT = 10_000
NUMBER = r"([+-]?\d+(?:\.\d+)?)"
FORMS = ("lose node|rack|site|provider NAME, surge [MODEL] 30%, price CHIP +20% [at SITE], cap NODE|SITE W, budget SITE -10%, "
         "add K nodes CHIP [at SITE]")


class WhatIfError(ValueError):
    """An expression that cannot be understood, or names what is not there; one sentence."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A fleet as it would be. surge: by model, how many times as much is asked for; pace: as in core.serving."""

    fleet: Fleet
    surge: dict[str, float]
    pace: np.ndarray | None = None
    assumptions: tuple[str, ...] = ()

    def assuming(self, *texts: str, **changes: object) -> Scene:
        return replace(self, **changes, assumptions=(*self.assumptions, *texts))


def imagine(fleet: Fleet, expression: str) -> Scene:
    """Raises WhatIfError."""
    scene = Scene(fleet, {model.name: 1.0 for model in fleet.roster.models})
    parts = [part.strip() for part in expression.split(",")]
    for part in parts:
        scene = _changed(scene, " ".join(part.split()))
    return scene


def _changed(scene: Scene, part: str) -> Scene:
    for pattern, change in _CHANGES:
        if match := pattern.fullmatch(part):
            return change(scene, *match.groups())
    raise WhatIfError(f"{part[:80]!r} is no change that could be imagined; write one of: {FORMS}")


def _lose(scene: Scene, kind: str, name: str) -> Scene:
    roster = scene.fleet.roster
    providers = {site.name: site.provider for site in roster.sites}
    named: dict[str, Callable[[NodeFacts], str]] = {
        "node": lambda node: node.name, "rack": lambda node: f"{node.site}/{node.rack}", "site": lambda node: node.site,
        "provider": lambda node: providers.get(node.site, ""),
    }
    lost = np.array([named[kind](node) == name for node in roster.nodes], dtype=bool)
    if not lost.any():
        known = sorted({named[kind](node) for node in roster.nodes} - {"", "/"})[:8]
        raise WhatIfError(f"no {kind} is called {name[:80]!r}; known are {', '.join(known) or 'none'}")
    reach = np.where(lost, UNREACHABLE, scene.fleet.reach).astype(scene.fleet.reach.dtype)
    gpus_w = scene.fleet.gpu_values.copy()
    gone = lost[roster.gpu_node]
    gpus_w[GPU_COLUMNS.index("power_w"), gone] = 0.0
    fleet = replace(scene.fleet, reach=reach, gpu_values=gpus_w)
    return scene.assuming(
        f"{int(lost.sum())} nodes with {int(gone.sum())} GPUs are lost with all they serve; what was asked for is asked of the others, and "
        "nothing is launched yet", fleet=fleet,
    )


def _surge(scene: Scene, model: str | None, percent: str) -> Scene:
    if model is not None and model not in scene.surge:
        raise WhatIfError(f"no model is called {model[:80]!r}; known are {', '.join(sorted(scene.surge)[:8]) or 'none'}")
    factor = 1.0 + float(percent) / 100.0
    if factor < 0:
        raise WhatIfError(f"a surge of {percent}% would ask for less than nothing; -100% is the least")
    surge = {name: old * (factor if model in (None, name) else 1.0) for name, old in scene.surge.items()}
    return scene.assuming(f"{model or 'every model'} is asked for {factor:.2f} times as much, with answers as long as now", surge=surge)


def _price(scene: Scene, chip: str, sign: str, percent: str, site: str | None) -> Scene:
    _need_site(scene, site)
    lists, found = price_lists(scene.fleet), []
    for one in scene.fleet.roster.sites:
        old = lists.get(one.name, {}).get(chip)
        if site not in (None, one.name) or (old is None and site is None):
            found.append(one)
            continue
        if percent and old is None:
            raise WhatIfError(f"{one.name} has no price for {chip} that could change by {sign}%; write the price itself")
        usd = old * (1.0 + float(sign) / 100.0) if percent else float(sign)
        kept = tuple(price for price in one.prices if price.chip != chip)
        found.append(replace(one, prices=(*kept, Price(chip, "on-demand", max(usd, 0.0)))))
    if tuple(found) == scene.fleet.roster.sites:
        raise WhatIfError(f"no site has a price for {chip[:40]!r}; add `at SITE` to give it one")
    return scene.assuming(f"all GPUs of {chip} cost that, reserved ones too", fleet=_with_sites(scene.fleet, found))


def _budget(scene: Scene, site: str, amount: str, percent: str) -> Scene:
    _need_site(scene, site)
    found = []
    for one in scene.fleet.roster.sites:
        if one.name == site:
            if percent and one.power_budget_kw is None:
                raise WhatIfError(f"{site} has no power_budget_kw that could change by {amount}%; write the kW themselves")
            kw = one.power_budget_kw * (1.0 + float(amount) / 100.0) if percent else float(amount)
            one = replace(one, power_budget_kw=max(kw, 0.0))
        found.append(one)
    return scene.assuming(f"the headroom of the policy stays free of {site}'s new budget", fleet=_with_sites(scene.fleet, found))


def _cap(scene: Scene, target: str, amount: str) -> Scene:
    fleet, watts = scene.fleet, float(amount)
    here = np.array([target in (node.name, node.site) for node in fleet.roster.nodes], dtype=bool)[fleet.roster.gpu_node]
    if not here.any():
        raise WhatIfError(f"no node and no site with a GPU is called {target[:80]!r}")
    lowest = np.nanmax(np.where(here, np.nan_to_num(fleet.roster.gpu_fact("power_min_w")), 0.0))
    if not lowest <= watts < float("inf"):
        raise WhatIfError(f"GPUs of {target} can be limited to {lowest:.0f} W at the least, not to {watts:.0f} W")
    limits, falls = limits_w(fleet), falls_w(fleet)
    then = np.where(here, np.minimum(limits, watts), limits)
    drawn = np.nan_to_num(fleet.gpu("power_w"), nan=0.0)
    rest = drawn - falls
    with np.errstate(divide="ignore", invalid="ignore"):
        # work asked for at full load draws up to the old limit: what is left of that is what the clock follows by the square root
        left = np.where(limits > rest, np.maximum(then - rest, 1.0) / np.maximum(limits - rest, 1.0), 1.0)
    pace = np.sqrt(np.clip(left, 0.0, 1.0))
    values = fleet.gpu_values.copy()
    values[GPU_COLUMNS.index("power_limit_w")] = then
    values[GPU_COLUMNS.index("power_w")] = np.minimum(fleet.gpu("power_w"), then)
    return scene.assuming(
        "a GPU at its limit slows by the square root of what is left of its power above idle (as opsconsole.physics has it)",
        fleet=replace(fleet, gpu_values=values), pace=pace if scene.pace is None else pace * scene.pace,
    )


def _add(scene: Scene, count: str, chip: str, site: str | None) -> Scene:
    _need_site(scene, site)
    fleet, roster, number = scene.fleet, scene.fleet.roster, int(count)
    if not 1 <= number <= NODES_LIMIT:
        raise WhatIfError(f"1 to {NODES_LIMIT} nodes can be added, not {number}")
    chips = chips_of(roster)
    like = [row for row, known in enumerate(chips) if known == chip and site in (None, roster.nodes[row].site)]
    like = like or [row for row, known in enumerate(chips) if known == chip]
    if not like and chip not in CHIPS:
        raise WhatIfError(f"the chip {chip[:40]!r} is not known here; known are {', '.join(sorted({*filter(None, chips), *CHIPS}))}")
    if not like and site is None:
        raise WhatIfError(f"no site has {chip} yet; say where: add {number} nodes {chip} at SITE")
    where = site or max((roster.nodes[row].site for row in like), key=[roster.nodes[row].site for row in like].count)
    each = int(np.median([np.diff(roster.gpu_start)[row] for row in like])) if like else 8
    added = _with_nodes(fleet, [NodeFacts(f"new-{chip}-{n + 1}", where, f"new{n // 4 + 1}", chip) for n in range(number)], each, chip)
    surge = scene.surge
    pace = None if scene.pace is None else np.concatenate([scene.pace, np.ones(number * each)])
    return scene.assuming(f"the new nodes are at {where}, with {each} GPUs each, idle", fleet=added, surge=surge, pace=pace)


def _with_nodes(fleet: Fleet, nodes: list[NodeFacts], gpus: int, chip: str) -> Fleet:
    """The fleet and live, idle nodes of so many GPUs behind it."""
    roster, count, sheet = fleet.roster, len(nodes) * gpus, CHIPS.get(chip, {})
    facts = dict.fromkeys(GPU_FACT_COLUMNS, np.nan) | {
        "mem_total_mib": sheet.get("mem_mib", np.nan), "power_max_w": sheet.get("rated_w", np.nan),
        "power_default_w": sheet.get("rated_w", np.nan),
    }
    told = dict.fromkeys(GPU_COLUMNS, np.nan) | {
        "util_pct": 0.0, "mem_used_mib": 0.0, "power_w": sheet.get("idle_w", np.nan), "power_limit_w": sheet.get("rated_w", np.nan),
    }
    starts = roster.gpu_start[-1] + gpus * np.arange(1, len(nodes) + 1)
    blank = np.full(len(nodes), np.nan)
    larger = replace(
        roster, nodes=(*roster.nodes, *nodes), gpu_start=np.concatenate([roster.gpu_start, starts]),
        gpu_uuid=(*roster.gpu_uuid, *(f"new-{number}" for number in range(count))), gpu_name=(*roster.gpu_name, *[chip] * count),
        gpu_index=np.concatenate([roster.gpu_index, np.tile(np.arange(gpus), len(nodes))]),
        gpu_facts=_beside(roster.gpu_facts, list(facts.values()), count),
    )
    return replace(
        fleet, roster=larger, reach=np.concatenate([fleet.reach, np.full(len(nodes), LIVE, fleet.reach.dtype)]),
        cause=(*fleet.cause, *[""] * len(nodes)), sampled_mono=np.concatenate([fleet.sampled_mono, np.full(len(nodes), fleet.mono)]),
        clock_offset_s=np.concatenate([fleet.clock_offset_s, blank]),
        node_values=_beside(fleet.node_values, [np.nan] * len(fleet.node_values), len(nodes)),
        gpu_values=_beside(fleet.gpu_values, list(told.values()), count),
    )


def _beside(table: np.ndarray, column: list[float], count: int) -> np.ndarray:
    return np.concatenate([table, np.repeat(np.array(column)[:, None], count, axis=1)], axis=1)


def _with_sites(fleet: Fleet, sites: list[Site]) -> Fleet:
    return replace(fleet, roster=replace(fleet.roster, sites=tuple(sites)))


def _need_site(scene: Scene, name: str | None) -> None:
    known = [site.name for site in scene.fleet.roster.sites]
    if name is not None and name not in known:
        raise WhatIfError(f"no site is called {name[:80]!r}; known are {', '.join(known[:8]) or 'none'}")


_CHANGES: tuple[tuple[re.Pattern[str], Callable[..., Scene]], ...] = (
    (re.compile(r"lose (node|rack|site|provider) (\S+)"), _lose),
    (re.compile(rf"surge (?:(\S+) )?{NUMBER} ?%"), _surge),
    (re.compile(rf"price (\S+) {NUMBER} ?(%?)(?: at (\S+))?"), _price),
    (re.compile(r"cap (\S+) (\d+(?:\.\d+)?) ?W?"), _cap),
    (re.compile(rf"budget (\S+) {NUMBER} ?(%|kW|)"), lambda scene, site, amount, unit: _budget(scene, site, amount, unit.strip("kW"))),
    (re.compile(r"add (\d{1,9}) nodes? (\S+)(?: at (\S+))?"), _add),
)
