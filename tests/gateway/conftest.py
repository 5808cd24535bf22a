"""A running gateway in this process, on port 0, in front of stand-in workers that answer, refuse, hang or die on command."""

import asyncio
import contextlib
import json
import os
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from opsconsole.gateway.server import Settings, open_gateway

PATIENCE_S = 20.0


def event_bytes(text: str | None, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish_reason}
    chunk = {"id": "c-1", "object": "chat.completion.chunk", "created": 0, "model": "demo", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


class StandIn:
    """A worker that does as `manner` says: answer, refuse (503), busy (429), fail (500), reject (400), vanish, die, cut."""

    def __init__(self, manner: str = "answer", tokens: int = 3) -> None:
        self.manner = manner
        self.tokens = tokens
        self.begun: list[str] = []
        """The prompt of each request that came here, in order."""
        self.in_flight = 0
        self.in_flight_max = 0
        self.left_by_client = asyncio.Event()
        self.go_on = asyncio.Event()
        """While it is clear, streams stand still after their first token."""
        self.go_on.set()

    async def __aenter__(self) -> "StandIn":
        application = web.Application()
        application.router.add_post("/v1/{kind:completions|chat/completions}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self.go_on.set()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.begun.append(body["messages"][-1]["content"] if "messages" in body else body["prompt"])
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            return await self._behave(request, body)
        except asyncio.CancelledError:
            self.left_by_client.set()
            raise
        finally:
            self.in_flight -= 1

    async def _behave(self, request: web.Request, body: dict) -> web.StreamResponse:
        status = {"refuse": 503, "busy": 429, "fail": 500, "reject": 400}.get(self.manner)
        if status:
            return web.json_response({"error": {"message": self.manner}}, status=status)
        if self.manner == "vanish":
            request.transport.abort()
            return web.Response()
        if not body.get("stream"):
            await self.go_on.wait()
            choice = {"index": 0, "message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}
            return web.json_response({"choices": [choice]})
        return await self._stream(request)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(self.tokens):
            await response.write(event_bytes(f"t{number} "))
            await self.go_on.wait()
        if self.manner == "die":
            await response.write(b'data: {"cho')
            request.transport.close()
            return response
        if self.manner == "cut":
            return response
        await response.write(event_bytes(None, "stop") + b"data: [DONE]\n\n")
        return response


class Rig:
    """The gateway, its workers, and a client."""

    def __init__(self, path: Path, workers: dict[str, StandIn], slots: int, queue_limit: int, queue_timeout_s: float) -> None:
        self.settings = Settings(path / "routes.json", queue_limit=queue_limit, queue_timeout_s=queue_timeout_s)
        self.workers = workers
        self.slots = slots
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self):
        async with asyncio.timeout(PATIENCE_S), contextlib.AsyncExitStack() as stack:
            for worker in self.workers.values():
                await stack.enter_async_context(worker)
            self.write_routes(*self.workers)
            self.session = await stack.enter_async_context(aiohttp.ClientSession())
            self.gateway = await stack.enter_async_context(open_gateway(self.settings))
            self.url = f"http://127.0.0.1:{self.gateway.port}"
            yield self

    def write_routes(self, *names: str) -> None:
        entries = [{"worker": name, "url": self.workers[name].url, "slots": self.slots} for name in names]
        self.write_text(json.dumps({"models": {"demo": entries}}))

    def write_text(self, text: str) -> None:
        fresh = self.settings.routes.with_suffix(".new")
        fresh.write_text(text)
        os.replace(fresh, self.settings.routes)

    async def state(self) -> dict:
        async with self.session.get(self.url + "/state") as answer:
            return (await answer.json())["models"]["demo"]

    async def until(self, holds) -> dict:
        """Wait until the state is as asked; the test's own limit ends a wait in vain."""
        while not holds(state := await self.state()):
            await asyncio.sleep(0.01)
        return state

    async def metric(self, name: str, **labels: str) -> float:
        async with self.session.get(self.url + "/metrics") as answer:
            text = await answer.text()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(s.value for s in samples if s.name == "opsconsole_gateway_" + name and labels.items() <= s.labels.items())

    async def outcome(self, outcome: str) -> float:
        """How many requests ended so, once nothing is open (a client may read its last byte before the gateway has counted)."""
        while self.gateway.proxy.open_requests:
            await asyncio.sleep(0.01)
        return await self.metric("requests_total", outcome=outcome)

    def post(self, prompt: str = "hello", stream: bool = True, headers: dict | None = None, **more: object):
        body = {"model": "demo", "messages": [{"role": "user", "content": prompt}], "stream": stream} | more
        return self.session.post(self.url + "/v1/chat/completions", json=body, headers=headers)

    async def ask(self, prompt: str = "hello", **more: object) -> tuple[int, str]:
        async with self.post(prompt, **more) as answer:
            return answer.status, await answer.text()


@pytest.fixture
def make_rig(tmp_path):
    def make(slots: int = 4, queue_limit: int = 1000, queue_timeout_s: float = 10.0, **manners: str) -> Rig:
        workers = {name.replace("_", "-"): StandIn(manner) for name, manner in manners.items()}
        return Rig(tmp_path, workers, slots, queue_limit, queue_timeout_s)

    return make
