"""The gateway's endpoints, and its life: listen, serve, and on SIGTERM finish what has begun before leaving."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from opsconsole.gateway.balancer import Balancer
from opsconsole.gateway.desk import Desk
from opsconsole.gateway.metrics import Metrics, read_state
from opsconsole.gateway.proxy import BODY_LIMIT_MIB, Proxy, open_session
from opsconsole.gateway.routes import RoutesFile

FAREWELL_LIMIT_S = 30.0
FAREWELL_POLL_S = 0.05


@dataclass(frozen=True)
class Settings:
    routes: Path
    host: str = "127.0.0.1"
    port: int = 0
    queue_limit: int = 1000
    """Requests that may wait for each model."""
    queue_tokens: int = 4_000_000
    """Tokens, of prompts and longest answers, that may wait for each model."""
    queue_timeout_s: float = 60.0


class Gateway:
    """The parts of a running gateway; `open_gateway` starts one and ends it."""

    def __init__(self, proxy: Proxy, balancer: Balancer, metrics: Metrics) -> None:
        self.proxy = proxy
        self._balancer = balancer
        self._metrics = metrics
        self.port = 0
        application = web.Application(client_max_size=BODY_LIMIT_MIB << 20)
        application.add_routes(self._endpoints())
        # Without handler_cancellation a client that leaves would keep its worker busy to the end.
        self.runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)

    def _endpoints(self) -> Iterator[web.RouteDef]:
        yield web.post("/v1/completions", self.proxy.answer)
        yield web.post("/v1/chat/completions", self.proxy.answer)
        yield web.get("/v1/models", self._list_models)
        yield web.get("/healthz", self._tell_health)
        yield web.get("/readyz", self._tell_readiness)
        yield web.get("/metrics", self._tell_metrics)
        yield web.get("/state", self._tell_state)

    def complain(self, text: str) -> None:
        self._metrics.routes_broken.inc()
        print(text, file=sys.stderr, flush=True)

    async def listen(self, host: str, port: int) -> None:
        await self.runner.setup()
        self._site = web.TCPSite(self.runner, host, port, backlog=1024)
        await self._site.start()
        self.port = self.runner.addresses[0][1]

    async def finish(self, limit_s: float = FAREWELL_LIMIT_S) -> int:
        """Take no more requests, and wait for those that are here; the number still open at the limit."""
        self.proxy.stopping = True
        await self._site.stop()
        loop = asyncio.get_running_loop()
        end_s = loop.time() + limit_s
        while self.proxy.open_requests and loop.time() < end_s:
            await asyncio.sleep(FAREWELL_POLL_S)
        return self.proxy.open_requests

    async def _list_models(self, request: web.Request) -> web.Response:
        models = [{"id": model, "object": "model", "created": 0, "owned_by": "opsconsole"} for model in self._balancer.routed_models()]
        return web.json_response({"object": "list", "data": models})

    async def _tell_health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _tell_readiness(self, request: web.Request) -> web.Response:
        reason = "stopping" if self.proxy.stopping else None if self._balancer.routed_models() else "no routes"
        return web.json_response({"status": reason or "ready"}, status=503 if reason else 200)

    async def _tell_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _tell_state(self, request: web.Request) -> web.Response:
        return web.json_response(read_state(self._balancer))


@contextlib.asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    balancer = Balancer(settings.queue_limit, settings.queue_tokens)
    metrics = Metrics(balancer)
    async with open_session() as session:
        desk = Desk(balancer, settings.queue_timeout_s)
        gateway = Gateway(Proxy(desk, metrics, session), balancer, metrics)
        routes_file = RoutesFile(settings.routes, desk.replace, gateway.complain)
        routes_file.look()
        follower = asyncio.create_task(routes_file.follow())
        try:
            await gateway.listen(settings.host, settings.port)
            yield gateway
        finally:
            follower.cancel()
            await gateway.runner.cleanup()


async def serve(settings: Settings, announce: Callable[[int], None]) -> int:
    """Run until SIGTERM or SIGINT, then finish; the number of requests that had to be cut."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    async with open_gateway(settings) as gateway:
        announce(gateway.port)
        await stop.wait()
        return await gateway.finish()
