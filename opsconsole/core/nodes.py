"""The plans that concern nodes themselves: no new workers there, or again; and how much power their GPUs may draw."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from opsconsole.core.effects import cap_changes
from opsconsole.core.fleet import LIVE, Fleet
from opsconsole.core.guards import cordon_text, limit_refusal
from opsconsole.core.power import at_feeds_w, draws_w, limits_w, over_budget
from opsconsole.core.steps import Cap, Cordon, Plan, Step, Uncordon
from opsconsole.core.targets import named, nodes_meant, silent_refusal

PINNED_SHARE = 0.9
"""A GPU that draws more of its limit than this is held back by it."""


def plan_cordon(fleet: Fleet, intent: Cordon, under_way: Collection[Step]) -> Plan:
    title = "cordon " + " ".join(intent.targets)
    rows, refusal = nodes_meant(fleet, intent.targets)
    meant = [row for row in rows if row not in fleet.cordons]
    refusal = refusal or _silent(fleet, meant) or ("" if meant else cordon_text(fleet, rows[0]))
    if refusal:
        return Plan(intent, title, refusal=refusal)
    steps = tuple(cordon_step(fleet, row, intent.reason) for row in meant)
    checks = [f"{fleet.roster.nodes[row].name} is cordoned already by {fleet.cordons[row].actor or 'somebody'}"
              for row in rows if row in fleet.cordons]
    names = {fleet.roster.nodes[row].name for row in meant}
    coming = sorted(step.worker for step in under_way if step.order.get("op") == "launch" and step.node in names)
    warnings = (f"launches under way go on: {named(coming)}",) if coming else ()
    return Plan(intent, title, steps, tuple(checks), warnings)


def plan_uncordon(fleet: Fleet, intent: Uncordon, under_way: Collection[Step]) -> Plan:
    title = "uncordon " + " ".join(intent.targets)
    rows, refusal = nodes_meant(fleet, intent.targets)
    meant = [row for row in rows if row in fleet.cordons]
    refusal = refusal or _silent(fleet, meant) or ("" if meant else f"no node of {' '.join(intent.targets)} is cordoned")
    if refusal:
        return Plan(intent, title, refusal=refusal)
    checks = tuple(f"{fleet.roster.nodes[row].name} was cordoned by {fleet.cordons[row].actor or 'somebody'}: "
                   f"{fleet.cordons[row].reason or 'no reason given'}" for row in meant)
    return Plan(intent, title, tuple(uncordon_step(fleet, row) for row in meant), checks)


def _silent(fleet: Fleet, rows: Sequence[int]) -> str:
    return next((refusal for row in rows if (refusal := silent_refusal(fleet, row))), "")


def cordon_step(fleet: Fleet, row: int, reason: str, after: Sequence[int] = ()) -> Step:
    name = fleet.roster.nodes[row].name
    return Step(f"cordon {name}: no new workers there", name, "", {"op": "cordon", "reason": reason}, tuple(after))


def uncordon_step(fleet: Fleet, row: int, after: Sequence[int] = ()) -> Step:
    """The step that lifts a cordon; the reason it had goes with the order, so that it can be laid again."""
    name, was = fleet.roster.nodes[row].name, fleet.cordons.get(row)
    order = {"op": "uncordon", "was": {"reason": was.reason if was else ""}}
    return Step(f"uncordon {name}: new workers may go there again", name, "", order, tuple(after))


def plan_cap(fleet: Fleet, intent: Cap, under_way: Collection[Step]) -> Plan:
    watts = intent.watts
    said = "restore the power limits of" if watts is None else f"limit to {watts:.0f} W: "
    title = f"{said} {intent.target}".replace("  ", " ")
    site = intent.target if intent.target not in fleet.roster.node_row else ""
    rows = [row for row, node in enumerate(fleet.roster.nodes) if (node.site == site if site else node.name == intent.target)]
    rows = [row for row in rows if fleet.roster.gpu_start[row + 1] > fleet.roster.gpu_start[row] or not site]
    if not rows:
        known = named(sorted({node.site for node in fleet.roster.nodes if node.site})) or "none"
        return Plan(intent, title, refusal=f"there is no node and no site {intent.target!r} with GPUs; sites: {known}")
    live = [row for row in rows if fleet.reach[row] == LIVE]
    if not live:
        return Plan(intent, title, refusal=silent_refusal(fleet, rows[0]))
    silent = [row for row in rows if row not in live]
    shares = _shares(fleet, live, silent, watts, bool(site))
    refusal = shares if isinstance(shares, str) else _not_settable(fleet, shares) or _raised(fleet, shares)
    if refusal:
        return Plan(intent, title, refusal=refusal)
    steps = tuple(cap_step(fleet, row, gpus, limit) for row, gpus, limit in shares)
    names = [fleet.roster.nodes[row].name for row in silent]
    warnings = [f"{len(names)} nodes do not answer and keep their limits: {named(names)}"] if names else []
    warnings.append("a node may refuse: setting limits needs root there (or CAP_SYS_ADMIN)")
    return Plan(intent, title, steps, warnings=tuple(warnings), changes=cap_changes(fleet, steps))


Share = tuple[int, list[int], float | None]
"""(row of the node, rows of GPUs on it, W each)."""


def _shares(fleet: Fleet, live: Sequence[int], silent: Sequence[int], watts: float | None, is_site: bool) -> list[Share] | str:
    """Which GPUs get which limit, or why they cannot."""
    spans = {row: fleet.roster.gpus_of(row) for row in live}
    if watts is None or not is_site:
        return [(row, list(range(span.stop - span.start)), watts) for row, span in spans.items()]
    gpus = np.concatenate([np.arange(span.start, span.stop) for span in spans.values()])
    lowest, highest = fleet.roster.gpu_fact("power_min_w")[gpus], fleet.roster.gpu_fact("power_max_w")[gpus]
    if np.isnan(lowest).any() or np.isnan(highest).any():
        unknown = fleet.roster.nodes[fleet.roster.gpu_node[gpus[np.isnan(lowest) | np.isnan(highest)][0]]].name
        return f"the limits that GPUs of {unknown} can be set to are not known: its driver does not tell"
    keeps = sum(float(limits_w(fleet)[fleet.roster.gpus_of(row)].sum()) for row in silent)
    if not lowest.sum() <= watts - keeps <= highest.sum():
        kept = f" beside {keeps:.0f} W of nodes that do not answer" if keeps else ""
        return (f"the {len(gpus)} GPUs that answer can be limited to {lowest.sum():.0f} to {highest.sum():.0f} W together{kept}, "
                f"not to {watts:.0f} W")
    limits = np.floor(shared_w(watts - keeps, lowest, highest))
    limits = np.maximum(limits, lowest)
    return _by_limit(fleet, gpus, limits)


def _by_limit(fleet: Fleet, gpus: np.ndarray, limits: np.ndarray) -> list[Share]:
    """One share for each node and limit."""
    found: dict[tuple[int, float], list[int]] = {}
    for gpu, limit in zip(gpus.tolist(), limits.tolist(), strict=True):
        row = int(fleet.roster.gpu_node[gpu])
        found.setdefault((row, limit), []).append(gpu - int(fleet.roster.gpu_start[row]))
    return [(row, members, limit) for (row, limit), members in found.items()]


def shared_w(watts: float, lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """`watts` shared over GPUs in proportion to the highest limit of each, none outside of its limits, (G,); watts must lie between the
    sums of both. The factor is found by halving: what is given grows with it."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if np.clip(middle * highest, lowest, highest).sum() > watts:
            high = middle
        else:
            low = middle
    return np.clip(low * highest, lowest, highest)


def _not_settable(fleet: Fleet, shares: Sequence[Share]) -> str:
    return next((refusal for row, gpus, limit in shares if (refusal := limit_refusal(fleet, row, gpus, limit))), "")


def _raised(fleet: Fleet, shares: Sequence[Share]) -> str:
    """Why limits must not be raised so far: GPUs that draw what they may now would draw more, beyond a budget."""
    rises: list[tuple[int, float]] = []
    now_w, may_w = draws_w(fleet), limits_w(fleet)
    for row, gpus, limit in shares:
        rows = int(fleet.roster.gpu_start[row]) + np.array(gpus)
        then = fleet.roster.gpu_fact("power_default_w")[rows] if limit is None else np.full(len(rows), limit)
        pinned = now_w[rows] >= PINNED_SHARE * may_w[rows]
        rise_w = np.nan_to_num(np.where(pinned, np.maximum(then - may_w[rows], 0.0), 0.0))
        rises += [(gpu, watts) for gpu, watts in zip(rows.tolist(), rise_w.tolist(), strict=True) if watts > 0]
    return over_budget(fleet, at_feeds_w(fleet, rises))


def cap_step(fleet: Fleet, row: int, gpus: Sequence[int], watts: float | None, after: Sequence[int] = ()) -> Step:
    """One order of limits; those before, where all are alike, go with it, so that a restore can be taken back."""
    name, first = fleet.roster.nodes[row].name, int(fleet.roster.gpu_start[row])
    before = {float(fleet.gpu("power_limit_w")[first + gpu]) for gpu in gpus}
    was = before.pop() if len(before) == 1 else None
    order = {"op": "cap", "gpus": list(gpus), "watts": watts, "was": {"watts": was if was == was else None}}
    what = f"{len(gpus)} GPUs of {name}"
    text = f"give {what} back the limits they had" if watts is None else f"limit {what} to {watts:.0f} W each"
    return Step(text, name, "", order, tuple(after))
