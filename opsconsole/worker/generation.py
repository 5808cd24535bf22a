"""One accepted request on its way to a client: tokens in from the engine, pieces of text out."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from .answers import Part, Usage
from .api import ApiError, Ask
from .lifecycle import narrate
from .loading import Loaded
from .logprobs import TokenScore, token_score
from .request import Delivery, Request, Score

if TYPE_CHECKING:
    from .service import Service


class Generation:
    """What the engine makes for one request, read by the handler that writes the answer."""

    def __init__(self, service: "Service", answer_id: str, ask: Ask, request: Request, loaded: Loaded) -> None:
        from .text import AnswerText

        self.id = answer_id
        self.request = request
        self._service = service
        self._ask = ask
        self._codec = loaded.codec
        self._resumed = len(ask.resume_token_ids)
        self._text = AnswerText(loaded.codec, ask.stops, ask.min_tokens)
        self._text.push(ask.resume_token_ids)  # the client has this part already
        self._arrivals: asyncio.Queue[Delivery | ApiError] = asyncio.Queue()
        """Bounded by the length of the answer, and by how long a client may leave it unread."""
        self._made = 0
        self._first_s: float | None = None
        self._last_s: float | None = None
        self._end = "abort"  # what it is unless the last token gets out

    @property
    def is_over_already(self) -> bool:
        """Whether what the client has holds the whole answer, so that there is nothing to continue."""
        return self._text.stopped

    @property
    def usage(self) -> Usage:
        """Tokens so far; an answer that was resumed counts as one answer."""
        return Usage(len(self.request.prompt_ids) - self._resumed, self._resumed + self._made)

    def arrive(self, event: Delivery | ApiError) -> None:
        """New tokens, or why there will be no more."""
        self._arrivals.put_nowait(event)

    def told(self, now_s: float) -> dict[str, Any]:
        """Its line in `GET /state`."""
        return {
            "id": self.id,
            "age_s": round(now_s - self.request.arrived_s, 3),
            "state": "waiting" if self.request.scheduled_s is None else "running",
            "prompt_tokens": self.usage.prompt_tokens,
            "tokens": self.usage.completion_tokens,
        }

    async def parts(self) -> AsyncIterator[Part]:
        """The answer, a piece for each step or for as many steps as the client was slow. Raises ApiError where it is cut."""
        while True:
            events = [await self._arrivals.get()]
            while not self._arrivals.empty():
                events.append(self._arrivals.get_nowait())
            error = next((event for event in events if isinstance(event, ApiError)), None)
            deliveries = events[: events.index(error)] if error else events
            if deliveries:
                part = self._part(deliveries)
                yield part
                if part.finish_reason:
                    self._end = part.finish_reason
                    return
            if error:
                self._end = "error"
                raise error

    def _part(self, deliveries: list[Delivery]) -> Part:
        said, token_ids, reason = "", [], None
        scores: list[TokenScore] | None = None if self._ask.logprobs is None else []
        for delivery in deliveries:
            self._count(delivery)
        for token, score, reason in _tokens_of(deliveries):
            token_ids.append(token)
            if scores is not None and score is not None:
                scores.append(token_score(self._codec, token, score, self._ask.logprobs, self._text.length_chars))
            if token in self._ask.stop_token_ids:
                reason = "stop"
            if reason != "stop":  # an end token is no part of the text
                said += self._text.push([token])
            if self._text.stopped:
                reason = "stop"
            if reason:
                break
        self._made += len(token_ids)
        return Part(said + self._text.finish() if reason else said, token_ids, reason, scores)

    def _count(self, delivery: Delivery) -> None:
        self._last_s = self._service.metrics.tokens(self.request, len(delivery.token_ids), self._last_s)
        self._first_s = self._first_s or self._last_s

    def close(self) -> None:
        """Give back what the request holds; call it once, however the answer ended."""
        self._service.close(self, self._end)
        if self._service.options.log_requests:
            self._log()

    def _log(self) -> None:
        arrived_s, usage = self.request.arrived_s, self.usage
        narrate(
            "request",
            id=self.id,
            client=self.request.client,
            prompt_tokens=usage.prompt_tokens,
            tokens=usage.completion_tokens,
            ttft_ms=None if self._first_s is None else round((self._first_s - arrived_s) * 1000, 1),
            total_ms=round((time.monotonic() - arrived_s) * 1000, 1),
            reason=self._end,
        )


def _tokens_of(deliveries: list[Delivery]) -> Iterator[tuple[int, Score | None, str | None]]:
    """Each token with its score, and why the answer ends with it."""
    for token_ids, reason, scores in (delivery[1:] for delivery in deliveries):
        ends = [None] * (len(token_ids) - 1) + [reason]
        yield from zip(token_ids, scores or [None] * len(token_ids), ends, strict=True)
