"""What becomes of a model if nobody does anything, and what each of the usual acts would change: for a panel of five lines."""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil, isfinite
from typing import NamedTuple

from opsconsole.core.burn import budget_left, empty_in_s
from opsconsole.core.capacity import Capacity, ModelCapacity
from opsconsole.core.saturation import Saturation
from opsconsole.core.situation import FULL_SHARE
from opsconsole.core.wording import age_text, number_text

SPARE_SHARE = 0.6
"""A model that is less full than this may spare workers for another."""


class Line(NamedTuple):
    act: str
    """Id of the action that it is about: launch, rebalance; "" for what comes by itself."""
    text: str
    severity: int
    """2: an objective or all capacity is lost; 1: soon; 0: nothing to do."""


def if_nothing_is_done(capacity: Capacity, ends: tuple[Saturation, ...], name: str) -> list[Line]:
    """What comes by itself first; then what a launch and a rebalance would change, where something has to be done."""
    model = next((model for model in capacity.models if model.name == name), None)
    ahead = next((one for one in ends if one.kind == "model" and one.subject == name), None)
    if model is None or ahead is None:
        return [Line("", f"{name or 'no model'} is not in the fleet file: nothing is foreseen for it", 0)]
    lines = [_budget(capacity, name), _full(capacity, model, ahead)]
    if ahead.ends and ahead.in_s is not None:
        end = "end" if ahead.ends == "GPUs" else "ends"
        lines.append(Line("", f"with all that is free taken, {ahead.ends} {end} {_when(capacity.fleet.at, ahead.in_s)}", 1))
    if (model.load or 0.0) > FULL_SHARE or ahead.full_in_s is not None:
        lines += [_launch(capacity, model), _rebalance(capacity, name)]
    return lines


def _when(at: float, in_s: float) -> str:
    if in_s <= 0:
        return "now"
    moment = datetime.fromtimestamp(at + in_s, UTC)
    return f"{moment:at %H:%M}" if in_s < 86400 else f"{moment:on %b %d at %H:%M}"


def _budget(capacity: Capacity, name: str) -> Line:
    """Of the TTFT objective; see core.burn."""
    known = next(model for model in capacity.fleet.roster.models if model.name == name)
    burns = capacity.learned.burns.get(name, ())
    left, empty_s = budget_left(burns), empty_in_s(burns)
    if known.ttft_p95_ms is None:
        return Line("", "no TTFT objective: no error budget to keep", 0)
    if left is None:
        return Line("", "error budget: not known yet, nothing recorded", 0)
    if empty_s is not None:
        words = "the day's error budget is used up" if empty_s == 0 else f"error budget empty {_when(capacity.fleet.at, empty_s)}"
        return Line("", f"{words}, burn {number_text(burns[0].burn, 1)} x", 2)
    return Line("", f"error budget {number_text(100 * left)} % left, burn {number_text(burns[0].burn, 1)} x", 0)


def _full(capacity: Capacity, model: ModelCapacity, ahead: Saturation) -> Line:
    if model.load is None:
        return Line("", "how full it is, is not known", 0)
    if not model.ready:
        return Line("", "no worker is ready", 2 if model.demand_tokens_per_s else 0)
    full = f"{number_text(100 * model.load)} % full"
    if ahead.full_in_s is not None:
        grows = f", its queue grows by {number_text(model.demand.growth_per_s, 1)}/s" if model.demand.growth_per_s >= 0.05 else ""
        when = _when(capacity.fleet.at, ahead.full_in_s)
        return Line("", f"workers full {when} ({ahead.limit}){grows}", 2 if ahead.full_in_s == 0 else 1)
    if not ahead.horizon_s:
        return Line("", f"{full}; no history yet to tell when it is full", 1 if model.load > FULL_SHARE else 0)
    return Line("", f"{full}, not full within {age_text(ahead.horizon_s)}", 1 if model.load > FULL_SHARE else 0)


def _launch(capacity: Capacity, model: ModelCapacity) -> Line:
    """How many workers bring it below FULL_SHARE, and how full it would be then."""
    if not model.addable_workers or not model.addable_tokens_per_s or model.demand_tokens_per_s is None:
        gpus = next(known.gpus for known in capacity.fleet.roster.models if known.name == model.name)
        lacking = "no power left" if model.added_limit == "power" else f"no node has {gpus} free GPU{'s' * (gpus > 1)} for one"
        return Line("launch", f"no room: {lacking}", 1)
    each = model.addable_tokens_per_s / model.addable_workers
    lacking = model.demand_tokens_per_s / FULL_SHARE - (model.capacity_tokens_per_s or 0.0)
    count = max(min(ceil(lacking / each), model.addable_workers), 1)
    then = model.demand_tokens_per_s / ((model.capacity_tokens_per_s or 0.0) + count * each)
    now = f"{number_text(100 * model.load)} %" if model.load is not None and isfinite(model.load) else "not served"
    return Line("launch", f"+{count} workers: {now} to {number_text(100 * then)} % full", 0)


def _rebalance(capacity: Capacity, name: str) -> Line:
    """Which models could spare workers: less than SPARE_SHARE full, and above their minimum."""
    minima = {model.name: max(model.min_ready, 1) for model in capacity.fleet.roster.models}
    spare = [
        (other.name, count) for other in capacity.models if other.name != name and other.load is not None and other.load < SPARE_SHARE
        and (count := min(int(other.ready * (1 - other.load / FULL_SHARE)), other.ready - minima[other.name])) > 0
    ]
    if not spare:
        return Line("rebalance", "no other model can spare a worker", 0)
    model, count = max(spare, key=lambda pair: pair[1])
    return Line("rebalance", f"{model} can spare {count}", 0)
