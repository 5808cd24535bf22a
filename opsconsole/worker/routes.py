"""The handlers of a worker's HTTP, one for each path, and what holds for all of them."""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from aiohttp import HttpVersion11, web

from .access import Access
from .answers import AnswerFormat
from .api import ApiError, parse_body, wrong
from .complaints import complain
from .lifecycle import narrate
from .sending import UNREAD_LIMIT_S, Stream, send_whole
from .service import Asker, Service

BODY_LIMIT_BYTES = 4 * 1024 * 1024
BODY_LIMIT_S = 60.0
"""How long a client may take to send its body."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that the present task answers: each has a task of its own."""
HEADER_PATTERN = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Routes:
    """The paths a worker answers."""

    def __init__(self, service: Service, access: Access, unread_limit_s: float = UNREAD_LIMIT_S) -> None:
        self._service = service
        self._access = access
        self._unread_limit_s = unread_limit_s
        self._started_wall = int(time.time())

    def application(self) -> web.Application:
        """All of them, behind what holds for each."""
        app = web.Application(client_max_size=BODY_LIMIT_BYTES, middlewares=[_refusals_as_json, self._guard])
        app.on_response_prepare.append(self._complete_headers)
        handlers = {
            "/v1/completions": ("POST", self.completions),
            "/v1/chat/completions": ("POST", self.chat_completions),
            "/v1/models": ("GET", self.models),
            "/healthz": ("GET", self.healthz),
            "/readyz": ("GET", self.readyz),
            "/health": ("GET", self.readyz),  # vLLM's name: load generators ask it before they begin
            "/state": ("GET", self.state),
            "/drain": ("POST", self.drain),
            "/undrain": ("POST", self.undrain),
            "/cut": ("POST", self.cut),
            "/metrics": ("GET", self.metrics),
        }
        for path, (method, handler) in handlers.items():
            resource = app.router.add_resource(path)
            for known in ("GET", "HEAD") if method == "GET" else (method,):
                resource.add_route(known, handler, expect_handler=_meet_expectation)
            # What is refused has routes of its own too: the web library's would meet an Expect in a shape of their own.
            resource.add_route("*", _refuse_method("GET,HEAD" if method == "GET" else method), expect_handler=_meet_expectation)
        app.router.add_route("*", "/{path:.*}", _refuse_path, expect_handler=_meet_expectation)
        return app

    async def completions(self, http: web.Request) -> web.StreamResponse:
        """A text continued."""
        return await self._generate(http, chat=False)

    async def chat_completions(self, http: web.Request) -> web.StreamResponse:
        """A conversation answered."""
        return await self._generate(http, chat=True)

    async def models(self, http: web.Request) -> web.Response:
        """The one model that is served."""
        options = self._service.options
        facts = {"created": self._started_wall, "owned_by": "opsconsole", "max_model_len": options.max_len}
        return web.json_response({"object": "list", "data": [{"id": options.name, "object": "model", **facts}]})

    async def healthz(self, http: web.Request) -> web.Response:
        """Alive, whatever else."""
        return web.Response(text="ok\n")

    async def readyz(self, http: web.Request) -> web.Response:
        """Whether a router should send work here."""
        state = self._service.lifecycle.state
        return web.Response(text=f"{state}\n", status=200 if state == "READY" else 503)

    async def state(self, http: web.Request) -> web.Response:
        """What it is doing."""
        return web.json_response(self._service.snapshot())

    async def drain(self, http: web.Request) -> web.Response:
        """Take no more work and finish what is there."""
        self._service.lifecycle.drain()
        return web.json_response(self._service.snapshot())

    async def undrain(self, http: web.Request) -> web.Response:
        """Take work again; refused once SIGTERM has come."""
        if not self._service.lifecycle.undrain():
            raise ApiError(409, "This worker has been told to end and cannot be put back.", code="ending")
        return web.json_response(self._service.snapshot())

    async def cut(self, http: web.Request) -> web.Response:
        """End every answer in flight with an error, for a gateway to go on with it elsewhere; only while draining."""
        if self._service.lifecycle.state not in ("DRAINING", "DRAINED"):
            raise ApiError(409, "This worker is not draining; what it has in flight is its own to finish.", code="not_draining")
        count = len(self._service.open_ids())
        narrate("cut", count=count, why="handed over")
        self._service.cut(ApiError(503, "This worker hands its requests over; ask another.", code="handed_over", retry_after_s=1))
        return web.json_response({"cut": count, **self._service.snapshot()})

    async def metrics(self, http: web.Request) -> web.Response:
        """For Prometheus."""
        return web.Response(body=self._service.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _generate(self, http: web.Request, chat: bool) -> web.StreamResponse:
        service = self._service
        asker = _asker(http, chat)
        service.refuse_unless_ready()
        ask = parse_body(await _body(http), chat)
        if ask.model not in (None, service.options.name):
            text = f"The model {ask.model!r} is not served here; {service.options.name!r} is."
            raise ApiError(404, text, param="model", code="model_not_found")
        prompt_ids = await service.prompt_ids(ask)
        generation = service.submit(ask, prompt_ids, asker)
        source = {"prompt_token_ids": prompt_ids, "seed": ask.sampling.seed} if ask.return_token_ids else None
        answer = AnswerFormat(chat, asker.id, service.options.name, source)
        try:
            if ask.stream:
                return await Stream(http, self._unread_limit_s).send(ask, generation, answer)
            return await send_whole(http, generation, answer)
        finally:
            generation.close()

    @web.middleware
    async def _guard(self, http: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._access.allows(http.path, http.headers):
            raise ApiError(401, "This worker asks for a key: Authorization: Bearer KEY.", code="invalid_api_key")
        return await handler(http)

    async def _complete_headers(self, http: web.Request, response: web.StreamResponse) -> None:
        if request_id := _request_id.get():
            response.headers["X-Request-Id"] = request_id
        if self._service.lifecycle.leaving:
            # Whoever keeps the connection would send the next request into the closing socket.
            response.force_close()
            response.headers["Connection"] = "close"


def _asker(http: web.Request, chat: bool) -> Asker:
    """Who asks and under which id. Raises ApiError where a header cannot be taken as it is."""
    _request_id.set(("chatcmpl-" if chat else "cmpl-") + uuid.uuid4().hex)
    given, tenant = http.headers.get("X-Request-Id"), http.headers.get("X-Tenant")
    for name, value in (("X-Request-Id", given), ("X-Tenant", tenant)):
        if value is not None and not HEADER_PATTERN.fullmatch(value):
            raise wrong(name, "must be 1 to 128 characters of A-Z a-z 0-9 . _ : -")
    if given is not None:
        _request_id.set(given)
    return Asker(_request_id.get(), tenant, time.monotonic())


async def _body(http: web.Request) -> bytes:
    if http.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ApiError(415, "The body must not be compressed.", code="unsupported_encoding")
    try:
        async with asyncio.timeout(BODY_LIMIT_S):
            return await http.read()
    except TimeoutError:
        raise ApiError(408, f"The body did not come within {BODY_LIMIT_S:g} s.", code="body_too_slow") from None
    except web.RequestPayloadError:
        raise ApiError(400, "The body ends early, or is not what its headers say.", code="invalid_body") from None


async def _meet_expectation(http: web.Request) -> web.Response | None:
    if http.headers["Expect"].lower() != "100-continue":
        return _refused(ApiError(417, "Only the expectation 100-continue can be met.", code="expectation_failed"))
    if http.version >= HttpVersion11 and http.transport is not None:
        http.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return None


@web.middleware
async def _refusals_as_json(http: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal in OpenAI's shape, those of the web library too."""
    try:
        return await handler(http)
    except ApiError as refusal:
        return _refused(refusal)
    except web.HTTPRequestEntityTooLarge:
        return _refused(ApiError(413, f"The body is larger than {BODY_LIMIT_BYTES} bytes.", code="body_too_large"))
    except web.HTTPClientError as error:
        return _refused(ApiError(error.status, error.reason))
    except Exception as error:
        complain("http", error)
        return _refused(ApiError(500, "The worker made a mistake; its log says where.", code="internal_error"))


def _refused(refusal: ApiError) -> web.Response:
    return web.json_response(refusal.body(), status=refusal.status, headers=refusal.headers())


async def _refuse_path(http: web.Request) -> web.Response:
    return _refused(ApiError(404, "There is nothing at this path.", code="not_found"))


def _refuse_method(allowed: str) -> Handler:
    async def refuse(http: web.Request) -> web.Response:
        answer = _refused(ApiError(405, f"This path takes {allowed} only.", code="method_not_allowed"))
        answer.headers["Allow"] = allowed
        return answer

    return refuse


_handle_error = web.RequestHandler.handle_error


def _refuse_unreadable(
    connection: web.RequestHandler,
    http: web.BaseRequest,
    status: int = 500,
    exc: BaseException | None = None,
    message: str | None = None,
) -> web.Response:
    _handle_error(connection, http, status, exc, message)  # logs it, and raises where an answer has begun
    answer = _refused(ApiError(status, "This is no HTTP request that can be read.", code="invalid_http"))
    answer.force_close()
    return answer


# What is no HTTP meets no middleware, and the library has no other place where its answer could be given our shape.
web.RequestHandler.handle_error = _refuse_unreadable
