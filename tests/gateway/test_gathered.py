"""An answer in one piece goes on at another worker as a stream does, and looks as if one worker had made it."""

import asyncio
import json

import pytest

from opsconsole.gateway.continuation import Continuation
from opsconsole.gateway.server import Settings, open_gateway
from tests.gateway.test_continuation import ANSWER, DONE, Resumer, event, said, start_three, stream_through  # noqa: F401

WHOLE = {"stream": False}


@pytest.mark.parametrize("manner", ["die", "cut"])
def test_another_worker_goes_on_with_it(tmp_path, manner):
    workers = [Resumer(manner), Resumer()]
    raw, metrics = asyncio.run(stream_through(tmp_path, workers, WHOLE))
    answer = json.loads(raw)
    assert answer["object"] == "chat.completion" and answer["id"] == "c-1"
    assert answer["choices"] == [{
        "index": 0, "message": {"role": "assistant", "content": "".join(f" w{token}" for token in ANSWER)}, "logprobs": None,
        "finish_reason": "stop"}]
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 6, "total_tokens": 8}
    assert workers[1].asked[0]["resume_token_ids"] == ANSWER[:2]
    assert 'moves_total{model="demo",worker="w-0"} 1.0' in metrics and 'outcome="ok"} 1.0' in metrics


def test_without_another_worker_its_client_hears_of_it(tmp_path):
    raw, metrics = asyncio.run(stream_through(tmp_path, [Resumer("vanish")], WHOLE, queue_timeout_s=0.5))
    assert "no worker of" in json.loads(raw)["error"]["message"] and 'outcome="broken"} 1.0' in metrics


def test_who_asked_for_ids_gets_them_all_and_the_seed():
    story = Continuation({"return_token_ids": True})
    story.take(event([11], first=True)), story.forget_failure(), story.take(event([12, 13], "stop", first=True, created=9))
    [choice] = story.gathered.whole(story.usage)["choices"]
    assert (choice["token_ids"], choice["seed"], choice["prompt_token_ids"]) == ([11, 12, 13], 99, [1, 2])
    assert story.gathered.whole(story.usage)["created"] == 7


class LastWords(Resumer):
    """Says everything, and dies before the stream has ended."""

    async def _answer(self, request):
        self.patience, self.manner = len(ANSWER) - 1, "die"
        return await super()._answer(request)

    async def _fail(self, request, response):
        await response.write(event(ANSWER[-1:], "stop") + b"\n\n")
        return await super()._fail(request, response)


@pytest.mark.parametrize("usage", [True, False])
def test_a_stream_whose_worker_dies_after_its_last_token_is_whole(tmp_path, usage):
    worker = LastWords()
    raw, metrics = asyncio.run(stream_through(tmp_path, [worker], {"stream_options": {"include_usage": True}} if usage else {}))
    assert said(raw) == "".join(f" w{token}" for token in ANSWER) and raw.endswith(DONE.encode()) and len(worker.asked) == 1
    assert (b'"usage": {"prompt_tokens": 2, "completion_tokens": 6, "total_tokens": 8}' in raw) is usage
    assert 'outcome="ok"} 1.0' in metrics and "moves_total{" not in metrics


class Babbler(Resumer):
    async def _answer(self, request):
        from aiohttp import web

        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b'data: {"id": 3}\n\ndata: [1]\n\n')
        return response


@pytest.mark.parametrize("more", [WHOLE, {}])
def test_a_worker_that_sends_what_is_no_event_is_passed_over(tmp_path, more):
    raw, _ = asyncio.run(stream_through(tmp_path, [Babbler(), Resumer()], more))
    assert b" w11" in raw and b" w16" in raw and b"error" not in raw


def test_a_real_workers_answer_looks_the_same_through_the_gateway_and_survives_its_death(start_three, tmp_path):  # noqa: F811
    three = start_three(tmp_path)
    entries = [{"worker": f"w-{n}", "url": worker.url, "slots": 2, "resumes": True} for n, worker in enumerate(three)]
    (tmp_path / "routes.json").write_text(json.dumps({"models": {"demo": entries}}))

    async def post(session, url, asked):
        async with session.post(url, json=asked) as answer:
            told = await answer.json()
            return answer.status, {key: value for key, value in told.items() if key not in ("id", "created")}

    async def story():
        import aiohttp

        async with open_gateway(Settings(tmp_path / "routes.json")) as gateway, aiohttp.ClientSession() as session:
            ours = f"http://127.0.0.1:{gateway.port}"
            chat = {"model": "demo", "messages": [{"role": "user", "content": "The node"}], "max_tokens": 9, "temperature": 0}
            long = {"model": "demo", "prompt": "The node", "max_tokens": 200, "temperature": 0, "ignore_eos": True}
            for path, asked in (
                ("/v1/chat/completions", chat), ("/v1/completions", {**long, "max_tokens": 9}), ("/v1/completions", {**long, "n": 1}),
                ("/v1/completions", {**long, "max_tokens": 9, "return_token_ids": True, "seed": 3}),
                ("/v1/completions", {**long, "stop": 3}),
            ):
                assert await post(session, ours + path, asked) == await post(session, three[0].url + path, asked)
            expected = await post(session, three[0].url + "/v1/completions", long)
            asking = asyncio.create_task(post(session, ours + "/v1/completions", long))
            while not (busy := [worker for worker in three if worker.state()["running"]]):
                await asyncio.sleep(0.01)
            busy[0].process.kill()
            assert await asking == expected

    asyncio.run(story())
