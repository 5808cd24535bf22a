"""When the demo's users ask: seeded arrivals that follow a plan and never wait for answers, as a public does not.

A clump is four requests at one moment; `burst` is the share of requests that come in clumps. The mean rate is the same for any `burst`.
"""

import heapq
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass

CLUMP = 4


class BrokenPlan(ValueError):
    """The text is not a plan; the message names the place."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What the public asks of one model."""

    requests_per_s: float
    max_tokens_low: int
    max_tokens_high: int
    burst: float = 0.0


Plan = Mapping[str, Demand]


def parse_plan(text: str) -> Plan:
    """{"models": {MODEL: {"requests_per_s": 6.0, "max_tokens": [16, 64], "burst": 0.3}}}; `burst` may be left out."""
    try:
        models = json.loads(text)["models"]
        return {model: _parse_demand(**demand) for model, demand in models.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BrokenPlan(f"{type(error).__name__}: {error}") from error


def _parse_demand(requests_per_s: float, max_tokens: list[int], burst: float = 0.0) -> Demand:
    low, high = max_tokens
    if not (0 <= requests_per_s < float("inf") and 1 <= low <= high and 0 <= burst <= 1):
        raise ValueError("requests_per_s is 0 or more, max_tokens is [low, high] from 1, burst is 0 to 1")
    return Demand(float(requests_per_s), int(low), int(high), float(burst))


@dataclass(frozen=True, slots=True)
class Arrival:
    model: str
    max_tokens: int


class Arrivals:
    """Which requests are due by a given time; each model has its own dice, so that one's plan does not move another's."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._dice: dict[str, random.Random] = {}
        self._plan: Plan = {}
        self._due: list[tuple[float, str]] = []

    def replace(self, plan: Plan, now_s: float) -> None:
        """Follow a new plan from now on. Models whose demand is as it was keep the moments already drawn."""
        kept = [(due_s, model) for due_s, model in self._due if plan.get(model) == self._plan.get(model)]
        drawn = {model for _, model in kept}
        self._plan, self._due = plan, kept
        heapq.heapify(self._due)
        for model in sorted(plan.keys() - drawn):
            self._dice.setdefault(model, random.Random(f"{self._seed}/{model}"))
            self._draw(model, now_s)

    def _draw(self, model: str, after_s: float) -> None:
        demand = self._plan[model]
        if demand.requests_per_s:
            mean_size = 1 + (CLUMP - 1) * _clump_chance(demand.burst)
            gap_s = self._dice[model].expovariate(demand.requests_per_s / mean_size)
            heapq.heappush(self._due, (after_s + gap_s, model))

    def next_s(self) -> float | None:
        return self._due[0][0] if self._due else None

    def take_due(self, now_s: float) -> list[Arrival]:
        arrivals = []
        while self._due and self._due[0][0] <= now_s:
            due_s, model = heapq.heappop(self._due)
            dice, demand = self._dice[model], self._plan[model]
            size = CLUMP if dice.random() < _clump_chance(demand.burst) else 1
            arrivals += [Arrival(model, dice.randint(demand.max_tokens_low, demand.max_tokens_high)) for _ in range(size)]
            self._draw(model, due_s)
        return arrivals


def _clump_chance(burst: float) -> float:
    """The chance of a moment to be a clump, such that `burst` of all requests are in clumps."""
    return burst / (CLUMP - (CLUMP - 1) * burst)
