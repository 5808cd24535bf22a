"""Takes one request from its client to a worker and the answer back.

The journey: read the body for its model; get a ticket; wait for a worker; send the body to it. If the worker cannot be reached,
or answers 503 or 429, it has not begun: the worker rests and the request queues again at its old place. From any other answer on,
the request is that worker's, and whatever comes of it is passed on as it is: a second worker never gets it.
"""

import asyncio
import json

import aiohttp
from aiohttp import web

from opsconsole.gateway import refusals
from opsconsole.gateway.balancer import QueueFull, Seat, Ticket, UnknownModel
from opsconsole.gateway.desk import Desk
from opsconsole.gateway.metrics import Metrics

BODY_LIMIT_MIB = 32
CONNECT_TIMEOUT_S = 3.0
NOT_BEGUN = (429, 503)
UNREACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Raised only before a byte of the request was sent."""

HELD_BACK = frozenset((
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",  # RFC 9110, 7.6.1
    "transfer-encoding", "upgrade",
    "host", "content-length", "expect",  # these belong to one connection too
    "accept-encoding",  # a compressed stream could not be ended with an error event
))
ENDINGS = (b"data: [DONE]", b"data:[DONE]")


def open_session() -> aiohttp.ClientSession:
    """A client that makes a connection for each request: on one that was used before, a worker's farewell and a request can cross,
    and nobody could say whether the request was begun."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept-Encoding", "User-Agent"),
    )


class Proxy:
    def __init__(self, desk: Desk, metrics: Metrics, session: aiohttp.ClientSession) -> None:
        self._desk = desk
        self._metrics = metrics
        self._session = session
        self._loop = asyncio.get_running_loop()
        self.open_requests = 0
        self.stopping = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        model, outcome = "", "cancelled"
        self.open_requests += 1
        try:
            body, asked_model = await self._read(request)
            ticket = self._admit(asked_model)
            model = asked_model
            response, outcome = await self._serve(request, body, ticket)
            return response
        except refusals.Refusal as refusal:
            outcome = refusal.outcome
            return refusal.response()
        finally:
            self.open_requests -= 1
            self._metrics.requests.labels(model, outcome).inc()

    async def _read(self, request: web.Request) -> tuple[bytes, str]:
        if self.stopping:
            raise refusals.stopping()
        try:
            body = await request.read()
            document = json.loads(body)
        except web.HTTPRequestEntityTooLarge:
            raise refusals.too_large(BODY_LIMIT_MIB) from None
        except (ValueError, RecursionError):
            raise refusals.bad_request("the body is not JSON") from None
        model = document.get("model") if isinstance(document, dict) else None
        if not isinstance(model, str):
            raise refusals.bad_request('the body names no "model"')
        return body, model

    def _admit(self, model: str) -> Ticket:
        try:
            return self._desk.admit(model)
        except UnknownModel:
            raise refusals.unknown_model(model) from None
        except QueueFull:
            raise refusals.queue_full(model) from None

    async def _serve(self, request: web.Request, body: bytes, ticket: Ticket) -> tuple[web.StreamResponse, str]:
        while True:
            seat = await self._take(ticket)
            waited_s = self._loop.time() - ticket.arrived_s
            try:
                upstream = await self._begin(request, body, seat)
                if upstream:
                    self._metrics.queue_wait_s.labels(ticket.model).observe(waited_s)
                    async with upstream:
                        return await self._pass_on(request, upstream, ticket, seat)
                self._desk.rest(seat)
                self._metrics.retries.labels(ticket.model, seat.worker.name).inc()
            finally:
                self._desk.release(seat)

    async def _take(self, ticket: Ticket) -> Seat:
        try:
            return await self._desk.take(ticket)
        except TimeoutError:
            raise refusals.queue_timeout(ticket.model, self._desk.queue_timeout_s) from None

    async def _begin(self, request: web.Request, body: bytes, seat: Seat) -> aiohttp.ClientResponse | None:
        """Send the request to the worker. None: it has certainly not begun it."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HELD_BACK}
        try:
            upstream = await self._session.post(
                seat.worker.url + request.path_qs, data=body, headers=headers, allow_redirects=False)
        except UNREACHED:
            return None
        except aiohttp.ClientError as error:
            raise refusals.broken(seat.worker.name, _say(error)) from error
        if upstream.status in NOT_BEGUN:
            upstream.close()
            return None
        return upstream

    async def _pass_on(
        self, request: web.Request, upstream: aiohttp.ClientResponse, ticket: Ticket, seat: Seat
    ) -> tuple[web.StreamResponse, str]:
        headers = {name: value for name, value in upstream.headers.items() if name.lower() not in HELD_BACK}
        headers["X-Opsconsole-Worker"] = seat.worker.name
        if upstream.status == 200 and upstream.content_type == "text/event-stream":
            response = web.StreamResponse(headers=headers)
            return response, await self._pass_stream(request, upstream, response, ticket, seat)
        try:
            answer = await upstream.read()
        except aiohttp.ClientError as error:
            raise refusals.broken(seat.worker.name, _say(error)) from error
        outcome = "ok" if upstream.status < 500 else "worker_error"
        return web.Response(status=upstream.status, headers=headers, body=answer), outcome

    async def _pass_stream(
        self, request: web.Request, upstream: aiohttp.ClientResponse, response: web.StreamResponse, ticket: Ticket, seat: Seat
    ) -> str:
        reason = "the stream ended early"
        whole = False
        try:
            await response.prepare(request)
            try:
                whole = await self._copy_lines(upstream.content, response, ticket)
            except aiohttp.ClientPayloadError as error:
                reason = _say(error)
            if not whole:
                message = f"worker {seat.worker.name} failed while it answered: {reason}"
                await response.write(refusals.error_event("broken", message))
                response.force_close()
            await response.write_eof()
        except ConnectionResetError:
            return "cancelled"
        return "ok" if whole else "broken"

    async def _copy_lines(self, content: aiohttp.StreamReader, response: web.StreamResponse, ticket: Ticket) -> bool:
        """Pass whole lines on as they come; False: the stream ended without its last event.

        Half a line is kept back until its rest comes, so that an error event never lands inside a cut one.
        """
        held = b""
        whole = False
        first = True
        async for chunk in content.iter_any():
            lines, newline, held = (held + chunk).rpartition(b"\n")
            if not newline:
                continue
            await response.write(lines + newline)
            if first:
                first = False
                self._metrics.ttft_s.labels(ticket.model).observe(self._loop.time() - ticket.arrived_s)
            if event := lines.rstrip():
                whole = event.endswith(ENDINGS)
        return whole


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__
