"""Power limits that history shows to give more tokens for a joule and still carry what is asked for, each as a plan to look at."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from opsconsole.core.capacity import Capacity
from opsconsole.core.energy import CAP_STEP_W, best_cap, rows_of
from opsconsole.core.headlines import fresh_gpus
from opsconsole.core.power import limits_w
from opsconsole.core.situation import FULL_SHARE
from opsconsole.core.speeds import chips_of
from opsconsole.protocol import THROTTLE_LIMITING, THROTTLE_REASONS


@dataclass(frozen=True, slots=True)
class CapOffer:
    """One model on one chip."""

    model: str
    chip: str
    watts: float
    """Of each GPU."""
    tokens_per_joule: float
    now_w: float
    """The limit that most of its GPUs have now."""
    now_tokens_per_joule: float | None
    """None: nothing was measured under the present limit."""
    nodes: tuple[str, ...]
    """That serve the model with that chip, at another limit."""

    @property
    def mend(self) -> str:
        return f"opsconsole cap {self.nodes[0]} --watts {self.watts:.0f} --plan"


def cap_offers(capacity: Capacity) -> tuple[CapOffer, ...]:
    """Where history has at least two limits and the best of those that carry the demand at FULL_SHARE is not the present one."""
    fleet, chips = capacity.fleet, chips_of(capacity.fleet.roster)
    loads = {model.name: model.load for model in capacity.models}
    limits, found = limits_w(fleet), []
    for (model, chip), points in sorted(capacity.learned.caps.items()):
        load = loads.get(model)
        best = best_cap(points, min(load / FULL_SHARE, 1.0)) if load is not None else None
        rows: dict[str, list[int]] = {}
        for worker in fleet.heard_workers_of_model.get(model, ()):
            row = fleet.roster.node_row.get(worker.node)
            if row is not None and chips[row] == chip:
                rows.setdefault(worker.node, []).extend(rows_of(fleet, worker))
        if best is None or not rows:
            continue
        now_w = Counter(np.rint(limits[[gpu for gpus in rows.values() for gpu in gpus]]).tolist()).most_common(1)[0][0]
        other = tuple(node for node, gpus in rows.items() if (np.abs(limits[gpus] - best.cap_w) > CAP_STEP_W).any())
        now = next((point.tokens_per_joule for point in points if abs(point.cap_w - now_w) <= CAP_STEP_W / 2), None)
        if other and (now is None or best.tokens_per_joule > now):
            found.append(CapOffer(model, chip, best.cap_w, best.tokens_per_joule, now_w, now, other))
    return tuple(found)


def throttled(capacity: Capacity, here: np.ndarray) -> dict[str, int]:
    """How many of some GPUs, (G,) bool, are held back by what, in NVML's words; those that idle are held back by nothing."""
    bits = np.nan_to_num(fresh_gpus(capacity.fleet, "throttle")[here]).astype(np.int64)
    counts = {text: int(((bits & bit) != 0).sum()) for bit, text in THROTTLE_REASONS.items() if bit & THROTTLE_LIMITING}
    return {text: count for text, count in counts.items() if count}
