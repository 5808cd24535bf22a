"""Keeps a fast hand from queueing up slow reads: one question is under way at a time, and after it only the newest that came meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

Question = TypeVar("Question")


class Newest(Generic[Question]):
    """ask: answers one question and never raises. start: runs a coroutine beside the screen, as App.run_worker does."""

    def __init__(self, start: Callable[..., Any], ask: Callable[[Question], Awaitable[None]]) -> None:
        self._start, self._ask = start, ask
        self._waiting: list[Question] = []
        self.is_busy = False

    def want(self, question: Question) -> None:
        """Ask this; what was wanted before it and is not under way yet is wanted no more."""
        self._waiting = [question]
        if not self.is_busy:
            self.is_busy = True
            self._start(self._work(), name="read", exit_on_error=False)

    def forget(self) -> None:
        """Nothing is wanted any more but what is under way."""
        self._waiting = []

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._ask(self._waiting.pop())
        finally:
            self.is_busy = False
