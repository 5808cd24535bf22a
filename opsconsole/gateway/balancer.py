"""Decides which waiting request goes to which worker: no clock, no socket, so every rule of the queue can be tested as plain values.

Times are seconds on whatever clock the caller uses, as long as it is always the same one.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

REST_S = 1.0
"""How long a worker that refused, or could not be reached, is left alone."""


class UnknownModel(LookupError):
    """No routes name this model."""


class QueueFull(RuntimeError):
    """As many requests wait for this model as may."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One entry of the routes; `slots` is how many requests it may have at once."""

    name: str
    url: str
    slots: int
    resumes: bool = False
    """Whether it can go on with an answer that another worker began."""
    drain: bool = False
    """It keeps its place in the routes and gets no more requests."""


Routes = Mapping[str, tuple[Worker, ...]]
"""The workers of each model. A model with no workers is known: its requests wait."""


@dataclass(eq=False, slots=True)
class Ticket:
    """One request's place in the queue of its model; it keeps its number when it has to queue again."""

    model: str
    number: int
    arrived_s: float


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
    """The number of its latest assignment: equally loaded workers take turns."""

    @property
    def routed(self) -> bool:
        """Whether it gets requests."""
        return self.listed and not self.worker.drain

    @property
    def state(self) -> str:
        """gone: no longer in the routes, and here until its last request has ended."""
        return "ready" if self.routed else "draining" if self.listed else "gone"

    def preference(self) -> tuple[float, int]:
        return self.in_flight / self.worker.slots, self.last_turn

    def is_free(self, now_s: float) -> bool:
        return self.in_flight < self.worker.slots and self.rest_until_s <= now_s


class Balancer:
    def __init__(self, queue_limit: int) -> None:
        self._queue_limit = queue_limit
        self._routed_models: frozenset[str] = frozenset()
        self._queues: dict[str, deque[Ticket]] = {}
        self._seats: dict[str, dict[tuple[str, str], Seat]] = {}
        """By model, then by (name, url): a worker replaced under its old name is another worker, free at once."""
        self._ticket_count = 0
        self._turn_count = 0

    def replace(self, routes: Routes) -> None:
        """Follow new routes. Requests that wait, or are in flight on a worker now gone, stay as they are."""
        self._routed_models = frozenset(routes)
        for model in self.models():
            seats = self._reseat(model, routes.get(model, ()))
            if seats or model in routes or self.queued(model):
                self._seats[model] = seats
            else:
                self._seats.pop(model, None)
                self._queues.pop(model, None)

    def _reseat(self, model: str, workers: tuple[Worker, ...]) -> dict[tuple[str, str], Seat]:
        old_seats = self._seats.get(model, {})
        seats = {}
        for worker in workers:
            key = (worker.name, worker.url)
            seats[key] = seat = old_seats.get(key) or Seat(model, worker)
            seat.worker, seat.listed = worker, True
        for key, seat in old_seats.items():
            if key not in seats and seat.in_flight:
                seats[key] = seat
                seat.listed = False
        return seats

    def admit(self, model: str, now_s: float) -> Ticket:
        """Give a newcomer its number, or raise UnknownModel or QueueFull."""
        if model not in self._routed_models:
            raise UnknownModel(model)
        queued = self.queued(model)
        if queued >= self._queue_limit and (queued or not self._free_seats(model, now_s)):
            raise QueueFull(model)
        self._ticket_count += 1
        return Ticket(model, self._ticket_count, now_s)

    def wait(self, ticket: Ticket) -> None:
        """Put a ticket into its queue by its number: one that a worker refused stands where it stood before."""
        queue = self._queues.setdefault(ticket.model, deque())
        place = len(queue)
        if queue and queue[-1].number > ticket.number:
            place = next(i for i, other in enumerate(queue) if other.number > ticket.number)
        queue.insert(place, ticket)

    def leave(self, ticket: Ticket) -> None:
        """Take a ticket out of its queue if it still waits there."""
        queue = self._queues.get(ticket.model, ())
        if ticket in queue:
            queue.remove(ticket)

    def assign(self, now_s: float) -> list[tuple[Ticket, Seat]]:
        """Give every ticket that can go now its worker, oldest ticket first, least loaded worker first."""
        assignments = []
        for model, queue in self._queues.items():
            while queue and (free := self._free_seats(model, now_s)):
                assignments.append((queue.popleft(), self._occupy(min(free, key=Seat.preference))))
        return assignments

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
        """When a resting worker could next take somebody who waits; None: nothing to wait for."""
        ends_s = [
            seat.rest_until_s
            for model, queue in self._queues.items() if queue
            for seat in self._seats.get(model, {}).values()
            if seat.routed and seat.rest_until_s > now_s and seat.in_flight < seat.worker.slots
        ]
        return min(ends_s, default=None)

    def models(self) -> list[str]:
        """Every model routed now, or still waited for, or still in flight."""
        return sorted(self._routed_models | self._seats.keys() | self._queues.keys())

    def routed_models(self) -> list[str]:
        return sorted(self._routed_models)

    def queued(self, model: str) -> int:
        return len(self._queues.get(model, ()))

    def seats(self, model: str) -> list[Seat]:
        return list(self._seats.get(model, {}).values())
