"""Rules tried on the past: what would have been raised, how often and for how long, had they held then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from opsconsole.core.alarm_book import Book
from opsconsole.core.alarm_memory import Memory
from opsconsole.core.alarm_rules import Rule
from opsconsole.core.alarms import JUMP_S, alarmed
from opsconsole.core.fleet import Fleet, Roster
from opsconsole.core.telling import covered

GAP_STEPS = 2.5
"""Moments further apart than so many steps have a gap between them: nobody watched."""


@dataclass(frozen=True, slots=True)
class Fired:
    """What one rule would have done. for_s: how long its alarms stood, one beside another counted twice; subjects: the most frequent."""

    rule: Rule
    times: int
    for_s: float
    longest_s: float
    subjects: tuple[tuple[str, int], ...]
    stands: int
    """Alarms that still stand at the end."""


class Trial:
    """Is shown the fleets of the past in their order, about every `step_s`."""

    def __init__(self, rules: Sequence[Rule], step_s: float) -> None:
        self._rules, self._jump_s = tuple(rules), max(JUMP_S, GAP_STEPS * step_s)
        self._before = Fleet()
        self._rosters: dict[int, tuple[Roster, Roster]] = {}
        self._since: dict[tuple[str, str], float] = {}
        self._ended: list[tuple[str, str, float]] = []
        self.moments, self.gaps = 0, 0
        self.watched_s = 0.0

    def see(self, fleet: Fleet) -> None:
        before = self._before
        shift = fleet.at - fleet.mono  # the clock that only runs has another beginning in each collector's life
        shown = replace(
            fleet, roster=self._roster(fleet.roster), mono=fleet.at, sampled_mono=fleet.sampled_mono + shift, alarms=before.alarms,
            alarm_book=Book(), alarm_memory=before.alarm_memory if self.moments else Memory(),
        )
        self._before = alarmed(before, shown, self._jump_s)
        step_s = fleet.at - before.at if self.moments else 0.0
        is_gap = step_s > self._jump_s
        self.moments, self.gaps = self.moments + 1, self.gaps + is_gap
        self.watched_s += 0.0 if is_gap else step_s
        self._count(self._before)

    def _roster(self, then: Roster) -> Roster:
        if id(then) not in self._rosters:
            self._rosters = {id(then): (then, replace(then, alarm_rules=self._rules))}
        return self._rosters[id(then)][1]

    def _count(self, fleet: Fleet) -> None:
        now = {(alarm.kind, alarm.subject) for alarm in fleet.alarms}
        still = now | covered(fleet)
        for key in [key for key in self._since if key not in still]:
            self._ended.append((*key, fleet.at - self._since.pop(key)))
        for key in now:
            self._since.setdefault(key, fleet.at)

    def fired(self) -> list[Fired]:
        """By rule, in their order; those that are off are left out."""
        at = self._before.at
        standing = [(*key, at - since) for key, since in self._since.items()]
        found = []
        for rule in self._rules:
            mine = [one for one in (*self._ended, *standing) if one[0] == rule.name]
            spans = [span_s for _, _, span_s in mine]
            subjects = Counter(subject for _, subject, _ in mine).most_common(3)
            stands = sum(kind == rule.name for kind, _, _ in standing)
            found += [Fired(rule, len(mine), sum(spans), max(spans, default=0.0), tuple(subjects), stands)] if rule.is_on else []
        return found
