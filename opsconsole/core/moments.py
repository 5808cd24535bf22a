"""The moments of a plan: what may have begun and what must have ended at each, so that guards and effects look at the worst of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from opsconsole.core.steps import Step


class Moment(NamedTuple):
    """Numbers of steps that may have begun, and of those among them that have surely ended."""

    begun: frozenset[int]
    ended: frozenset[int]


def moments(steps: Sequence[Step]) -> list[Moment]:
    """The moments of the steps, like ones once, in order."""
    return list(dict.fromkeys(moment_of_each(steps)))


def moment_of_each(steps: Sequence[Step]) -> list[Moment]:
    """For each step the moment when it runs and everything that need not wait for it has begun too.

    Steps name earlier ones in `after`, so one pass knows all that come before each.
    """
    before: list[int] = []  # bit masks: thousands of steps stay cheap
    for step in steps:
        mask = 0
        for number in step.after:
            mask |= before[number] | 1 << number
        before.append(mask)
    behind = [0] * len(steps)
    for number, mask in enumerate(before):
        while mask:
            low = mask & -mask
            behind[low.bit_length() - 1] |= 1 << number
            mask ^= low
    everything = (1 << len(steps)) - 1
    made: dict[tuple[int, int], Moment] = {}
    for number in range(len(steps)):
        key = (everything & ~behind[number], before[number])
        if key not in made:
            made[key] = Moment(_members(key[0]), _members(key[1]))
    return [made[everything & ~behind[number], before[number]] for number in range(len(steps))]


def _members(mask: int) -> frozenset[int]:
    members = []
    while mask:
        low = mask & -mask
        members.append(low.bit_length() - 1)
        mask ^= low
    return frozenset(members)


def chained(steps: Sequence[Step], first: int = 0) -> tuple[Step, ...]:
    """The same steps one after another; first: how many steps come before them in the plan."""
    return tuple(
        Step(step.text, step.node, step.worker, step.order, (first + number - 1,) if first + number else ())
        for number, step in enumerate(steps)
    )
