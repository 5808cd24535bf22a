"""Latency of one worker under requests that come at random moments, whether or not earlier ones are done (an open loop)."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from worker_client import Answer, draw_prompt, open_http, percentile, stream
from worker_models import Model
from worker_process import Worker

TITLE = "Latency in ms of 32 + 48 tokens on 8 slots, Poisson arrivals; load is a share of what the worker does flat out"
SLOTS, PROMPT_TOKENS, ANSWER_TOKENS = 8, 32, 48
LOADS = (0.25, 0.5, 0.75, 0.9, 1.1)
SEED = 20


def measure(models: list[Model], quick: bool) -> Iterator[dict]:
    """For each model what it does flat out, then a row for each load."""
    seconds, loads = (5.0, LOADS[1:3]) if quick else (30.0, LOADS)
    for model in models:
        with tempfile.TemporaryDirectory(prefix="opsconsole-bench-") as folder:
            with Worker(model, Path(folder) / "programs", "--slots", SLOTS, "--queue-limit", 1000) as worker:
                worker.wait_for("ready")
                worker.wait_for_all_programs()
                full = asyncio.run(_flat_out(worker.url, min(seconds, 10.0)))
                yield {"model": model.name, "load": "flat out", "requests_per_s": full, "tokens_per_s": full * ANSWER_TOKENS}
                for load in loads:
                    yield {"model": model.name, "load": load, **asyncio.run(_open_loop(worker.url, full * load, seconds))}


async def _flat_out(url: str, seconds: float) -> float:
    """Answers a second with every slot taken and a queue that never ends."""
    chance, done = random.Random(SEED), []
    async with open_http(url) as http:

        async def ask_again_and_again() -> None:
            while True:
                await stream(http, draw_prompt(chance, PROMPT_TOKENS), ANSWER_TOKENS)
                done.append(time.monotonic())

        clients = [asyncio.create_task(ask_again_and_again()) for _ in range(2 * SLOTS)]
        await asyncio.sleep(1.0)
        before, began = len(done), time.monotonic()
        await asyncio.sleep(seconds)
        rate = (len(done) - before) / (time.monotonic() - began)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    return rate


async def _open_loop(url: str, rate: float, seconds: float) -> dict:
    chance, began = random.Random(SEED), time.monotonic() + 0.2
    due, moments = began, []
    while (due := due + chance.expovariate(rate)) < began + seconds:
        moments.append(due)
    async with open_http(url) as http:

        async def ask_at(moment: float) -> Answer:
            await asyncio.sleep(moment - time.monotonic())
            return await stream(http, draw_prompt(chance, PROMPT_TOKENS), ANSWER_TOKENS, moment)

        answers = await asyncio.gather(*(ask_at(moment) for moment in moments))
    whole = [answer for answer in answers if answer.tokens == ANSWER_TOKENS]
    first_ms = [answer.first_ms for answer in whole]
    gaps_ms = [gap for answer in whole for gap in answer.gaps_ms]
    row = {"requests_per_s": rate, "requests": len(answers), "not_answered": len(answers) - len(whole)}
    for name, values in (("ttft", first_ms), ("itl", gaps_ms)):
        row |= {f"{name}_p{int(share * 100)}": percentile(values, share) for share in (0.5, 0.95, 0.99)}
    return row
