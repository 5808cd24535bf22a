"""What the operator has declared of the fleet, in the fleet file: its feeds of power, its models, and the limits of every action."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Price(NamedTuple):
    """What a GPU of a chip costs at a site while the entry holds. kind: on-demand, reserved or spot."""

    chip: str
    kind: str
    usd_per_gpu_hour: float
    gpus: int = 0
    """How many are had at it; 0: all that no other entry covers."""
    since: float | None = None
    """Epoch seconds; None: it always held."""
    until: float | None = None
    """Epoch seconds; from then on it holds no more. None: no end is known."""

    def holds(self, at: float) -> bool:
        return (self.since is None or self.since <= at) and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class Site:
    name: str
    provider: str = ""
    power_budget_kw: float | None = None
    pue: float | None = None
    price_per_gpu_hour: dict[str, float] = field(default_factory=dict)
    """USD an hour by chip, where no entry of `prices` holds."""
    prices: tuple[Price, ...] = ()
    node_overhead_w: float | None = None
    """What each node draws beside its GPUs (processors, fans, network), before PUE."""
    budget_usd_per_month: float | None = None


@dataclass(frozen=True, slots=True)
class Rack:
    """A rack whose feed has a budget of its own, within that of its site; no cooling hangs on it, so no PUE counts."""

    name: str
    site: str
    power_budget_kw: float


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    engine: str = "jax"
    checkpoint: str = ""
    gpus: int = 1
    gpu_share: float = 1.0
    """Of one GPU's memory, above 0 to 1; below 1 several workers may share a GPU."""
    slots: int = 8
    max_len: int = 512
    min_ready: int = 0
    ttft_p95_ms: float | None = None
    """Objective; None: no objective."""
    itl_p95_ms: float | None = None
    tokens_per_day: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    max_unavailable: int = 1
    power_headroom_pct: float = 10.0
