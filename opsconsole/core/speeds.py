"""How many tokens a second a worker of a model gives on a chip: measured where one is busy, else compared by the chips' memory."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, lru_cache
from statistics import median

from opsconsole.core.fleet import Fleet, Roster, Worker
from opsconsole.physics import CHIPS

BANDWIDTH_GB_S = {"A100": 2039.0, "B200": 8000.0, "H100": 3350.0, "H200": 4800.0, "L40S": 864.0}
"""Memory bandwidth by the vendors' data sheets (SXM where there are several). Decoding reads all weights for each token, so chips
differ in it as their memory does; a chip that is not here counts as the slowest."""
BUSY_SHARE = 0.9
"""A worker with more of its slots running, or with requests waiting, gives what it can."""


def chip_of(roster: Roster, row: int) -> str:
    """The chip of a node: as the fleet file says, else as its first GPU is named; "" when neither tells."""
    said = roster.nodes[row].chip
    gpus = roster.gpus_of(row)
    name = said or (roster.gpu_name[gpus.start] if gpus.stop > gpus.start else "")
    return next((chip for chip in CHIPS if chip in name.upper()), said)


@lru_cache(maxsize=2)
def chips_of(roster: Roster) -> tuple[str, ...]:
    """Chip of each node, by row; kept for the roster asked for last, because a plan asks many times."""
    return tuple(chip_of(roster, row) for row in range(len(roster.nodes)))


def bandwidth_gb_s(chip: str) -> float:
    return BANDWIDTH_GB_S.get(chip, min(BANDWIDTH_GB_S.values()))


class Speeds:
    """Tokens a second of one worker by model and chip, as this fleet's ready workers show them."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    @cached_property
    def chips(self) -> tuple[str, ...]:
        """Chip of each node, by row."""
        return chips_of(self._fleet.roster)

    @cached_property
    def measured(self) -> dict[tuple[str, str], float]:
        """Median of the workers that are busy, by (model, chip)."""
        return {key: median(values) for key, values in self._told(busy_tokens_per_s).items()}

    @cached_property
    def _estimated(self) -> dict[tuple[str, str], float]:
        """Highest of the workers that are not: as many tokens for each slot as those that run now get."""
        return {key: max(values) for key, values in self._told(scaled_tokens_per_s).items()}

    def of(self, model: str, chip: str) -> float | None:
        """Tokens a second of a worker of the model on the chip; None when nothing was ever seen to tell it by."""
        for known in (self.measured, self._estimated):
            if (model, chip) in known:
                return known[model, chip]
            others = sorted((other, value) for (name, other), value in known.items() if name == model)
            if others:
                other, value = max(others, key=lambda pair: (bandwidth_gb_s(pair[0]), pair[0]))
                return value * bandwidth_gb_s(chip) / bandwidth_gb_s(other)
        return None

    def of_worker(self, worker: Worker) -> float | None:
        row = self._fleet.roster.node_row.get(worker.node)
        return None if row is None else self.of(worker.model, self.chips[row])

    def total(self, workers: Iterable[Worker]) -> float | None:
        """Tokens a second that workers give together; None as soon as one of them cannot be told."""
        speeds = [self.of_worker(worker) for worker in workers]
        return None if None in speeds else sum(speeds)

    def _told(self, tell) -> dict[tuple[str, str], list[float]]:
        told: dict[tuple[str, str], list[float]] = {}
        for worker in self._fleet.heard_workers:
            row = self._fleet.roster.node_row.get(worker.node)
            value = tell(worker) if worker.state == "READY" and row is not None else None
            if value:
                told.setdefault((worker.model, self.chips[row]), []).append(value)
        return told


def _fullness(worker: Worker) -> float | None:
    """Share of its slots that run, 1 when requests wait; None when not known."""
    if worker.queue_depth and worker.queue_depth > 0:
        return 1.0
    if not worker.slots or worker.running is None or worker.running != worker.running:
        return None
    return min(worker.running / worker.slots, 1.0)


def busy_tokens_per_s(worker: Worker) -> float | None:
    """What a busy worker gives; None for one that is not busy or does not tell."""
    fullness = _fullness(worker)
    given = _finite(worker.tokens_per_s)
    return given if given and fullness is not None and fullness >= BUSY_SHARE else None


def scaled_tokens_per_s(worker: Worker) -> float | None:
    """What a worker would give with all slots running, were each as fast as those that run now: an upper estimate, because batches slow
    each other; None for one that stands still or does not tell."""
    fullness = _fullness(worker)
    given = _finite(worker.tokens_per_s)
    return given / fullness if given and fullness else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and 0 <= value < float("inf") else None
