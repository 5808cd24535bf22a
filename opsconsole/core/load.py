"""What each model is asked for and can give: requests that wait, tokens that are served, tokens that its ready workers could serve."""

from __future__ import annotations

from dataclasses import dataclass

from opsconsole.core.fleet import Fleet, Worker
from opsconsole.core.speeds import Speeds
from opsconsole.core.totals import known_sum

CLEAR_S = 60.0
"""Within so many seconds what waits now should be served, beside what comes meanwhile."""


@dataclass(frozen=True)
class Load:
    """One model now. None: not known."""

    ready: tuple[Worker, ...]
    served_tokens_per_s: float | None
    waiting: float | None
    """Requests at the router and in workers that have not begun."""
    tokens_per_request: float | None
    """Of those that ended lately: tokens a second over requests a second."""
    capacity_tokens_per_s: float | None
    """Of all ready workers at full batches; None as soon as one cannot be told."""

    @property
    def waiting_tokens(self) -> float | None:
        if self.waiting == 0:
            return 0.0
        return None if None in (self.waiting, self.tokens_per_request) else self.waiting * self.tokens_per_request

    @property
    def demand_tokens_per_s(self) -> float | None:
        """What is served now and what it would take to serve within CLEAR_S what waits."""
        if self.waiting_tokens is None:
            return None
        return (self.served_tokens_per_s or 0.0) + self.waiting_tokens / CLEAR_S


def load_of(fleet: Fleet, model: str, speeds: Speeds) -> Load:
    heard = fleet.heard_workers_of_model.get(model, ())
    ready = tuple(worker for worker in heard if worker.state == "READY")
    serving = [worker for worker in heard if worker.state in ("READY", "NOT_READY", "DRAINING")]
    served = known_sum(worker.tokens_per_s for worker in serving)
    requests = known_sum(worker.requests_per_s for worker in serving)
    each = served / requests if served and requests else None
    waiting = fleet.queue_of_model(model)
    waiting = waiting if waiting is not None and 0 <= waiting < float("inf") else None
    return Load(ready, served, waiting, each, speeds.total(ready))
