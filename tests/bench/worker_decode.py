"""Tokens a second of the engine beside transformers' `generate`: same checkpoint, same core, one thread each, turn about.

Each side is a process of its own that loads once and then answers orders, so that a noisy minute is shared by both.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from worker_models import Model

TITLE = "Decode: tokens a second of whole greedy answers (16 prompt tokens, 128 made; quick: 48), medians"
BATCHES = (1, 8, 32)
PROMPT_TOKENS = 16
MAX_LEN = 512


def measure(models: list[Model], quick: bool) -> Iterator[dict]:
    """A row for each model and batch size; without transformers, ours alone."""
    sides = ["ours", "transformers"] if importlib.util.find_spec("transformers") else ["ours"]
    tokens, rounds = (48, 3) if quick else (128, 9)
    for model in models:
        with tempfile.TemporaryDirectory(prefix="opsconsole-bench-") as folder:
            asked = {side: Side(side, model, Path(folder)) for side in sides if side == "ours" or model.is_checkpoint}
            for batch in BATCHES:
                speeds = {side: [] for side in asked}
                for turn in range(rounds + 1):
                    for side, process in asked.items():
                        answer = process.order(batch, tokens)
                        if turn:  # the first compiles and warms
                            speeds[side].append(answer)
                yield {"model": model.name, "batch": batch, **_summary(speeds)}
            for process in asked.values():
                process.end()


def _summary(speeds: dict[str, list[dict]]) -> dict:
    """Medians of each side, and how many times as fast ours is: by the clock, and by CPU time, which a busy machine changes less."""
    fields = ("tokens_per_s", "cpu_us_a_token")
    medians = {side: {name: statistics.median(answer[name] for answer in answers) for name in fields} for side, answers in speeds.items()}
    ours, theirs = medians["ours"], medians.get("transformers")
    row = dict(ours)
    if theirs:
        row |= {f"transformers_{name}": value for name, value in theirs.items()}
        row |= {"ratio": ours["tokens_per_s"] / theirs["tokens_per_s"], "cpu_ratio": theirs["cpu_us_a_token"] / ours["cpu_us_a_token"]}
        row["transformers_with"] = speeds["transformers"][-1]["variant"]
    return row


class Side:
    """One side's process, pinned to the last core."""

    def __init__(self, side: str, model: Model, folder: Path) -> None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1") if side == "transformers" else {}
        self._process = subprocess.Popen(
            [sys.executable, __file__, side, model.source, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **threads, "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu")},
        )

    def order(self, batch: int, tokens: int) -> dict:
        """Have so many answers made at once."""
        print(json.dumps([batch, tokens]), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        self._process.stdin.close()
        self._process.wait(30)


def prompts(batch: int, vocab_size: int) -> list[list[int]]:
    import numpy as np

    return np.random.default_rng(batch).integers(3, vocab_size, (batch, PROMPT_TOKENS)).tolist()


class Ours:
    """The engine on its thread, with as many slots as the batch has answers, or a worker's usual four where that is more."""

    def __init__(self, source: str, folder: str) -> None:
        from tests.worker.conftest import RunningEngine  # settles the environment first, as the worker does

        self._source, self._folder, self._engines, self._start = source, Path(folder) / "programs", {}, RunningEngine

    def _engine(self, batch: int):
        if batch not in self._engines:
            from opsconsole.worker.options import Options

            self._engines[batch] = self._start(Options(self._source, "bench", slots=max(batch, 4), max_len=MAX_LEN, artifacts=self._folder))
            wait_for_programs(self._engines[batch])
        return self._engines[batch]

    def generate(self, batch: int, tokens: int) -> str:
        from opsconsole.worker.request import Request, Sampling

        engine = self._engine(batch)
        asked = prompts(batch, engine.loaded.config.vocab_size)
        answers = engine.answers([Request(prompt, tokens, Sampling(temperature=0.0), ignore_eos=True) for prompt in asked])
        assert [len(answer) for answer in answers] == [tokens] * batch
        return "engine"

    def end(self) -> None:
        for engine in self._engines.values():
            engine.stop()


def wait_for_programs(running) -> None:
    """Until the engine has all of its programs, also those that it gets while it serves."""
    programs = running.loaded.programs
    while len(programs.ready) < len(programs):
        time.sleep(0.05)


class Theirs:
    """`generate` without sampling, processors or end tokens, in whichever of its ways is the fastest here."""

    VARIANTS = tuple((attention, cache) for attention in ("sdpa", "eager") for cache in ("dynamic", "static"))

    def __init__(self, source: str, folder: str) -> None:
        import torch
        import transformers

        torch.set_num_threads(1)
        torch.set_num_interop_threads(1)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self._network = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
        self._best = {}

    def generate(self, batch: int, tokens: int) -> str:
        if batch not in self._best:
            self._best[batch] = min(self.VARIANTS, key=lambda variant: self._seconds(batch, tokens, variant))
        self._run(batch, tokens, self._best[batch])
        return " ".join(self._best[batch])

    def _seconds(self, batch: int, tokens: int, variant: tuple[str, str]) -> float:
        """The better of two, so that one bad moment does not choose."""
        self._run(batch, min(tokens, 8), variant)
        took = []
        for _ in range(2):
            began = time.perf_counter()
            self._run(batch, tokens, variant)
            took.append(time.perf_counter() - began)
        return min(took)

    def _run(self, batch: int, tokens: int, variant: tuple[str, str]) -> None:
        import torch

        self._network.set_attn_implementation(variant[0])
        asked = torch.tensor(prompts(batch, self._network.config.vocab_size))
        settings = {"do_sample": False, "use_cache": True, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": tokens}
        with torch.inference_mode():
            made = self._network.generate(asked, attention_mask=torch.ones_like(asked), cache_implementation=variant[1], **settings)
        assert made.shape == (batch, PROMPT_TOKENS + tokens)

    def end(self) -> None:
        """Nothing of it outlives the process."""


def answer_orders(side: Ours | Theirs) -> None:
    for line in sys.stdin:
        batch, tokens = json.loads(line)
        began, cpu = time.perf_counter(), time.process_time()
        variant = side.generate(batch, tokens)
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        answer = {"tokens_per_s": batch * tokens / took_s, "cpu_us_a_token": cpu_s / batch / tokens * 1e6, "variant": variant}
        print(json.dumps(answer), flush=True)
    side.end()


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    answer_orders({"ours": Ours, "transformers": Theirs}[sys.argv[1]](*sys.argv[2:]))
