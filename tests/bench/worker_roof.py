"""How near a decode step comes to what the device's memory allows: each step has to read every weight and every held key and value.

Steps are dispatched back to back and waited for once, so that the host shows only where it cannot keep up. Run as a program it prints
its rows as JSON: python tests/bench/worker_roof.py random:8b [STEPS]
"""

from __future__ import annotations

import glob
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from worker_models import Model

TITLE = "Memory roof: decode steps at 384 to 512 tokens of context, and their share of the copy bandwidth measured and of the datasheet's"
SLOTS, CONTEXT, MAX_LEN = 32, 384, 1024
BATCHES = (1, 32)
STEPS = 100
"""The context grows by as many: with them it stays within one of the sizes that attention is compiled for."""

DATASHEET_GB_S = {
    "B200": 8000,
    "H200": 4800,
    "H100 PCIe": 2000,
    "H100 NVL": 3900,
    "H100": 3350,
    "A100-SXM4-80GB": 2039,
    "A100 80GB PCIe": 1935,
    "A100": 1555,
    "L40": 864,
    "L4": 300,
    "A10": 600,
    "V100": 900,
    "T4": 320,
    "RTX 6000 Ada": 960,
    "RTX 4090": 1008,
}
"""Memory bandwidth by a part of the chip's name; the first that occurs in it counts."""


def measure(models: list[Model], quick: bool) -> Iterator[dict]:
    """Rows for an 8 B shape where there is an NVIDIA GPU, in a process of its own; else nothing."""
    if not glob.glob("/dev/nvidia[0-9]*"):
        print("no NVIDIA GPU here: the memory roof is not measured", file=sys.stderr)
        return
    said = subprocess.run([sys.executable, __file__, "random:8b"], stdout=subprocess.PIPE, text=True, check=True).stdout
    yield from json.loads(said)


def rows(source: str, steps: int) -> Iterator[dict]:
    from opsconsole.worker import environment

    environment.prepare()
    import jax

    from opsconsole.worker.loading import load
    from opsconsole.worker.options import Options

    device = jax.devices()[0]
    sheet_gb_s = next((speed for name, speed in DATASHEET_GB_S.items() if name in device.device_kind), None)
    copy_gb_s = copy_bandwidth_gb_s(2**31 if device.platform == "gpu" else 2**27)
    with tempfile.TemporaryDirectory(prefix="opsconsole-bench-") as folder:
        options = Options(source, "bench", slots=SLOTS, max_len=MAX_LEN, artifacts=Path(folder) / "programs")
        loaded = load(options, lambda phase: None, lambda text: None)
        loaded.programs.prepare(loaded.programs.names)
        for batch in BATCHES:
            step_s = decode_step_s(loaded.runner, batch, steps)
            roof_gb_s = bytes_a_step(loaded.config, batch, 2 if device.platform == "gpu" else 4) / step_s / 1e9
            row = {"model": source, "device": device.device_kind, "batch": batch, "ms_a_step": step_s * 1e3, "tokens_per_s": batch / step_s}
            row |= {"gb_per_s": roof_gb_s, "copy_gb_per_s": copy_gb_s, "of_copy_pct": roof_gb_s / copy_gb_s * 100}
            yield row | {"of_datasheet_pct": roof_gb_s / sheet_gb_s * 100 if sheet_gb_s else None}


def copy_bandwidth_gb_s(size: int, turns: int = 20) -> float:
    """Bytes read and written a second by the plainest thing a device can do with a large array."""
    import jax
    import jax.numpy as jnp

    copy = jax.jit(lambda array: array + 1)
    array = jnp.zeros(size // 4, jnp.float32)
    copy(array).block_until_ready()
    began = time.perf_counter()
    for _ in range(turns):
        copied = copy(array)
    copied.block_until_ready()
    return 2 * size * turns / (time.perf_counter() - began) / 1e9


def bytes_a_step(config, batch: int, item_bytes: int) -> int:
    """What one decode step cannot do without reading; of an embedding that is not the output matrix too, only a few rows."""
    unread = 0 if config.tied_embeddings else config.vocab_size * config.hidden_size
    held = batch * (CONTEXT + STEPS // 2) * 2 * config.layers * config.kv_heads * config.head_dim
    return (config.parameters - unread + held) * item_bytes


def decode_step_s(runner, batch: int, steps: int) -> float:
    """Seconds a step with so many live slots, after a prompt in each; the first run of steps warms."""
    from opsconsole.worker.request import Request, Sampling
    from opsconsole.worker.runner import Piece

    chunk = runner.shapes.chunk
    for _ in range(2):
        for slot in range(batch):
            request = Request([5 + slot] * CONTEXT, steps + 1, Sampling(temperature=0.0), ignore_eos=True)
            for start in range(0, CONTEXT, chunk):
                result = runner.prefill_chunk(Piece(request, slot, start, min(start + chunk, CONTEXT)))
        result.block_until_ready()
        began = time.perf_counter()
        for step in range(steps):
            result = runner.decode(batch, CONTEXT + step + 1)
        result.block_until_ready()
    return (time.perf_counter() - began) / steps


if __name__ == "__main__":
    print(json.dumps(list(rows(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else STEPS))))
