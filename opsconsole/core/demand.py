"""What a model is asked for now, in tokens a second: what is served, and how fast the rest piles up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opsconsole.core.fleet import Fleet
from opsconsole.core.load import load_of
from opsconsole.core.speeds import Speeds

GROWTH_TICKS = 30
"""Seconds of the queue's trend that its growth is taken from."""


@dataclass(frozen=True, slots=True)
class Demand:
    """One model now. None: not known."""

    served_tokens_per_s: float | None
    waiting: float | None
    """Requests that have not begun."""
    growth_per_s: float
    """Requests a second that the queue has grown by lately; 0 when it did not grow or nobody knows."""
    tokens_per_request: float | None
    tokens_per_s: float | None
    """What is asked for: what is served and what piles up, or what would clear the queue within a minute where that is more."""


def demand_of(fleet: Fleet, model: str, speeds: Speeds) -> Demand:
    load = load_of(fleet, model, speeds)
    growth = _growth(fleet.model_queue_trend.get(model, np.zeros(0)))
    asked = load.demand_tokens_per_s
    if growth and load.tokens_per_request and load.served_tokens_per_s is not None:
        asked = max(asked or 0.0, load.served_tokens_per_s + growth * load.tokens_per_request)
    if asked is None and load.served_tokens_per_s is not None and load.waiting is None:
        asked = load.served_tokens_per_s
    return Demand(load.served_tokens_per_s, load.waiting, growth, load.tokens_per_request, asked)


def _growth(queue: np.ndarray) -> float:
    """Requests a second: the slope of the straight line through the last GROWTH_TICKS ticks (one a second), never below 0."""
    recent = queue[-GROWTH_TICKS:]
    seconds = np.flatnonzero(np.isfinite(recent))
    if len(seconds) < GROWTH_TICKS // 3:
        return 0.0
    return max(float(np.polyfit(seconds, recent[seconds], 1)[0]), 0.0)
