"""A stream whose worker dies or is drained goes on at another one, and its client sees no seam."""

import asyncio
import json
import os
import signal

import pytest
from aiohttp import web

from opsconsole.gateway import balancer
from opsconsole.gateway.continuation import MOVES_LIMIT, Continuation, continuation_of
from opsconsole.gateway.routes import parse_routes
from opsconsole.gateway.server import Settings, open_gateway
from tests.gateway.conftest import PATIENCE_S

DONE = "data: [DONE]\n\n"
ANSWER = [11, 12, 13, 14, 15, 16]
"""Tokens that every worker here would say; token n reads " wn"."""


def event(tokens, finish=None, first=False, text=None, answer_id="c-1", created=7, **more):
    delta = {"content": "".join(f" w{token}" for token in tokens) if text is None else text}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, "token_ids": tokens}
    if first:
        choice |= {"delta": {"role": "assistant"} | delta, "prompt_token_ids": [1, 2], "seed": 99}
    data = {"id": answer_id, "object": "chat.completion.chunk", "created": created, "model": "demo", "choices": [choice | more]}
    return b"data: " + json.dumps(data).encode()


def choices_of(raw):
    lines = [line.removeprefix(b"data: ") for line in raw.split(b"\n") if line.startswith(b"data: {")]
    return [choice for line in lines for choice in json.loads(line).get("choices", ())]


@pytest.mark.parametrize("document", [
    {"stream": "yes"}, {"logprobs": True}, {"n": 2}, {"stream": False, "stream_options": {"include_usage": True}},
    {"stream": True, "stream_options": [1]}, {"stream": True, "resume_token_ids": 5},
])
def test_what_a_worker_has_to_refuse_or_put_together_stays_with_it(document):
    assert continuation_of({"model": "demo", **document}) is None


def test_a_stream_and_a_plain_answer_can_go_on():
    assert continuation_of({"stream": True}).gathered is None and continuation_of({"stream": False, "n": 1}).gathered


def test_what_the_client_did_not_ask_for_is_taken_out():
    story = Continuation({"stream": True})
    shown = choices_of(story.take(event([11], first=True)))
    assert shown == [{"index": 0, "delta": {"role": "assistant", "content": " w11"}, "logprobs": None, "finish_reason": None}]
    assert story.take(event([12], text="")) == b""  # nothing but ids: its text is held back
    assert choices_of(story.take(event([13], finish="stop")))[0]["finish_reason"] == "stop"
    assert story.take(b"") == b"" and not story.is_whole
    assert story.take(b"data: [DONE]") == b"data: [DONE]\n\n" and story.is_whole


def test_the_next_worker_is_told_all_that_it_needs():
    story = Continuation({"stream": True, "model": "demo", "temperature": 1, "resume_token_ids": [5]})
    assert json.loads(story.body())["resume_token_ids"] == [5]
    story.take(event([11, 12], first=True)), story.take(event([13], text=""))
    asked = json.loads(story.body())
    assert asked == {
        "stream": True, "model": "demo", "temperature": 1, "seed": 99, "return_token_ids": True, "resume_token_ids": [5, 11, 12, 13],
    }
    assert story.answer_id == "c-1"


def test_a_client_that_asked_for_ids_sees_them_and_the_seam_is_closed():
    story = Continuation({"stream": True, "return_token_ids": True})
    assert choices_of(story.take(event([11], first=True)))[0]["seed"] == 99
    story.take(b'data: {"error": {"message": "drained"}}')
    assert story.failure == "drained"
    story.forget_failure()
    raw = story.take(event([12], first=True, created=9))
    assert (story.failure, story.moves) == ("", 1)
    assert choices_of(raw)[0]["token_ids"] == [12] and choices_of(raw)[0]["delta"] == {"content": " w12"}
    assert json.loads(raw.removeprefix(b"data: "))["created"] == 7


class Resumer:
    """A worker that says ANSWER from where it is asked to, and fails after `patience` tokens in its `manner`: die, cut or none."""

    def __init__(self, manner="none", patience=2, weights=""):
        self.weights = weights
        self.manner, self.patience, self.asked, self.ids = manner, patience, [], []

    async def __aenter__(self):
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error):
        await self._runner.cleanup()

    async def _answer(self, request):
        body = await request.json()
        self.asked.append(body)
        self.ids.append(request.headers.get("X-Request-Id"))
        if self.manner == "refuse":
            return web.json_response({"error": {"message": "no"}}, status=500)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        begun = len(body.get("resume_token_ids", ()))
        for number, token in enumerate(ANSWER[begun:]):
            if self.manner != "none" and number == self.patience:
                return await self._fail(request, response)
            last = token == ANSWER[-1]
            line = event([token], "stop" if last else None, first=number == 0, answer_id=self.ids[-1] or "c-1")
            await response.write(line + b"\n\n")
        await response.write(DONE.encode())
        return response

    async def _fail(self, request, response):
        if self.manner == "cut":
            await response.write(b'data: {"error": {"message": "drained", "code": "drain_deadline"}}\n\n')
        else:
            await response.write(b'data: {"id": "c-1", "cho')
            request.transport.close()
        if self.manner == "leave":
            self.before_it_leaves()
            request.transport.close()
        if self.manner == "vanish":
            await self._runner.sites.copy().pop().stop()
        return response


async def stream_through(tmp_path, workers, more=None, **options):
    """The body of one answer through a gateway in front of the workers, and the gateway's metrics."""
    import aiohttp

    async with asyncio.timeout(PATIENCE_S):
        for worker in workers:
            await worker.__aenter__()
        entries = [
            {"worker": f"w-{n}", "url": worker.url, "slots": 1, "resumes": True, "weights": worker.weights}
            for n, worker in enumerate(workers)
        ]
        (tmp_path / "routes.json").write_text(json.dumps({"models": {"demo": entries}}))
        async with open_gateway(Settings(tmp_path / "routes.json", **options)) as gateway, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{gateway.port}"
            body = {"model": "demo", "messages": [{"role": "user", "content": "hello"}], "stream": True, **(more or {})}
            async with session.post(url + "/v1/chat/completions", json=body) as answer:
                raw = await answer.read()
            metrics = await (await session.get(url + "/metrics")).text()
        for worker in workers:
            await worker.__aexit__()
    return raw, metrics


def said(raw):
    return "".join(choice["delta"].get("content", "") for choice in choices_of(raw))


@pytest.mark.parametrize("manner", ["die", "cut"])
def test_another_worker_goes_on_where_the_first_one_stopped(tmp_path, manner):
    workers = [Resumer(manner), Resumer()]
    raw, metrics = asyncio.run(stream_through(tmp_path, workers))
    assert said(raw) == "".join(f" w{token}" for token in ANSWER) and raw.endswith(DONE.encode())
    assert [choice["delta"].get("role") for choice in choices_of(raw)] == ["assistant"] + [None] * (len(ANSWER) - 1)
    assert b"token_ids" not in raw and b"seed" not in raw and b"error" not in raw
    assert workers[1].asked[0]["resume_token_ids"] == ANSWER[:2] and workers[1].asked[0]["seed"] == 99
    assert workers[1].ids == ["c-1"]
    assert 'moves_total{model="demo",worker="w-0"} 1.0' in metrics
    assert 'requests_total{model="demo",outcome="ok"} 1.0' in metrics


def test_it_goes_on_as_often_as_needed_but_not_for_ever(tmp_path):
    workers = [Resumer("die", patience=1), Resumer("die", patience=1)]
    raw, _ = asyncio.run(stream_through(tmp_path, workers))
    assert said(raw) == "".join(f" w{token}" for token in ANSWER)  # each time it comes one token further


@pytest.mark.parametrize("manner", ["die", "cut", "refuse"])
def test_a_stream_that_nobody_gets_further_with_ends_with_an_error(tmp_path, monkeypatch, manner):
    monkeypatch.setattr(balancer, "REST_S", 0.01)
    helpless = Resumer(manner, patience=0)
    raw, metrics = asyncio.run(stream_through(tmp_path, [helpless]))
    assert said(raw) == "" and b'"error"' in raw and not raw.endswith(DONE.encode())
    assert 'outcome="broken"} 1.0' in metrics or 'outcome="worker_error"} 1.0' in metrics
    assert len(helpless.asked) == (1 if manner == "refuse" else MOVES_LIMIT + 1)


def test_a_worker_that_fails_at_going_on_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(balancer, "REST_S", 0.01)
    workers = [Resumer("die", patience=2), Resumer("refuse")]
    raw, _ = asyncio.run(stream_through(tmp_path, workers))
    assert said(raw) == "".join(f" w{token}" for token in ANSWER) and raw.endswith(DONE.encode())
    assert workers[1].asked


def test_only_the_same_weights_go_on_with_an_answer(tmp_path):
    workers = [Resumer("cut", weights="v1"), Resumer(weights="v2"), Resumer(weights="v1")]
    raw, _ = asyncio.run(stream_through(tmp_path, workers))
    assert said(raw) == "".join(f" w{token}" for token in ANSWER) and raw.endswith(DONE.encode())
    assert workers[2].asked and not workers[1].asked


async def test_where_nobody_else_has_the_weights_the_client_hears_of_it_at_once(tmp_path):
    import aiohttp

    async with Resumer("leave", weights="v1") as leaving, Resumer(weights="v2") as other:
        entries = [
            {"worker": one.weights, "url": one.url, "slots": 1, "resumes": True, "weights": one.weights} for one in (leaving, other)
        ]
        (tmp_path / "routes.json").write_text(json.dumps({"models": {"demo": entries}}))
        settings = Settings(tmp_path / "routes.json", queue_timeout_s=3600)
        async with asyncio.timeout(PATIENCE_S), open_gateway(settings) as gateway, aiohttp.ClientSession() as session:
            last = parse_routes(json.dumps({"models": {"demo": entries[1:]}}))
            leaving.before_it_leaves = lambda: gateway.proxy._desk.replace(last)
            body = {"model": "demo", "messages": [{"role": "user", "content": "hello"}], "stream": True}
            async with session.post(f"http://127.0.0.1:{gateway.port}/v1/chat/completions", json=body) as answer:
                raw = await answer.read()
    assert said(raw) == " w11 w12" and b"serves the weights that began it" in raw and not other.asked


def test_without_another_worker_the_client_hears_of_it(tmp_path):
    gone = Resumer("vanish", patience=2)
    raw, _ = asyncio.run(stream_through(tmp_path, [gone], queue_timeout_s=0.5))
    assert said(raw) == " w11 w12" and b"no worker of" in raw and not raw.endswith(DONE.encode())


def kill(worker):
    os.kill(worker.process.pid, signal.SIGKILL)


def drain_and_cut(worker):
    """What an agent does at the deadline of a drain with `migrate`."""
    assert worker.ask("/drain", method="POST")[0] == 200
    assert json.loads(worker.ask("/cut", method="POST")[2])["cut"] == 1


def test_real_workers_hand_a_stream_over_when_one_is_killed_or_drained(start_three, tmp_path):
    openai = pytest.importorskip("openai")
    three = start_three(tmp_path)

    async def story():
        entries = [{"worker": f"w-{n}", "url": worker.url, "slots": 2, "resumes": True} for n, worker in enumerate(three)]
        (tmp_path / "routes.json").write_text(json.dumps({"models": {"demo": entries}}))
        async with open_gateway(Settings(tmp_path / "routes.json")) as gateway:
            client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key="none", max_retries=0)
            asked = {"model": "demo", "prompt": "The node", "max_tokens": 200, "extra_body": {"ignore_eos": True}}
            for end, sampling in ((drain_and_cut, {"temperature": 0}), (kill, {"temperature": 1, "seed": 4})):
                whole = await client.completions.create(**asked, **sampling)
                pieces, left = [], None
                async for chunk in await client.completions.create(**asked, **sampling, stream=True):
                    pieces.append(chunk.choices[0].text)
                    if len(pieces) == 20:  # a busy machine sends several tokens in one
                        left = next(worker for worker in three if worker.state()["running"])
                        await asyncio.to_thread(end, left)
                assert left and "".join(pieces) == whole.choices[0].text
                three.remove(left)

    asyncio.run(story())


@pytest.fixture
def start_three():
    pytest.importorskip("jax")
    from tests.worker.conftest import DEMO_MODEL, WorkerProcess, stop_by_id

    started = []

    def start(folder):
        for _ in range(3):
            started.append(WorkerProcess(
                "--model", DEMO_MODEL, "--name", "demo", "--slots", 2, "--max-len", 256, "--artifacts", folder / "programs"))
        for worker in started:
            worker.wait_for("ready")
        return list(started)

    yield start
    for worker in started:
        stop_by_id(worker)
