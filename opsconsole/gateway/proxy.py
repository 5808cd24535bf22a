"""Takes one request from its client to a worker and the answer back.

The journey: read the body for its model; get a ticket; wait for a worker; send the body to it. If the worker cannot be reached,
or answers 503 or 429, it has not begun: the worker rests and the request queues again at its old place. From any other answer on,
the request is that worker's, and whatever comes of it is passed on as it is: a second worker never gets it. There is one way
further: an answer of a worker that can be resumed goes on at another one, from the very next token (see `continuation`).
"""

import asyncio
import json
import math

import aiohttp
from aiohttp import web

from opsconsole.gateway import refusals
from opsconsole.gateway.asked import Asked, read_asked
from opsconsole.gateway.balancer import QueueFull, Seat, TooLate, UnknownModel
from opsconsole.gateway.continuation import continuation_of
from opsconsole.gateway.desk import Desk
from opsconsole.gateway.fairness import Ticket
from opsconsole.gateway.metrics import Metrics
from opsconsole.gateway.passage import Passage

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
            body, document = await self._read(request)
            ticket = self._admit(read_asked(request.headers, body, document))
            model = ticket.model
            ttft_s = self._metrics.ttft_s.labels(model)
            arrived_s = ticket.arrived_s
            passage = Passage(
                request, body, ticket, continuation_of(document), lambda: ttft_s.observe(self._loop.time() - arrived_s)
            )
            response, outcome = await self._serve(passage)
            return response
        except refusals.Refusal as refusal:
            outcome = refusal.outcome
            return refusal.response()
        finally:
            self.open_requests -= 1
            self._metrics.requests.labels(model, outcome).inc()

    async def _read(self, request: web.Request) -> tuple[bytes, dict]:
        if self.stopping:
            raise refusals.stopping()
        try:
            body = await request.read()
            document = json.loads(body)
        except web.HTTPRequestEntityTooLarge:
            raise refusals.too_large(BODY_LIMIT_MIB) from None
        except (ValueError, RecursionError):
            raise refusals.bad_request("the body is not JSON") from None
        if not isinstance(document, dict) or not isinstance(document.get("model"), str):
            raise refusals.bad_request('the body names no "model"')
        return body, document

    def _admit(self, asked: Asked) -> Ticket:
        try:
            return self._desk.admit(*asked)
        except UnknownModel:
            raise refusals.unknown_model(asked.model) from None
        except QueueFull:
            raise refusals.queue_full(asked.model) from None
        except TooLate as error:
            raise refusals.too_late(asked.model, error.late_s) from None

    async def _serve(self, passage: Passage) -> tuple[web.StreamResponse, str]:
        """Give the request to workers until one has answered it; an answer that can be resumed may take several."""
        answered = None
        while answered is None:
            try:
                answered = await self._try_one(passage, await self._take(passage))
            except refusals.Refusal as refusal:
                if not passage.is_under_way:
                    raise
                return await passage.end_with_error(str(refusal))
        return answered

    async def _try_one(self, passage: Passage, seat: Seat) -> tuple[web.StreamResponse, str] | None:
        """What one worker made of it; None: nothing that was not kept, and another one may have it."""
        ticket, sent_s = passage.ticket, self._loop.time()
        waited_s, was_under_way = sent_s - ticket.arrived_s, passage.is_under_way
        try:
            upstream = await self._begin(passage, seat)
            if upstream:
                if not was_under_way:
                    self._metrics.queue_wait_s.labels(ticket.model).observe(waited_s)
                async with upstream:
                    answered = await self._pass_on(passage, upstream, seat, sent_s)
                if answered:
                    return answered
                self._metrics.moves.labels(ticket.model, seat.worker.name).inc()
                if passage.is_under_way:
                    ticket.weights = seat.worker.weights
                # It waits for the next worker as long as any request may; its deadline was for the first bytes.
                ticket.arrived_s, ticket.deadline_s = self._loop.time(), math.inf
            else:
                self._metrics.retries.labels(ticket.model, seat.worker.name).inc()
            self._desk.rest(seat)
            return None
        finally:
            self._desk.release(seat)

    async def _take(self, passage: Passage) -> Seat:
        ticket = passage.ticket
        if ticket.weights is not None and not self._desk.balancer.serves(ticket.model, ticket.weights):
            raise refusals.nobody_to_go_on(ticket.model)
        try:
            return await self._desk.take(ticket)
        except QueueFull:
            raise refusals.queue_full(ticket.model) from None
        except TimeoutError:
            self._metrics.expired.labels(ticket.model).inc()
            if passage.is_under_way:
                raise refusals.not_taken_over(ticket.model, self._desk.queue_timeout_s) from None
            if self._loop.time() >= ticket.deadline_s:
                raise refusals.expired(ticket.model) from None
            raise refusals.queue_timeout(ticket.model, self._desk.queue_timeout_s) from None

    async def _begin(self, passage: Passage, seat: Seat) -> aiohttp.ClientResponse | None:
        """Send the request to the worker. None: it has certainly not begun it, or another worker can make the same of it."""
        request = passage.request
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HELD_BACK}
        try:
            upstream = await self._session.post(
                seat.worker.url + request.path_qs, data=passage.body_for(seat), headers=headers | passage.more_headers,
                allow_redirects=False)
        except UNREACHED:
            return None
        except aiohttp.ClientError as error:
            if passage.may_move_from(seat):
                return None  # what it may have begun is nobody's: another one makes the same
            raise refusals.broken(seat.worker.name, _say(error)) from error
        if upstream.status in NOT_BEGUN:
            upstream.close()
            return None
        return upstream

    async def _pass_on(
        self, passage: Passage, upstream: aiohttp.ClientResponse, seat: Seat, sent_s: float
    ) -> tuple[web.StreamResponse, str] | None:
        """The response and its outcome; None: it was cut, and another worker may go on."""
        worker = seat.worker.name
        headers = {name: value for name, value in upstream.headers.items() if name.lower() not in HELD_BACK}
        headers["X-Opsconsole-Worker"] = worker
        if upstream.status == 200 and upstream.content_type == "text/event-stream":
            passage.begin(headers, seat)
            return await passage.copy(upstream, seat, sent_s)
        if passage.is_under_way:
            return await passage.refused(worker, upstream.status)
        try:
            answer = await upstream.read()
        except aiohttp.ClientError as error:
            raise refusals.broken(worker, _say(error)) from error
        outcome = "ok" if upstream.status < 500 else "worker_error"
        if upstream.status == 200:
            seat.pace.learn(sent_s, None, 0, self._loop.time())
        return web.Response(status=upstream.status, headers=headers, body=answer), outcome


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__
