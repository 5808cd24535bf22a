"""Who is next among those that wait for one model: fair between tenants, bounded in requests and in tokens.

Fair means self-clocked fair queueing (Golestani, 1994), counted in tokens: the head of each tenant's line has the mark "clock when it
came to the head + its own tokens", the lowest mark goes first, and the clock is the mark of who went last. So a tenant with a thousand
requests delays one with a single request by one of its own at most. A tenant is forgotten as soon as its line is empty.
"""

import math
from bisect import bisect_left, insort
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Ticket:
    """One request's place in the queue of its model; it keeps its number when it has to queue again."""

    model: str
    number: int
    arrived_s: float
    tenant: str = ""
    tokens: int = 1
    """What it may cost: its prompt, as far as its length tells, and the longest answer it may have."""
    deadline_s: float = math.inf
    """When its client has no use for an answer any more."""
    weights: str | None = None
    """Of the worker that has begun its answer: no other weights may go on with it. None before."""
    begin: int | None = None
    """The clock when it came to the head of its line; None before."""


@dataclass(eq=False, slots=True)
class _Line:
    """One tenant's waiting requests, by number."""

    begin: int
    """The clock when the head came to the head."""
    opened: int
    """Among equal marks the line that was opened first goes first, so that the order is the same each time."""
    tickets: list[Ticket] = field(default_factory=list)

    @property
    def mark(self) -> tuple[int, int]:
        return self.begin + self.tickets[0].tokens, self.opened


class FairQueue:
    def __init__(self, limit: int, token_limit: int) -> None:
        self._limit, self._token_limit = limit, token_limit
        self._lines: dict[str, _Line] = {}
        self._order: list[_Line] = []
        """The same lines, the next one to be served first."""
        self._clock = 0
        self._opened = 0
        self._count = 0
        self.tokens = 0
        """Of all that wait."""

    def __len__(self) -> int:
        return self._count

    def has_room(self, tokens: int) -> bool:
        """Whether one more may wait. An empty queue takes any single request, so that none is too large for ever."""
        return self._count < self._limit and (self._count == 0 or self.tokens + tokens <= self._token_limit)

    def ahead_of(self, tenant: str) -> int:
        """How many requests would go before a new one of this tenant, if all were equally long."""
        own = len(self._lines[tenant].tickets) if tenant in self._lines else 0
        return own + sum(min(len(line.tickets), own + 1) for name, line in self._lines.items() if name != tenant)

    def greediest_but(self, tenant: str) -> Ticket | None:
        """The newest request of the longest line, if that one is longer than this tenant's would be: what makes room for a newcomer.
        None: the newcomer is no less greedy than anybody, or all of the longest line has been with a worker before."""
        own = len(self._lines[tenant].tickets) if tenant in self._lines else 0
        longest = max(self._lines.values(), key=lambda line: len(line.tickets), default=None)
        if longest is None or len(longest.tickets) <= own + 1:
            return None
        newest = longest.tickets[-1]
        return newest if newest.begin is None else None

    def put(self, ticket: Ticket) -> None:
        """Let it wait; one that has been at the head before stands there again."""
        line = self._lines.get(ticket.tenant)
        if line is None:
            self._opened += 1
            line = self._lines[ticket.tenant] = _Line(self._clock, self._opened)
        else:
            self._take_out(line)
        head = line.tickets[0] if line.tickets else None
        insort(line.tickets, ticket, key=_number)
        if line.tickets[0] is not head:
            line.begin = self._clock if ticket.begin is None else ticket.begin
        insort(self._order, line, key=_mark)
        self._count += 1
        self.tokens += ticket.tokens

    def pop(self) -> Ticket:
        """Take out who is next. Raises IndexError when nobody waits."""
        line = self._order.pop(0)
        ticket = line.tickets.pop(0)
        ticket.begin = line.begin
        self._clock = max(self._clock, line.begin + ticket.tokens)
        self._forget(ticket)
        line.begin = self._clock
        self._put_back(line, ticket.tenant)
        return ticket

    def remove(self, ticket: Ticket) -> bool:
        """Take out one that is not wanted any more; False when it does not wait here."""
        line = self._lines.get(ticket.tenant)
        if line is None or ticket not in line.tickets:
            return False
        self._take_out(line)
        line.tickets.remove(ticket)
        self._forget(ticket)
        self._put_back(line, ticket.tenant)
        return True

    def _take_out(self, line: _Line) -> None:
        """A line whose head changes gets another place in the order."""
        del self._order[bisect_left(self._order, line.mark, key=_mark)]

    def _forget(self, ticket: Ticket) -> None:
        self._count -= 1
        self.tokens -= ticket.tokens

    def _put_back(self, line: _Line, tenant: str) -> None:
        if line.tickets:
            insort(self._order, line, key=_mark)
        else:
            del self._lines[tenant]


def _mark(line: _Line) -> tuple[int, int]:
    return line.mark


def _number(ticket: Ticket) -> int:
    return ticket.number
