"""The HTTP face of a worker: it listens before anything is loaded, so that it can say what it is doing from the start."""

import asyncio
import os
import signal
import sys
from contextlib import aclosing
from typing import Any

from aiohttp import web

from .answers import LAST_EVENT, AnswerFormat, Part, error_event
from .api import ApiError, Ask, parse_body
from .lifecycle import Lifecycle, narrate
from .options import Options
from .service import Generation, Service

BODY_LIMIT_BYTES = 4 * 1024 * 1024
CLOSE_LIMIT_S = 1.0
"""How long a finished worker waits for connections to close before it ends."""
FAILED_LINGER_S = 1.0
"""How long a failed worker can still be asked why."""
SIGTERM_TWICE = 128 + signal.SIGTERM


class Routes:
    """The handlers, one for each path."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def application(self) -> web.Application:
        """The paths a worker answers."""
        app = web.Application(client_max_size=BODY_LIMIT_BYTES, middlewares=[_refusals_as_json])
        app.add_routes(
            [
                web.post("/v1/completions", self.completions),
                web.post("/v1/chat/completions", self.chat_completions),
                web.get("/v1/models", self.models),
                web.get("/healthz", self.healthz),
                web.get("/readyz", self.readyz),
                web.get("/state", self.state),
                web.post("/drain", self.drain),
                web.post("/undrain", self.undrain),
                web.get("/metrics", self.metrics),
            ]
        )
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
        model = {"id": options.name, "object": "model", "created": 0, "owned_by": "opsconsole", "max_model_len": options.max_len}
        return web.json_response({"object": "list", "data": [model]})

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

    async def metrics(self, http: web.Request) -> web.Response:
        """For Prometheus."""
        return web.Response(body=self._service.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _generate(self, http: web.Request, chat: bool) -> web.StreamResponse:
        service = self._service
        service.refuse_unless_ready()
        ask = parse_body(await http.read(), chat)
        if ask.model not in (None, service.options.name):
            text = f"The model {ask.model!r} is not served here; {service.options.name!r} is."
            raise ApiError(404, text, param="model", code="model_not_found")
        prompt_ids = await service.prompt_ids(ask)
        generation = service.submit(ask, prompt_ids)
        answer = AnswerFormat(chat, service.options.name, prompt_ids if ask.return_token_ids else None)
        try:
            if ask.stream:
                return await _stream(http, ask, generation, answer)
            return await _whole(http, generation, answer)
        finally:
            generation.close()


async def _whole(http: web.Request, generation: Generation, answer: AnswerFormat) -> web.StreamResponse:
    parts = [part async for part in generation.parts()]
    ids = [token for part in parts for token in part.token_ids]
    part = Part("".join(part.text for part in parts), ids, parts[-1].finish_reason)
    response = web.json_response(answer.whole(part, generation.usage))
    # Sent here, so that the request counts as in flight until its answer is out.
    await response.prepare(http)
    await response.write_eof()
    return response


async def _stream(http: web.Request, ask: Ask, generation: Generation, answer: AnswerFormat) -> web.StreamResponse:
    """Headers go out with the first token: until then a gateway may still take the request elsewhere."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    try:
        async with aclosing(generation.parts()) as parts:
            async for part in parts:
                if not response.prepared:
                    await response.prepare(http)
                if part.text or part.finish_reason or ask.return_token_ids:
                    await response.write(answer.event(part))
    except ApiError as failure:
        if not response.prepared:
            raise
        await response.write(error_event(failure.body()))
        return response
    tail = answer.usage_event(generation.usage) if ask.include_usage else b""
    await response.write(tail + LAST_EVENT)
    await response.write_eof()
    return response


@web.middleware
async def _refusals_as_json(http: web.Request, handler: Any) -> web.StreamResponse:
    """Every refusal in OpenAI's shape, those of the web library too."""
    try:
        return await handler(http)
    except ApiError as refused:
        refusal = refused
    except web.HTTPRequestEntityTooLarge:
        refusal = ApiError(413, f"The body is larger than {BODY_LIMIT_BYTES} bytes.", code="body_too_large")
    except web.HTTPClientError as error:
        refusal = ApiError(error.status, error.reason)
    headers = {"Retry-After": str(refusal.retry_after_s)} if refusal.retry_after_s else {}
    return web.json_response(refusal.body(), status=refusal.status, headers=headers)


async def serve(options: Options) -> int:
    """Listen, load, serve until told to end; returns the exit status."""
    lifecycle = Lifecycle()
    service = Service(options, lifecycle)
    # A client that leaves must free its slot at once, not at its next token.
    runner = web.AppRunner(Routes(service).application(), access_log=None, handler_cancellation=True, shutdown_timeout=CLOSE_LIMIT_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.port).start()
    except OSError as error:
        lifecycle.fail(f"cannot listen on {options.host}:{options.port}: {error.strerror or error}")
        return 1
    finished = asyncio.Event()
    _on_signals(lifecycle, finished)  # before anybody is told: who hears "listening" may say SIGTERM at once
    narrate("listening", port=runner.addresses[0][1], host=options.host, pid=os.getpid(), model=options.name)
    service.start()
    failing = asyncio.create_task(service.failed.wait())
    ending = asyncio.create_task(finished.wait())
    await asyncio.wait([failing, ending], return_when=asyncio.FIRST_COMPLETED)
    if service.failed.is_set():
        await asyncio.sleep(FAILED_LINGER_S)
    service.stop()
    await runner.cleanup()
    return 1 if service.failed.is_set() else 0


def _on_signals(lifecycle: Lifecycle, finished: asyncio.Event) -> None:
    """The first signal drains and then ends the process; the second ends it at once."""

    def ask_to_end() -> None:
        if lifecycle.leaving:
            sys.stdout.flush()
            os._exit(SIGTERM_TWICE)
        lifecycle.leaving = True
        lifecycle.on_idle = finished.set
        if lifecycle.state == "STARTING":
            finished.set()  # nothing was accepted yet, so nothing can be lost
        lifecycle.drain()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask_to_end)
