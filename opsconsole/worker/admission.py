"""Who waits for a slot and who is next: bounded in requests and in tokens, and fair between clients.

Fair means self-clocked fair queueing (Golestani, 1994), counted in tokens: the head of each client's line gets the mark
"tokens served when it came to the head + its own tokens", and the lowest mark goes first. So a client with fifty long prompts
delays one with a short prompt by a request at most, and two busy clients get the same number of tokens. Whoever has nothing
waiting has no mark above the clock, so a client is forgotten as soon as its line is empty.
"""

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field

from .request import Request


class QueueFull(Exception):
    """As much waits as may; the text says whether requests or tokens are too many."""


@dataclass(eq=False)
class _Line:
    """One client's waiting requests, first come first served."""

    begin: int
    """The clock when the head came to the head, in tokens."""
    number: int
    """Among equal marks the line that was opened first goes first, so that the order is the same each time."""
    requests: deque[Request] = field(default_factory=deque)

    @property
    def mark(self) -> tuple[int, int]:
        """The lower, the sooner."""
        return self.begin + tokens_of(self.requests[0]), self.number


class Admission:
    """The waiting requests. Not safe between threads: its owner holds a lock."""

    def __init__(self, limit: int, token_limit: int) -> None:
        self._limit, self._token_limit = limit, token_limit
        self._lines: dict[str, _Line] = {}
        self._order: list[_Line] = []
        """The same lines, the next one to be served first."""
        self._clock = 0
        """The mark of the request that left last."""
        self._opened = 0
        self._count = 0
        self.tokens = 0
        """Tokens of all that wait: their prompts, and the most that their answers may have."""

    def __len__(self) -> int:
        return self._count

    def put(self, request: Request, free_slots: int = 0) -> None:
        """Let it wait. Raises QueueFull; what a free slot is about to take is no part of the queue and is never refused."""
        cost = tokens_of(request)
        if self._count >= free_slots:
            self._refuse_beyond_bounds(cost, free_slots)
        line = self._lines.get(request.client)
        if line is not None:
            line.requests.append(request)
        else:
            self._opened += 1
            line = self._lines[request.client] = _Line(self._clock, self._opened, deque([request]))
            insort(self._order, line, key=_mark)
        self._count += 1
        self.tokens += cost

    def _refuse_beyond_bounds(self, cost: int, free_slots: int) -> None:
        staying = self._count - free_slots
        if staying >= self._limit:
            raise QueueFull(f"{staying} requests wait and {self._limit} may")
        # An empty queue takes any one request, so that none is refused for ever.
        if staying and (tokens := self.tokens * staying // self._count) + cost > self._token_limit:
            raise QueueFull(f"{tokens} tokens wait and {self._token_limit} may; this request has {cost}")

    def peek(self) -> Request | None:
        """Who is next; None when nobody waits."""
        return self._order[0].requests[0] if self._order else None

    def pop(self) -> Request:
        """Take out who is next. Raises IndexError when nobody waits."""
        line = self._order.pop(0)
        self._clock = line.mark[0]
        request = line.requests.popleft()
        self._forget(request)
        line.begin = self._clock
        self._put_back(line, request.client)
        return request

    def remove(self, request: Request) -> bool:
        """Take out one that is not wanted any more; False when it does not wait here."""
        line = self._lines.get(request.client)
        if line is None or request not in line.requests:
            return False
        # The line may get another head and with it another place.
        del self._order[bisect_left(self._order, line.mark, key=_mark)]
        line.requests.remove(request)
        self._forget(request)
        self._put_back(line, request.client)
        return True

    def _forget(self, request: Request) -> None:
        self._count -= 1
        self.tokens -= tokens_of(request)

    def _put_back(self, line: _Line, client: str) -> None:
        if line.requests:
            insort(self._order, line, key=_mark)
        else:
            del self._lines[client]


def tokens_of(request: Request) -> int:
    """What a request may cost: its prompt and the longest answer it may have."""
    return len(request.prompt_ids) + request.max_tokens


def _mark(line: _Line) -> tuple[int, int]:
    return line.mark
