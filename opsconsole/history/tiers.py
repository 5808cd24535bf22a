"""How finely the past is kept: seconds for days, minutes for weeks, ten minutes for a year; each tier is made of the one before.

A step of a coarser tier has four numbers: the mean of the readings in it, how far the lowest of them is below and the highest above that
mean, and how many seconds had one. A step without any reading has none. Windows are the rows of steps that one chunk holds; they begin at
whole multiples of their length.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from opsconsole.history.codec import NONE


class Tier(NamedTuple):
    step_s: int
    ticks: int
    """In one chunk."""

    @property
    def window_s(self) -> int:
        return self.step_s * self.ticks

    def window(self, t: int) -> int:
        """Where the window begins that `t` lies in."""
        return t // self.window_s * self.window_s


SECONDS, MINUTES, TENS = TIERS = (Tier(1, 120), Tier(60, 60), Tier(600, 72))
COARSER = {SECONDS: MINUTES, MINUTES: TENS, TENS: None}
FINER = {MINUTES: SECONDS, TENS: MINUTES}
PLANES = ("mean", "below", "above", "readings")
"""Of a coarser tier; seconds have the first alone."""


def rolled_up(planes: np.ndarray, ticks: int) -> np.ndarray:
    """(1 or PLANES, S, T) counts as the (PLANES, S, T / ticks) of the next tier."""
    mean, *more = (plane.reshape(plane.shape[0], -1, ticks) for plane in planes)
    known = mean != NONE
    low, high, weights = (mean - more[0], mean + more[1], np.where(known, more[2], 0)) if more else (mean, mean, known)
    number = weights.sum(axis=2, dtype=np.int64)
    some = number > 0
    total = np.where(known, mean * weights, 0).sum(axis=2)
    means = np.where(some, np.rint(total / np.maximum(number, 1)).astype(np.int64), NONE)
    lowest = np.where(known, low, np.iinfo(np.int64).max).min(axis=2)
    highest = np.where(known, high, np.iinfo(np.int64).min).max(axis=2)
    return np.stack([means, *(np.where(some, plane, NONE) for plane in (means - lowest, highest - means, number))])
