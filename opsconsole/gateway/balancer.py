"""Decides which waiting request goes to which worker: no clock, no socket, so every rule of the queue can be tested as plain values.

Times are seconds on whatever clock the caller uses, as long as it is always the same one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from opsconsole.gateway.fairness import FairQueue, Ticket
from opsconsole.gateway.pace import Pace

REST_S = 1.0
"""How long a worker that refused, or could not be reached, is left alone."""
RAMP_S = 10.0
"""How long a worker that is new beside others gets fewer requests than it has slots, at first one."""


class UnknownModel(LookupError):
    """No routes name this model."""


class QueueFull(RuntimeError):
    """As much waits for this model as may."""


class TooLate(RuntimeError):
    """By how fast requests went lately, this one would not be answered by its deadline. late_s: how much it would be late."""

    def __init__(self, late_s: float) -> None:
        super().__init__(f"{late_s:.3f} s too late")
        self.late_s = late_s


@dataclass(frozen=True, slots=True)
class Worker:
    """One entry of the routes; `slots` is how many requests it may have at once."""

    name: str
    url: str
    slots: int
    resumes: bool = False
    """Whether it can go on with an answer that another worker began."""
    weights: str = ""
    """What its answers are made with: an answer that it began is gone on with by the same weights alone."""
    drain: bool = False
    """It keeps its place in the routes and gets no more requests."""


Routes = Mapping[str, tuple[Worker, ...]]
"""The workers of each model. A model with no workers is known: its requests wait."""


@dataclass(eq=False, slots=True)
class Seat:
    """What one worker holds. It outlives its route until the last request on it has ended."""

    model: str
    worker: Worker
    listed: bool = True
    """Whether the routes name it."""
    in_flight: int = 0
    assigned: int = 0
    """Requests ever given to it: when this stands still, nothing new arrives there."""
    rest_until_s: float = 0.0
    last_turn: int = 0
    """The number of its latest assignment: equally good workers take turns."""
    new_since_s: float = -math.inf
    """When the routes first named it, if others served its model before."""
    pace: Pace = field(default_factory=Pace)

    @property
    def routed(self) -> bool:
        """Whether it gets requests."""
        return self.listed and not self.worker.drain

    @property
    def state(self) -> str:
        """gone: no longer in the routes, and here until its last request has ended."""
        return "ready" if self.routed else "draining" if self.listed else "gone"

    def may_hold(self, now_s: float) -> int:
        """Its slots; fewer in its first seconds."""
        age = (now_s - self.new_since_s) / RAMP_S
        return self.worker.slots if age >= 1 else min(self.worker.slots, 1 + int(self.worker.slots * age))

    def is_free(self, now_s: float) -> bool:
        return self.in_flight < self.may_hold(now_s) and self.rest_until_s <= now_s

    def free_at_s(self, now_s: float) -> float | None:
        """When it could take one more without any of its requests ending; None: not before one ends."""
        if self.in_flight >= self.worker.slots:
            return None
        ramped_s = now_s if self.in_flight < self.may_hold(now_s) else self.new_since_s + RAMP_S * self.in_flight / self.worker.slots
        return max(self.rest_until_s, ramped_s)


class Balancer:
    def __init__(self, queue_limit: int, token_limit: int) -> None:
        """Limits of each model's queue, in requests and in tokens."""
        self._limits = queue_limit, token_limit
        self._routed_models: frozenset[str] = frozenset()
        self._queues: dict[str, FairQueue] = {}
        self._begun: dict[str, list[Ticket]] = {}
        """Those whose answer a worker has begun and not ended, by model: their clients have waited before, so they go first."""
        self._seats: dict[str, dict[tuple[str, str], Seat]] = {}
        """By model, then by (name, url): a worker replaced under its old name is another worker, free at once."""
        self._ticket_count = 0
        self._turn_count = 0
        self.pushed_out: list[Ticket] = []
        """Those that lost their place to a less greedy tenant; who reads them takes them out of here."""

    def replace(self, routes: Routes, now_s: float) -> None:
        """Follow new routes. Requests that wait, or are in flight on a worker now gone, stay as they are."""
        self._routed_models = frozenset(routes)
        for model in self.models():
            seats = self._reseat(model, routes.get(model, ()), now_s)
            if seats or model in routes or self.queued(model):
                self._seats[model] = seats
            else:
                self._seats.pop(model, None)
                self._queues.pop(model, None)
                self._begun.pop(model, None)

    def _reseat(self, model: str, workers: tuple[Worker, ...], now_s: float) -> dict[tuple[str, str], Seat]:
        old_seats = self._seats.get(model, {})
        others_serve = any(seat.routed for seat in old_seats.values())
        seats = {}
        for worker in workers:
            key = (worker.name, worker.url)
            seats[key] = seat = old_seats.get(key) or Seat(model, worker, new_since_s=now_s if others_serve else -math.inf)
            seat.worker, seat.listed = worker, True
        for key, seat in old_seats.items():
            if key not in seats and seat.in_flight:
                seats[key] = seat
                seat.listed = False
        return seats

    def admit(self, model: str, now_s: float, tenant: str = "", tokens: int = 1, deadline_s: float = math.inf) -> Ticket:
        """Give a newcomer its number, or raise UnknownModel, TooLate or QueueFull.

        A full queue makes room for it at the cost of the greediest tenant, if that is not its own.
        """
        if model not in self._routed_models:
            raise UnknownModel(model)
        if deadline_s < math.inf and (late_s := now_s + self._expected_s(model, tenant, now_s) - deadline_s) > 0:
            raise TooLate(late_s)
        queue = self._queue(model)
        if not queue.has_room(tokens) and (len(queue) or not self._free_seats(model, now_s)):
            out = queue.greediest_but(tenant)
            if out is None:
                raise QueueFull(model)
            queue.remove(out)
            self.pushed_out.append(out)
        self._ticket_count += 1
        return Ticket(model, self._ticket_count, now_s, tenant, tokens, deadline_s)

    def _expected_s(self, model: str, tenant: str, now_s: float) -> float:
        """How long a newcomer will be without the first bytes of its answer, as far as is known: 0 where nobody can say."""
        seats = [seat for seat in self.seats(model) if seat.routed]
        first_s = min((seat.pace.ttft_s for seat in seats if seat.pace.ttft_s is not None), default=0.0)
        queue = self._queue(model)
        if not len(queue) and any(seat.is_free(now_s) for seat in seats):
            return first_s
        per_s = sum(seat.worker.slots / seat.pace.service_s for seat in seats if seat.pace.service_s)
        return (queue.ahead_of(tenant) + 1) / per_s + first_s if per_s else 0.0

    def _queue(self, model: str) -> FairQueue:
        return self._queues.setdefault(model, FairQueue(*self._limits))

    def wait(self, ticket: Ticket) -> None:
        """Put a ticket into its queue: one that a worker refused stands where it stood before."""
        if ticket.weights is None:
            self._queue(ticket.model).put(ticket)
        else:
            self._begun.setdefault(ticket.model, []).append(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Take a ticket out of its queue if it still waits there."""
        if ticket in self._begun.get(ticket.model, ()):
            self._begun[ticket.model].remove(ticket)
        elif ticket.model in self._queues:
            self._queues[ticket.model].remove(ticket)

    def assign(self, now_s: float) -> list[tuple[Ticket, Seat]]:
        """Give every ticket that can go now its worker: the fairest ticket first, to the worker that will answer first."""
        assignments = self._assign_begun(now_s)
        for model, queue in self._queues.items():
            while len(queue) and (free := self._free_seats(model, now_s)):
                assignments.append((queue.pop(), self._occupy(_soonest(free, now_s))))
        return assignments

    def _assign_begun(self, now_s: float) -> list[tuple[Ticket, Seat]]:
        assignments = []
        for ticket in [ticket for tickets in self._begun.values() for ticket in tickets]:
            fitting = [seat for seat in self._free_seats(ticket.model, now_s) if seat.worker.weights == ticket.weights]
            if fitting:
                self._begun[ticket.model].remove(ticket)
                assignments.append((ticket, self._occupy(_soonest(fitting, now_s))))
        return assignments

    def serves(self, model: str, weights: str) -> bool:
        """Whether a worker that can go on with an answer of these weights gets requests."""
        return any(seat.routed and seat.worker.resumes and seat.worker.weights == weights for seat in self.seats(model))

    def _free_seats(self, model: str, now_s: float) -> list[Seat]:
        return [seat for seat in self._seats.get(model, {}).values() if seat.routed and seat.is_free(now_s)]

    def _occupy(self, seat: Seat) -> Seat:
        self._turn_count += 1
        seat.last_turn = self._turn_count
        seat.in_flight += 1
        seat.assigned += 1
        return seat

    def release(self, seat: Seat) -> None:
        """A request on this worker has ended, however it ended."""
        seat.in_flight -= 1
        if not seat.listed and not seat.in_flight:
            seats = self._seats[seat.model]
            key = (seat.worker.name, seat.worker.url)
            if seats.get(key) is seat:
                del seats[key]

    def rest(self, seat: Seat, now_s: float) -> None:
        """This worker took nothing just now: leave it alone for a moment."""
        seat.rest_until_s = now_s + REST_S

    def next_wake_s(self, now_s: float) -> float | None:
        """When a worker that rests, or is new, could next take somebody who waits; None: nothing to wait for."""
        moments_s = [
            moment_s
            for model in self._queues.keys() | self._begun.keys() if self.queued(model)
            for seat in self._seats.get(model, {}).values() if seat.routed
            if (moment_s := seat.free_at_s(now_s)) is not None and moment_s > now_s
        ]
        return min(moments_s, default=None)

    def models(self) -> list[str]:
        """Every model routed now, or still waited for, or still in flight."""
        return sorted(self._routed_models | self._seats.keys() | self._queues.keys() | self._begun.keys())

    def routed_models(self) -> list[str]:
        return sorted(self._routed_models)

    def queued(self, model: str) -> int:
        return len(self._queues.get(model, ())) + len(self._begun.get(model, ()))

    def queued_tokens(self, model: str) -> int:
        return self._queues[model].tokens if model in self._queues else 0

    def seats(self, model: str) -> list[Seat]:
        return list(self._seats.get(model, {}).values())


def _soonest(free: list[Seat], now_s: float) -> Seat:
    """The worker that will answer first: by its measured pace, slower the fuller it is; one without a measure counts as the others do."""
    paces = {id(seat): pace for seat in free if (pace := seat.pace.answer_s(now_s)) is not None}
    usual = sum(paces.values()) / len(paces) if paces else 1.0
    return min(free, key=lambda seat: (paces.get(id(seat), usual) * (1 + seat.in_flight / seat.worker.slots), seat.last_turn))
