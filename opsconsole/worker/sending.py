"""Writes an answer to its client, who may read slowly, not at all, or have gone."""

import asyncio
import socket
import struct
from contextlib import aclosing, suppress

from aiohttp import web

from .answers import LAST_EVENT, AnswerFormat, error_event, joined
from .api import ApiError, Ask
from .complaints import complain
from .generation import Generation

UNREAD_LIMIT_S = 60.0
"""How long a client may leave a stream unread: it holds a slot, a drain waits for it, and what is made for it piles up."""


async def send_whole(http: web.Request, generation: Generation, answer: AnswerFormat) -> web.StreamResponse:
    """One JSON object."""
    part = joined([part async for part in generation.parts()])
    response = web.json_response(answer.whole(part, generation.usage))
    # Sent here, so that the request counts as in flight until its answer is out.
    with suppress(ConnectionError):
        await response.prepare(http)
        await response.write_eof()
    return response


class Stream:
    """One answer as events. Headers go out with the first token: until then a gateway may still take the request elsewhere."""

    def __init__(self, http: web.Request, unread_limit_s: float) -> None:
        self._http = http
        self._unread_limit_s = unread_limit_s
        self._response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})

    async def send(self, ask: Ask, generation: Generation, answer: AnswerFormat) -> web.StreamResponse:
        """Write the whole answer, or as much of it as there is and then an error event; never an end that only looks whole."""
        try:
            await self._send_whole(ask, generation, answer)
        except ConnectionError:
            pass  # nobody is there to hear more
        except Exception as error:
            if not self._response.prepared:
                raise
            if isinstance(error, ApiError):
                with suppress(ConnectionError):
                    await self._write(error_event(error.body()))
            else:
                complain("stream", error)
                self._cut()
        return self._response

    async def _send_whole(self, ask: Ask, generation: Generation, answer: AnswerFormat) -> None:
        async with aclosing(generation.parts()) as parts:
            async for part in parts:
                if not self._response.prepared:
                    await self._response.prepare(self._http)
                if ask.return_token_ids or not part.is_silent:
                    await self._write(answer.event(part))
        await self._write((answer.usage_event(generation.usage) if ask.include_usage else b"") + LAST_EVENT)
        await self._response.write_eof()

    async def _write(self, event: bytes) -> None:
        try:
            async with asyncio.timeout(self._unread_limit_s):
                await self._response.write(event)
        except TimeoutError:
            self._cut()
            raise ConnectionResetError from None

    def _cut(self) -> None:
        transport = self._http.transport
        if transport is not None:
            with suppress(OSError):  # reset, so that what is unread takes no memory of the system's either
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
