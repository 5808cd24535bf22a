"""What one worker of a model serves within its objective on a chip: as it was measured, else compared, and what had to be assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from opsconsole.core.energy import rows_of
from opsconsole.core.fleet import Fleet, Model, Worker
from opsconsole.core.learned import NOTHING_LEARNED, Learned
from opsconsole.core.rates import Rate, Readings, fit_rate
from opsconsole.core.speeds import Speeds, bandwidth_gb_s, chips_of

BEYOND_SHARE = 1.25
"""A fitted line is followed so far past what was seen without a word."""
BEYOND_SPREAD = 0.1
"""What following it to twice as many running as were seen adds to the spread."""


Kind = tuple[str, str]
"""(model, chip)."""


@dataclass(frozen=True, slots=True)
class Served:
    """One worker at the most requests that keep its objective."""

    tokens_per_s: float
    spread: float | None
    """As Rate.spread; None: not measured."""
    running: float | None
    limit: str
    """What limits it: slots, ITL or TTFT."""
    samples: int
    """Readings behind it; 0: it stands on one moment or on another chip."""


class Serving:
    """Answers for one fleet and what was learned. `assumptions`: what the answers so far rest on beside measurements.

    pace: (G,) share of their speed that a lowered power limit leaves GPUs; the slowest GPU of a worker sets its pace. now: rates that
    were seen a moment ago, in place of those that this fleet's workers show.
    """

    def __init__(
        self, fleet: Fleet, learned: Learned = NOTHING_LEARNED, pace: np.ndarray | None = None, now: Mapping[Kind, Rate] | None = None,
    ) -> None:
        self.fleet, self.learned, self.pace = fleet, learned, pace
        self.chips, self.speeds = chips_of(fleet.roster), Speeds(fleet)
        self.assumptions: dict[str, None] = {}
        self._models = {model.name: model for model in fleet.roster.models}
        self._now = now
        self._known: dict[tuple[str, str], Served | None] = {}

    def of(self, model: Model, chip: str) -> Served | None:
        """None when nothing was ever seen to tell it by."""
        key = model.name, chip
        if key not in self._known:
            self._known[key] = self._found(model, chip)
        return self._known[key]

    def of_worker(self, worker: Worker) -> Served | None:
        row = self.fleet.roster.node_row.get(worker.node)
        if row is None:
            return None
        model = self._models.get(worker.model) or Model(worker.model, slots=worker.slots or 1)
        served = self.of(model if worker.slots in (None, model.slots) else replace(model, slots=worker.slots), self.chips[row])
        if served is None or self.pace is None:
            return served
        rows = rows_of(self.fleet, worker)
        return replace(served, tokens_per_s=served.tokens_per_s * float(self.pace[rows].min())) if rows else served

    def _found(self, model: Model, chip: str) -> Served | None:
        for rates, seen in ((self.learned.rates, ""), (self.now, " in this moment only")):
            if (model.name, chip) in rates:
                return self._from_rate(model, chip, rates[model.name, chip], seen)
        for rates in (self.learned.rates, self.now):
            others = [(rate.samples, other) for (name, other), rate in rates.items() if name == model.name]
            if others:
                return self._compared(model, chip, max(others)[1], rates)
        rate = self.speeds.of(model.name, chip)
        if rate is None:
            self._assume(f"{model.name} on {chip or 'an unknown chip'}: never seen at work, so what it would serve is not known")
            return None
        self._assume(f"{model.name} on {chip}: from its workers' rate in this moment, scaled to full slots")
        return Served(rate, None, None, "slots", 0)

    def _from_rate(self, model: Model, chip: str, rate: Rate, seen: str) -> Served:
        running, limit = rate.running_within(model.slots, model.itl_p95_ms, model.ttft_p95_ms)
        if running <= 0 and limit == "TTFT":
            running, limit = rate.running_within(model.slots, model.itl_p95_ms, None)
            self._assume(f"{model.name} on {chip}: TTFT was above its objective in every reading, so its {limit} are taken as its limit")
        spread = rate.spread
        if running > rate.most_running * BEYOND_SHARE:
            spread += BEYOND_SPREAD * (running / rate.most_running - 1.0)
            seen_to = f"nothing was seen above {rate.most_running:.1f} running"
            self._assume(f"{model.name} on {chip}: {seen_to}, the fitted line goes on to {running:.0f}")
        if seen:
            self._assume(f"{model.name} on {chip}: {rate.samples} worker{'s' * (rate.samples != 1)} seen{seen}, no history")
        return Served(rate.tokens_per_s(running), None if spread != spread else spread, running, limit, rate.samples)

    def _compared(self, model: Model, chip: str, other: str, rates: Mapping[tuple[str, str], Rate]) -> Served:
        """As much as decoding reads memory faster; latencies likewise (see core.speeds)."""
        rate, times = rates[model.name, other], bandwidth_gb_s(chip) / bandwidth_gb_s(other)
        base, each = rate.itl_ms
        scaled = replace(
            rate, alpha_s=rate.alpha_s / times, beta_s=rate.beta_s / times, itl_ms=(base / times, each / times),
            ttft_steps=tuple((running, ms / times) for running, ms in rate.ttft_steps),
        )
        by = f"{other} times {times:.2f} (memory bandwidth by data sheet)"
        self._assume(f"{model.name} on {chip or 'an unknown chip'}: not measured, {by}")
        return replace(self._from_rate(model, chip, scaled, ""), samples=0)

    @property
    def now(self) -> Mapping[tuple[str, str], Rate]:
        """Rates that the workers of this moment show by themselves, where there are enough of a kind."""
        if self._now is None:
            self._now = rates_now(self.fleet)
        return self._now

    def _assume(self, text: str) -> None:
        self.assumptions[text] = None


def rates_now(fleet: Fleet) -> dict[tuple[str, str], Rate]:
    """Fitted to the ready workers of one moment, by (model, chip): one of them is enough, for it tells more than another chip would."""
    chips, found = chips_of(fleet.roster), {}
    workers: dict[tuple[str, str], list[Worker]] = {}
    for worker in fleet.heard_workers:
        row = fleet.roster.node_row.get(worker.node)
        if worker.state == "READY" and row is not None:
            workers.setdefault((worker.model, chips[row]), []).append(worker)
    for key, group in workers.items():
        rate = fit_rate(Readings(*(_column(group, name) for name in ("running", "tokens_per_s", "itl_p95_ms", "ttft_p95_ms"))), 1)
        if rate is not None:
            found[key] = rate
    return found


def _column(workers: Sequence[Worker], name: str) -> np.ndarray:
    values = [getattr(worker, name) for worker in workers]
    return np.array([np.nan if value is None else value for value in values])
