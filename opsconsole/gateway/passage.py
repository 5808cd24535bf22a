"""One request's way through the gateway: what goes to each worker that gets it, and what its client has been sent so far."""

import asyncio
from collections.abc import AsyncIterator, Callable

import aiohttp
from aiohttp import web

from opsconsole.gateway import refusals
from opsconsole.gateway.balancer import Seat
from opsconsole.gateway.continuation import DATA, MOVES_LIMIT, Continuation
from opsconsole.gateway.fairness import Ticket

OF_A_STREAM = ("content-type", "cache-control")
ENDINGS = (b"data: [DONE]", b"data:[DONE]")

Answered = tuple[web.StreamResponse, str]
"""The response, and the word that the metrics count it under."""


class Passage:
    """From the client to one worker, or, for an answer that can be resumed, to several in turn."""

    def __init__(
        self, request: web.Request, body: bytes, ticket: Ticket, continuation: Continuation | None, on_first_bytes: Callable[[], None]
    ) -> None:
        self.request, self.ticket = request, ticket
        self._on_first_bytes: Callable[[], None] | None = on_first_bytes
        self._clock = asyncio.get_running_loop().time
        self.response: web.StreamResponse | None = None
        """The stream to the client, once it has begun."""
        self._body = body
        self._continuation = continuation
        self._headers: dict[str, str] = {}

    @property
    def is_under_way(self) -> bool:
        """A worker has begun it, and what it made is not lost."""
        return self.response is not None or bool(self._continuation and self._continuation.moves)

    def body_for(self, seat: Seat) -> bytes:
        """What this worker is sent: the client's own words, unless it can resume or has to."""
        return self._continuation.body() if self._continuation and seat.worker.resumes else self._body

    @property
    def more_headers(self) -> dict[str, str]:
        """A worker that goes on with an answer bears its id."""
        answer_id = self._continuation.answer_id if self._continuation else None
        return {"X-Request-Id": answer_id} if answer_id else {}

    def begin(self, headers: dict[str, str], seat: Seat) -> None:
        """Begin the stream to the client, if it has not begun before; an answer that is gathered goes out in one piece at its end."""
        if self._continuation and self._continuation.gathered and seat.worker.resumes:
            self._headers = {name: value for name, value in headers.items() if name.lower() not in OF_A_STREAM}
        elif self.response is None:
            self.response = web.StreamResponse(headers=headers)

    async def _write(self, content: bytes) -> None:
        await self.response.write(content)
        if self._on_first_bytes:
            self._on_first_bytes()
            self._on_first_bytes = None

    async def copy(self, upstream: aiohttp.ClientResponse, seat: Seat, sent_s: float) -> Answered | None:
        """Pass a worker's stream on, and note how fast it was; None when it was cut and another worker may go on."""
        going_on = self._continuation if self._continuation and seat.worker.resumes else None
        reason = "the stream ended early"
        whole, heard = False, _Heard(self._clock, upstream.content)
        try:
            if self.response is not None and not self.response.prepared:
                await self.response.prepare(self.request)
            try:
                whole = await (self._copy_events(heard, going_on) if going_on else self._copy_lines(heard))
            except aiohttp.ClientPayloadError as error:
                reason = str(error) or type(error).__name__
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                reason = f"it sent what is no event ({type(error).__name__})"
            if whole:
                seat.pace.learn(sent_s, heard.first_s, heard.events, self._clock())
            if whole or (going_on and going_on.is_said):
                return await self._end(b"" if whole else going_on.rest())
            said = going_on.failure if going_on else ""
            if going_on and self._may_move():
                return None
            return await self.end_with_error(f"worker {seat.worker.name} failed while it answered: {said or reason}")
        except ConnectionResetError:
            return self.response, "cancelled"

    async def _end(self, rest: bytes) -> Answered:
        if self.response is None:
            answer = self._continuation.gathered.whole(self._continuation.usage)
            return web.json_response(answer, headers=self._headers), "ok"
        await self.response.write(rest)
        await self.response.write_eof()
        return self.response, "ok"

    async def refused(self, worker: str, status: int) -> Answered | None:
        """A further worker does not go on: if the fault is its own, another may."""
        if status >= 500 and self._may_move():
            return None
        return await self.end_with_error(f"worker {worker} would not go on with it (status {status})")

    def may_move_from(self, seat: Seat) -> bool:
        """Whether another worker may go on where this one died without a word."""
        return bool(self._continuation and seat.worker.resumes and self._may_move())

    def _may_move(self) -> bool:
        if self._continuation.moves == MOVES_LIMIT:
            return False
        self._continuation.forget_failure()
        return True

    async def end_with_error(self, message: str) -> Answered:
        """The answer can not go on: its client has to hear it, not to guess it. Raises Refusal where nothing was sent yet."""
        if self.response is None:
            raise refusals.broken_off(message)
        try:
            await self.response.write(refusals.error_event("broken", message))
            self.response.force_close()
            await self.response.write_eof()
        except ConnectionResetError:
            return self.response, "cancelled"
        return self.response, "broken"

    async def _copy_events(self, heard: "_Heard", going_on: Continuation) -> bool:
        async for lines in heard.lines():
            events = b"".join(going_on.take(line) for line in lines.split(b"\n"))
            if events:
                await self._write(events)
        return going_on.is_whole

    async def _copy_lines(self, heard: "_Heard") -> bool:
        """Pass lines on as they are; False: the stream ended without its last event."""
        whole = False
        async for lines in heard.lines():
            await self._write(lines)
            if event := lines.rstrip():
                whole = event.endswith(ENDINGS)
        return whole


class _Heard:
    """One worker's stream as whole lines, with what its pace is learnt from."""

    def __init__(self, clock: Callable[[], float], content: aiohttp.StreamReader) -> None:
        self._clock, self._content = clock, content
        self.first_s: float | None = None
        """When its first lines came."""
        self.events = 0

    async def lines(self) -> AsyncIterator[bytes]:
        """Lines as they come, several at once where they came so. Half a line is kept back until its rest comes, so that nothing of
        the gateway's own ever lands inside a cut one."""
        held = b""
        async for chunk in self._content.iter_any():
            lines, newline, held = (held + chunk).rpartition(b"\n")
            if newline:
                self.first_s = self.first_s or self._clock()
                self.events += lines.count(DATA)
                yield lines + newline
