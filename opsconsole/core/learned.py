"""What the past taught: rates, forecasts, burns and joules, as one value that every question about capacity may be given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from opsconsole.core.burn import Burn
from opsconsole.core.energy import CapPoint, Energy
from opsconsole.core.forecast import Forecast
from opsconsole.core.rates import Rate


@dataclass(frozen=True, eq=False)
class Learned:
    """All that was learned from the span since..until (epoch seconds). Whatever is not in a mapping is not known."""

    since: float = 0.0
    until: float = 0.0
    rates: Mapping[tuple[str, str], Rate] = field(default_factory=dict)
    """By (model, chip)."""
    demand: Mapping[str, Forecast] = field(default_factory=dict)
    """tokens/s that each model is asked for."""
    lately: Mapping[str, float] = field(default_factory=dict)
    """tokens/s that each model was asked for, a mean over the last minute before `until`."""
    power: Mapping[str, Forecast] = field(default_factory=dict)
    """W that the GPUs of each site draw, without PUE and without what is not a GPU."""
    burns: Mapping[str, tuple[Burn, ...]] = field(default_factory=dict)
    """Of each model with an objective, the shortest window first."""
    energy: Mapping[tuple[str, str], Energy] = field(default_factory=dict)
    """By (model, chip)."""
    caps: Mapping[tuple[str, str], tuple[CapPoint, ...]] = field(default_factory=dict)
    """What each power limit that was tried gave, the lowest first, by (model, chip)."""
    tokens_today: Mapping[str, float] = field(default_factory=dict)
    """Tokens that each model gave since midnight UTC, as far as history tells."""
    peak_over_mean: float | None = None
    """How far the busiest hundredth of the last day lay above its mean; None: no whole day was seen."""
    note: str = ""
    """Why little was learned, one sentence; "" when there is nothing to say."""

    @property
    def span_s(self) -> float:
        return max(self.until - self.since, 0.0)


NOTHING_LEARNED = Learned()
