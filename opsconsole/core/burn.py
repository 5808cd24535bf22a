"""How fast a model uses up its error budget: over several windows, so that a blip wakes nobody and a slow leak is not missed.

The objective is a p95, which allows one request in twenty to be slower. So a second whose p95 is above it has failed, and the budget is
the share of served requests that may fall into such seconds. Burn 1 uses the budget up exactly in its period (Google, The Site
Reliability Workbook, 2018, chapter 5, "Alerting on SLOs").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BUDGET_SHARE = 0.01
"""Of requests that may be served in failed seconds."""
PERIOD_S = 86400.0
"""The budget is for a day, because a night's on-call judges a night."""
WINDOWS_S = (300.0, 3600.0, 21600.0, 86400.0)
PAGE_BURN = 14.4
"""A burn from which a person should be called when both a short and a long window have it (the same chapter, table 5-8)."""


@dataclass(frozen=True, slots=True)
class Burn:
    """One window. window_s: its length; seen_s: how much of it there are readings of."""

    window_s: float
    seen_s: float
    failed_share: float | None
    """Of the requests served in it, 0..1; None: none was served, or nothing is known."""

    @property
    def burn(self) -> float | None:
        """How many times faster than allowed the budget is used; None as failed_share."""
        return None if self.failed_share is None else self.failed_share / BUDGET_SHARE


def burns(
    times: np.ndarray, latency_ms: np.ndarray, requests_per_s: np.ndarray, objective_ms: float, now: float,
) -> tuple[Burn, ...]:
    """The burns at `now` of all windows, the shortest first.

    times: (T,) epoch seconds in equal steps; latency_ms: (W, T) p95 of each worker, NaN: it finished nothing or was not heard;
    requests_per_s: (W, T), NaN: not known, which counts as a quarter of a request so that a silent counter hides no failure.
    """
    step_s = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    failed = latency_ms > objective_ms
    known = np.isfinite(latency_ms)
    weight = np.where(known, np.where(np.isfinite(requests_per_s), requests_per_s, 0.25), 0.0)
    found = []
    for window_s in WINDOWS_S:
        here = (times > now - window_s) & (times <= now)
        total = float(weight[:, here].sum())
        share = float(weight[:, here][failed[:, here]].sum()) / total if total > 0 else None
        found.append(Burn(window_s, float(known[:, here].any(axis=0).sum()) * step_s, share))
    return tuple(found)


def budget_left(all_burns: tuple[Burn, ...]) -> float | None:
    """Share of the period's budget that is left, below 0 when it is overdrawn; None when the period's burn is not known.

    Of a period that was not seen whole only what was seen counts as used.
    """
    day = next((burn for burn in all_burns if burn.window_s == PERIOD_S), None)
    if day is None or day.burn is None:
        return None
    return 1.0 - day.burn * min(day.seen_s / PERIOD_S, 1.0)


def empty_in_s(all_burns: tuple[Burn, ...]) -> float | None:
    """Seconds until the budget is used up if the burn of the shortest window goes on: 0 when it is used up; None when it is not known or
    when that burn is 1 or less, with which it never is.

    budget left / (burn / period): with 14.4 a full budget of 30 days lasts 30 d / 14.4 = 50 h, and an hour uses 2 % of it (the Workbook's
    example).
    """
    left = budget_left(all_burns)
    short = all_burns[0].burn if all_burns else None
    if left is None or short is None:
        return None
    if left <= 0:
        return 0.0
    return left * PERIOD_S / short if short > 1 else None
