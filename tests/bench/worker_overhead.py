"""What the host adds to each token: the engine's loop, and tokens made into text, JSON and events, with a device that does nothing.

Run as a program it is a worker whose steps are empty: everything else in it is the real one.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rig import cpu_s
from worker_client import draw_prompt, open_http, stream
from worker_decode import wait_for_programs
from worker_models import Model
from worker_process import Worker

TITLE = "Host CPU a token, with steps that do nothing: the engine alone, then a whole worker streaming over HTTP at 100 steps/s"
BATCHES = (1, 8, 32)
STEP_S = 0.01
"""About the pace of a real model: at full speed events would carry several tokens each, and cost less a token."""


def empty_steps(step_s: float) -> None:
    """From now on a dispatched step only sleeps, and says a token that is a letter in every vocabulary here."""
    import numpy as np

    from opsconsole.worker import outcome, runner

    def step(self: runner.Runner, *arguments: object) -> np.ndarray:
        if step_s:
            time.sleep(step_s)
        return np.full((self.shapes.slots, outcome.COLUMNS), 70, np.int32)

    runner.Runner.prefill = runner.Runner.prefill_chunk = runner.Runner.decode = step


def measure(models: list[Model], quick: bool) -> Iterator[dict]:
    """Rows for the first model only: what is measured does not depend on it."""
    empty_steps(0.0)
    with tempfile.TemporaryDirectory(prefix="opsconsole-bench-") as folder:
        for batch in BATCHES:
            yield {"part": "engine", "batch": batch, **_engine(models[0], batch, Path(folder), 500 if quick else 5000)}
        for batch in BATCHES:
            yield {"part": "engine, HTTP and text", "batch": batch, **_over_http(models[0], batch, Path(folder), 100 if quick else 480)}


def _engine(model: Model, batch: int, artifacts: Path, rounds: int) -> dict:
    from opsconsole.worker.options import Options
    from opsconsole.worker.request import Request
    from tests.worker.conftest import RunningEngine

    tokens = 256
    running = RunningEngine(Options(model.source, "bench", slots=batch, artifacts=artifacts))
    wait_for_programs(running)
    spent = []
    for _ in range(max(rounds // tokens, 3)):
        before = time.process_time()
        running.answers([Request([5, 6, 7], tokens, ignore_eos=True) for _ in range(batch)])
        spent.append((time.process_time() - before) / tokens * 1e6)
    running.stop()
    step_us = statistics.median(spent)
    return {"cpu_us_a_step": step_us, "cpu_us_a_token": step_us / batch}


def _over_http(model: Model, batch: int, artifacts: Path, tokens: int) -> dict:
    with Worker(model, artifacts, "--slots", batch, program=(__file__,)) as worker:
        worker.wait_for("ready")
        worker.wait_for_all_programs()
        asyncio.run(_stream_together(worker.url, batch, 20))
        before = cpu_s(worker.pid)
        asyncio.run(_stream_together(worker.url, batch, tokens))
        spent_us = (cpu_s(worker.pid) - before) * 1e6
    return {"cpu_us_a_step": spent_us / tokens, "cpu_us_a_token": spent_us / tokens / batch}


async def _stream_together(url: str, batch: int, tokens: int) -> None:
    chance = random.Random(1)
    async with open_http(url) as http:
        answers = await asyncio.gather(*(stream(http, draw_prompt(chance, 8), tokens) for _ in range(batch)))
    assert {answer.tokens for answer in answers} == {tokens}


if __name__ == "__main__":
    from opsconsole.worker import __main__ as worker_program
    from opsconsole.worker import environment

    environment.prepare()
    empty_steps(STEP_S)
    status = worker_program.main(sys.argv[1:])
    os._exit(status)
