"""Drains under load: who was accepted gets the whole answer, who was not is told so, and the counts agree on both sides."""

import asyncio
import json
from collections import Counter

import pytest

pytest.importorskip("jax")
aiohttp = pytest.importorskip("aiohttp")

from tests.worker.test_process import LONG, ask_slowly, chunks_of, text_of, until  # noqa: E402

ROUNDS = 100
CLIENTS = 5
SHORT = {"prompt": [300] * 8, "max_tokens": 4, "temperature": 0, "ignore_eos": True}


def verdict(status, raw, body):
    """"whole" or "refused"; anything else is a lost request."""
    if status == 503:
        assert json.loads(raw)["error"]["code"] == "draining"
        return "refused"
    assert status == 200
    if body.get("stream"):
        events = chunks_of(raw)
        assert events[-1]["choices"][0]["finish_reason"] == "length"
    else:
        assert json.loads(raw)["usage"]["completion_tokens"] == body["max_tokens"]
    return "whole"


class Crowd:
    """Clients that ask again as soon as they are answered, half of them for streams."""

    def __init__(self, worker):
        self.worker, self.verdicts, self.going = worker, Counter(), True

    async def run(self):
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(self._client(session, SHORT | {"stream": bool(number % 2)}) for number in range(CLIENTS)))

    async def _client(self, session, body):
        while self.going:
            try:
                status, _, raw = await ask_slowly(session, self.worker, body)
            except aiohttp.ClientConnectionError:  # it has ended; that nothing was accepted then is for the counts to prove
                return
            self.verdicts[verdict(status, raw, body)] += 1
            await asyncio.sleep(0.001)


async def test_a_hundred_drains_under_load_lose_nothing(shared_worker):
    crowd, before = Crowd(shared_worker), shared_worker.state()["requests_total"]
    running = asyncio.create_task(crowd.run())
    async with aiohttp.ClientSession(shared_worker.url) as session:

        async def asked(method, path):
            async with session.request(method, path) as response:
                return await response.json()

        for _ in range(ROUNDS):
            served, refused = crowd.verdicts["whole"], crowd.verdicts["refused"]
            await until(lambda served=served: crowd.verdicts["whole"] > served or running.done())
            told = await asked("POST", "/drain")
            while told["state"] == "DRAINING":
                told = await asked("GET", "/state")
            assert (told["state"], told["in_flight"], told["running"], told["waiting"], told["requests"]) == ("DRAINED", 0, 0, 0, [])
            await until(lambda refused=refused: crowd.verdicts["refused"] > refused or running.done())
            assert (await asked("GET", "/state"))["requests_total"] == told["requests_total"]
            assert (await asked("POST", "/undrain"))["state"] == "READY"
        crowd.going = False
        await running
        assert (await asked("GET", "/state"))["requests_total"] - before == crowd.verdicts["whole"] >= ROUNDS


async def test_sigterm_under_load_loses_nothing_and_the_last_line_counts_it(start_worker):
    workers = [start_worker(), start_worker()]
    for worker in workers:
        await asyncio.to_thread(worker.wait_for, "ready")
    crowds = [Crowd(worker) for worker in workers]
    running = [asyncio.create_task(crowd.run()) for crowd in crowds]
    for worker, crowd in zip(workers, crowds, strict=True):
        await until(lambda crowd=crowd: crowd.verdicts["whole"] > 20 or all(task.done() for task in running))
        worker.terminate()
    await asyncio.gather(*running)
    for worker, crowd in zip(workers, crowds, strict=True):
        ended = await asyncio.to_thread(worker.wait_for, "ended")
        assert await asyncio.to_thread(worker.wait) == 0 and not worker.errors
        served = crowd.verdicts["whole"]
        assert ended["requests"] == {"stop": 0, "length": served, "abort": 0, "error": 0}
        assert (ended["status"], ended["requests_total"], ended["tokens_total"]) == (0, served, served * SHORT["max_tokens"])
        assert ended["prompt_tokens_total"] == served * len(SHORT["prompt"])


async def test_at_the_deadline_every_client_hears_that_it_was_cut(start_worker):
    worker = start_worker("--drain-deadline", 0.05)
    await asyncio.to_thread(worker.wait_for, "ready")
    async with aiohttp.ClientSession() as session:
        streams = [asyncio.create_task(ask_slowly(session, worker)) for _ in range(20)]
        whole = [asyncio.create_task(ask_slowly(session, worker, LONG | {"stream": False})) for _ in range(4)]
        await until(lambda: worker.state()["in_flight"] == 24 and worker.state()["requests"][0]["tokens"] > 1)
        worker.terminate()
        answers = await asyncio.gather(*streams, *whole)
    deadline = await asyncio.to_thread(worker.wait_for, "deadline")
    ended = await asyncio.to_thread(worker.wait_for, "ended")
    assert await asyncio.to_thread(worker.wait) == 5 == ended["status"]
    cut = [headers["X-Request-Id"] for status, headers, raw in answers if is_cut(status, raw)]
    assert ended["reason"] == f"the drain deadline passed and cut {len(cut)} requests"
    assert deadline["cut"] == len(cut) == ended["requests"]["error"] > 0 and sorted(deadline["ids"]) == sorted(cut)


def is_cut(status, raw):
    """Whether an answer says that it was cut; one that says nothing has to be whole."""
    if status == 503:
        return json.loads(raw)["error"]["code"] == "drain_deadline"
    if b"[DONE]" not in raw and raw.startswith(b"data"):
        last = raw.decode().strip().rpartition("data: ")[2]
        return json.loads(last)["error"]["code"] == "drain_deadline"
    assert status == 200 and (text_of(raw) if raw.startswith(b"data") else json.loads(raw)["choices"][0]["finish_reason"] == "length")
    return False
