"""What has to be remembered from one second to the next so that an alarm neither flaps nor storms: how long what has been so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from opsconsole.core.alarm_rules import Rule

DAMPING_S = 1800.0
"""An alarm raised again within so long after it was raised has to be over for longer than the last time before it is cleared."""
DAMPED_CLEAR_S = 10.0
CLEAR_MOST_S = 900.0
RAISES_KEPT = 8


class Found(NamedTuple):
    """What a rule finds to be wrong at one moment."""

    rule: str
    subject: str
    severity: int
    text: str
    detail: str = ""
    node: str = ""
    """The node that says it: while it cannot be heard, nothing is known of this."""
    brief: str = ""
    """What is wrong, without the subject: for an alarm that stands for several."""
    size: int = 1
    at_once: bool = False
    """Whether it needs no for_s."""
    groups: tuple[str, ...] = ()
    """Beside the places of its node: what it may be grouped by, as "model NAME"."""
    because: tuple[str, ...] = ()
    """Nodes that cannot be heard, without which this would not be so."""

    @property
    def key(self) -> tuple[str, str]:
        return self.rule, self.subject


class Track(NamedTuple):
    """One thing that is wrong, was just now, or was raised lately."""

    found: Found
    is_found: bool = True
    pending_s: float = 0.0
    over_s: float = 0.0
    raised_at: float | None = None
    """Epoch seconds; None: not raised."""
    raises: tuple[float, ...] = ()
    """When it was raised within DAMPING_S, on the clock that `Memory.passed_s` counts."""

    def followed(self, found: Found | None, dt_s: float) -> Track:
        if found is None:
            return self._replace(is_found=False, pending_s=0.0, over_s=self.over_s + dt_s)
        return self._replace(found=found, is_found=True, pending_s=self.pending_s + dt_s if self.is_found else 0.0, over_s=0.0)

    def clear_s(self, rule: Rule) -> float:
        """How long it has to be gone: longer with each time that it came back."""
        times = len(self.raises)
        return rule.clear_s if times < 2 else min(CLEAR_MOST_S, max(rule.clear_s, DAMPED_CLEAR_S) * 2.0 ** (times - 1))


class Act(NamedTuple):
    """Something that was done to the fleet: what an alarm soon after may come from."""

    at: float
    subject: str
    text: str
    actor: str


class Demand(NamedTuple):
    """Requests in flight or waiting of a model, smoothed; by how many they grow each second; and as they were just told."""

    level: float
    slope_per_s: float
    now: float
    seen_s: float = 0.0
    """For how long it has been looked at."""


@dataclass(frozen=True, slots=True)
class Memory:
    """passed_s: seconds that were watched, without those slept through: what all durations are counted on."""

    passed_s: float = 0.0
    held_until_s: float = 0.0
    """Until then, on the same clock, nothing is raised or cleared: the console has just woken up and has old values in hand."""
    tracks: dict[tuple[str, str], Track] = field(default_factory=dict)
    groups: frozenset[tuple[str, str]] = frozenset()
    """(rule, place) of the groups that are told as one alarm."""
    burns: dict[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)
    demands: dict[str, Demand] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    """By worker, as last told."""
    restarted: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """When workers were started again lately, by worker."""
    acts: tuple[Act, ...] = ()
    """The newest last."""
    known_since: dict[str, float] = field(default_factory=dict)
    """By id of the alarm: since when it stood when the collector before this one ended; after some minutes only those that still do."""

    @property
    def is_held(self) -> bool:
        return self.passed_s < self.held_until_s
