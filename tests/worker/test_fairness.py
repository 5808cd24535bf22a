"""A tenant that fills the queue neither keeps another one waiting nor gets more into it than the bound in tokens."""

import asyncio
import json

import pytest

pytest.importorskip("jax")
aiohttp = pytest.importorskip("aiohttp")

from tests.worker.test_process import LONG, until  # noqa: E402

GREEDY = 6


async def test_a_short_request_overtakes_the_long_ones_of_another_tenant(start_worker):
    worker = start_worker("--log-requests", "--queue-tokens", 1000)
    await asyncio.to_thread(worker.wait_for, "ready")
    async with aiohttp.ClientSession(worker.url) as session:

        async def ask(tenant, **settings):
            async with session.post("/v1/completions", json=LONG | settings, headers={"X-Tenant": tenant}) as response:
                return response.status, await response.text()

        greedy = [asyncio.create_task(ask("greedy")) for _ in range(GREEDY)]
        await until(lambda: worker.state()["in_flight"] == GREEDY)
        modest = asyncio.create_task(ask("modest", max_tokens=2))
        status, refusal = await ask("greedy")
        assert status == 429 and "tokens wait and 1000 may; this request has 208" in json.loads(refusal)["error"]["message"]
        answers = [await modest, *await asyncio.gather(*greedy)]
    assert {status for status, _ in answers} == {200}
    order = [(await asyncio.to_thread(worker.wait_for, "request"))["client"] for _ in answers]
    assert sorted(order) == ["greedy"] * GREEDY + ["modest"] and order[-1] == "greedy"
    worker.terminate()
    assert worker.wait() == 0
