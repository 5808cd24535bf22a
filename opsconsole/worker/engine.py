"""Continuous batching: which request gets a slot, which step is dispatched next, and whose tokens came back.

One thread runs the loop. Each turn dispatches at most one prefill and one decode step and then reads the results of the
turn before, so the device always has the next step while the host deals with the last. With nothing to do it warms programs
that have come in since, and then sleeps.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from . import outcome
from .admission import Admission
from .programs import Shapes
from .request import Delivery, Request
from .runner import Piece


class StepRunner(Protocol):
    """What the engine needs of the device; a result's rows are read later with numpy."""

    shapes: Shapes
    packs: bool
    cold: str | None

    def prepare_rest(self, on_ready: Callable[[], None]) -> None: ...
    def warm(self, name: str) -> None: ...
    def stop(self) -> None: ...
    def prefill(self, pieces: list[Piece]) -> np.ndarray: ...
    def prefill_chunk(self, piece: Piece) -> np.ndarray: ...
    def decode(self, width: int, reach: int) -> np.ndarray: ...


class _Flight(NamedTuple):
    """A dispatched step: its result, and which row of it belongs to which slot and request."""

    result: np.ndarray
    rows: list[tuple[int, int, Request]]


class Engine:
    """Requests in by `submit`, deliveries out by `publish(list of Delivery)`, once a step, on the engine's thread."""

    def __init__(
        self, runner: StepRunner, eos_ids: tuple[int, ...], waiting: Admission, publish: Callable[[list[Delivery]], None],
        beat: Callable[[], None] = lambda: None, beat_s: float | None = None,
    ) -> None:
        """beat: called by the loop at every turn, and while it idles every beat_s (None: never)."""
        self._runner = runner
        self._shapes = runner.shapes
        self._eos_ids = frozenset(eos_ids)
        self._publish = publish
        self._beat, self._beat_s = beat, beat_s
        self._waiting = waiting
        self._slots: list[Request | None] = [None] * runner.shapes.slots
        self._held = [0] * runner.shapes.slots
        """Tokens each slot holds once all dispatched steps are done."""
        self._to_dispatch = [0] * runner.shapes.slots
        """Decode steps each slot still wants; an answer may end earlier."""
        self._partial: Piece | None = None
        """The next part of a long prompt; at most one such prompt is added at a time."""
        self._in_flight: deque[_Flight] = deque()
        self._changed = threading.Condition()
        self._stopping = False

    # What other threads may call.

    def submit(self, request: Request) -> None:
        """Queue a request. Raises QueueFull, or ValueError where it can never fit a slot."""
        if not request.prompt_ids or request.max_tokens < 1:
            raise ValueError("a request needs a prompt and at least one token to make")
        if len(request.prompt_ids) + request.max_tokens > self._shapes.max_len:
            raise ValueError("prompt and answer are longer than a slot")
        with self._changed:
            self._waiting.put(request, free_slots=self._slots.count(None))
            self._changed.notify()

    def cancel(self, request: Request) -> None:
        """Nobody wants the rest: leave the queue now, or the slot at the next step. Nothing more is delivered."""
        with self._changed:
            request.cancelled = True
            self._waiting.remove(request)
            self._changed.notify()

    def stop(self) -> None:
        """End the loop after the present step; what was not finished is dropped."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    @property
    def running(self) -> int:
        """Requests that hold a slot."""
        return sum(request is not None for request in self._slots)

    @property
    def waiting(self) -> int:
        """Requests that have been accepted and hold no slot yet."""
        return len(self._waiting)

    @property
    def cache_used(self) -> float:
        """Share of the cache's positions that hold a token, 0 to 1."""
        return sum(self._held) / (self._shapes.slots * self._shapes.max_len)

    # What only the engine's thread does.

    def run(self) -> None:
        """Serve until `stop`."""
        self._runner.prepare_rest(self._wake)
        try:
            while self._wait_for_work():
                self.step()
        finally:
            self._runner.stop()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _wait_for_work(self) -> bool:
        """True when there is work, False when the loop is to end."""
        while True:
            self._beat()
            with self._changed:
                if self._stopping:
                    return False
                if self._waiting or self._in_flight or self.running:
                    return True
                cold = self._runner.cold
                if cold is None:
                    self._changed.wait(self._beat_s)
            if cold is not None:
                self._runner.warm(cold)  # without the lock: who submits must not wait for it

    def step(self) -> None:
        """One turn of the loop: free, admit, dispatch, collect, publish."""
        with self._changed:
            self._free_cancelled()
            pieces = self._admit()
        if pieces:
            self._dispatch_prefill(pieces)
        decoding = self._dispatch_decode()
        deliveries: list[Delivery] = []
        while len(self._in_flight) > (1 if decoding else 0):
            self._collect(self._in_flight.popleft(), deliveries)
        if deliveries:
            self._publish(deliveries)

    def _free_cancelled(self) -> None:
        for slot, request in enumerate(self._slots):
            if request is not None and request.cancelled:
                self._free(slot)

    def _free(self, slot: int) -> None:
        self._slots[slot] = None
        self._held[slot] = self._to_dispatch[slot] = 0
        if self._partial is not None and self._partial.slot == slot:
            self._partial = None

    def _admit(self) -> list[Piece]:
        """The pieces of the next prefill step: the next part of a long prompt, or as many whole prompts as fit one step."""
        if self._partial is not None:
            return [self._partial]
        pieces: list[Piece] = []
        room = self._shapes.chunk
        free = [slot for slot, request in enumerate(self._slots) if request is None]
        most = len(free) if self._runner.packs else 1
        while self._waiting and len(pieces) < min(most, len(free)):
            length = len(self._waiting.peek().prompt_ids)
            is_long = length > self._shapes.chunk
            if length > room and not (is_long and not pieces):
                break
            slot = free[len(pieces)]
            request = self._waiting.pop()
            request.scheduled_s = time.monotonic()
            self._slots[slot] = request
            room -= length
            pieces.append(Piece(request, slot, 0, min(length, self._shapes.chunk)))
        return pieces

    def _dispatch_prefill(self, pieces: list[Piece]) -> None:
        first = pieces[0]
        if len(first.request.prompt_ids) > self._shapes.chunk:
            result = self._runner.prefill_chunk(first)
            self._partial = None if first.is_final else _next_piece(first, self._shapes.chunk)
        else:
            result = self._runner.prefill(pieces)
        for piece in pieces:
            self._held[piece.slot] = piece.stop
            self._to_dispatch[piece.slot] = piece.request.max_tokens - 1 if piece.is_final else 0
        rows = [(row, piece.slot, piece.request) for row, piece in enumerate(pieces) if piece.is_final]
        self._in_flight.append(_Flight(result, rows))

    def _dispatch_decode(self) -> bool:
        """Dispatch a decode step if some slot wants one."""
        live = [slot for slot, wanted in enumerate(self._to_dispatch) if wanted > 0]
        if not live:
            return False
        reach = max(self._held[slot] for slot in live) + 1
        result = self._runner.decode(live[-1] + 1, reach)
        for slot in live:
            self._held[slot] += 1
            self._to_dispatch[slot] -= 1
        self._in_flight.append(_Flight(result, [(slot, slot, self._slots[slot]) for slot in live]))
        return True

    def _collect(self, flight: _Flight, deliveries: list[Delivery]) -> None:
        result = np.asarray(flight.result)  # waits for the device
        tokens = outcome.tokens_of(result)
        for row, slot, request in flight.rows:
            # A request that ended or was cancelled since leaves rows behind in steps already dispatched.
            if self._slots[slot] is request:
                scores = None if request.logprobs is None else [outcome.score_of(result, row, request.logprobs)]
                deliveries.append(Delivery(request, [tokens[row]], self._accept(slot, request, tokens[row]), scores))

    def _accept(self, slot: int, request: Request, token: int) -> str | None:
        """Why the answer ends with this token; None while it goes on."""
        request.generated += 1
        reason = None
        if token in self._eos_ids and not request.ignore_eos:
            reason = "stop"
        elif request.generated >= request.max_tokens:
            reason = "length"
        if reason:
            self._free(slot)
        return reason


def _next_piece(piece: Piece, chunk: int) -> Piece:
    return Piece(piece.request, piece.slot, piece.stop, min(piece.stop + chunk, len(piece.request.prompt_ids)))
