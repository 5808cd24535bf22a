"""How fast each model eats its error budget right now and over several windows, carried on from second to second for the alarms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from opsconsole.core.alarm_rules import BURN_WINDOWS
from opsconsole.core.fleet import Fleet, Model, Worker

BUDGET_SHARE = 0.01
"""Of requests that may be served in failed seconds: those in which their worker's p95 is above the objective."""
WEIGHT_UNKNOWN = 0.25
"""Requests a second of a worker that does not tell: a silent counter hides no failure."""
WINDOWS_S = tuple(sorted({seconds for long_s, short_s, _ in BURN_WINDOWS for seconds in (long_s, short_s)}))

Burns = dict[tuple[str, str], tuple[float, ...]]
"""Burn rate by (kind, model), one value for each of WINDOWS_S."""


def burn_now(workers: Iterable[Worker], figure: str, objective_ms: float) -> float:
    """Burn rate of this second: the share of requests whose worker's p95 is above the objective, over BUDGET_SHARE. 0: none, or no word.

    1 uses the budget up exactly in its period, 100 is every request (Google, The Site Reliability Workbook, 2018, chapter 5).
    """
    failed = weight = 0.0
    for worker in workers:
        p95_ms = getattr(worker, figure)
        if p95_ms is None:
            continue
        served = worker.requests_per_s
        served = WEIGHT_UNKNOWN if served is None else served
        weight += served
        if p95_ms > objective_ms:
            failed += served
    return failed / weight / BUDGET_SHARE if weight else 0.0


def wait_s(fleet: Fleet, model: Model, workers: Iterable[Worker]) -> float | None:
    """How long the last of the queue waits, in s: queue over the rate at which requests are served (Little's law). None: not known, or
    the queue fits into the slots of the READY workers."""
    queue = fleet.queue_of_model(model.name)
    if not queue:
        return None
    slots, rate = 0, 0.0
    for worker in workers:
        slots += (worker.slots or 1) if worker.state == "READY" else 0
        rate += worker.requests_per_s or 0.0
    return queue / rate if queue > slots and rate > 0 else None


def burns_now(fleet: Fleet) -> dict[tuple[str, str], float]:
    """Burn rate of this second by (kind, model), of every model with an objective; a queue that waits longer than TTFT may fails all."""
    found = {}
    for model in fleet.roster.models:
        workers = fleet.heard_workers_of_model.get(model.name, ())
        if model.ttft_p95_ms is not None:
            found["ttft", model.name] = burn_now(workers, "ttft_p95_ms", model.ttft_p95_ms)
            waiting_s = wait_s(fleet, model, workers)
            is_late = waiting_s is not None and waiting_s * 1000 > model.ttft_p95_ms
            found["queue", model.name] = 1.0 / BUDGET_SHARE if is_late else 0.0
        if model.itl_p95_ms is not None:
            found["itl", model.name] = burn_now(workers, "itl_p95_ms", model.itl_p95_ms)
    return found


def burned(before: Mapping[tuple[str, str], tuple[float, ...]], now: Mapping[tuple[str, str], float], dt_s: float) -> Burns:
    """The means over WINDOWS_S, `dt_s` later: exponential ones with half the window as time constant, which weigh as much of the past.

    They begin at 0: what was not seen has burnt nothing, so the first bad second of a day alarms nobody.
    """
    parts = [1.0 - math.exp(-2.0 * dt_s / seconds) for seconds in WINDOWS_S]
    nothing = (0.0,) * len(WINDOWS_S)
    return {
        key: tuple(mean + (rate - mean) * part for mean, part in zip(before.get(key, nothing), parts, strict=True))
        for key, rate in now.items()
    }


def worst_burn(burns: tuple[float, ...], limit: float) -> tuple[float, float] | None:
    """(burn, window s) of the first pair of BURN_WINDOWS over both of which the budget burns faster than its share of `limit`."""
    rate = dict(zip(WINDOWS_S, burns, strict=True))
    for long_s, short_s, share in BURN_WINDOWS:
        if min(rate[long_s], rate[short_s]) > limit * share:
            return rate[long_s], long_s
    return None
