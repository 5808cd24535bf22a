"""Run as a program: greedy tokens of one model on one device and split over several, and how often the devices have to talk."""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from opsconsole.worker import environment

environment.prepare(devices=int(sys.argv[2]))

import jax  # noqa: E402
import numpy as np  # noqa: E402

from opsconsole.worker import model, programs  # noqa: E402
from opsconsole.worker.options import Options  # noqa: E402
from opsconsole.worker.request import Request, Sampling  # noqa: E402
from opsconsole.worker.sharding import Split  # noqa: E402
from opsconsole.worker.source import TINY  # noqa: E402
from opsconsole.worker.weights import numpy_draw, random_params  # noqa: E402
from tests.worker.conftest import RunningEngine  # noqa: E402

programs.PREFILL_LENGTHS, model.SEGMENT_ENDS = (16,), ()
PROMPTS = [[5, 9, 31, 44], [7] * 3, [(5 * n) % 58 + 3 for n in range(40)]]


def tokens(options):
    """Greedy answers; the last prompt needs chunks."""
    engine = RunningEngine(options)
    try:
        return engine.answers([Request(prompt, 16, Sampling(0.0), ignore_eos=True) for prompt in PROMPTS])
    finally:
        engine.stop()


def sums(layers, count):
    """All-reduces in the compiled decode step of a model of so many layers."""
    config = replace(TINY, layers=layers)
    split = Split(config, count)
    params = random_params(config, numpy_draw(0, np.float32))
    params, cache = jax.device_put((params, model.empty_cache(config, 2, 8, np.float32)), (split.params(params), split.cache))
    one_each = jax.device_put(np.zeros(2, np.int32), split.whole)
    step = jax.jit(partial(model.decode, config, attend=8), out_shardings=(split.cache, split.whole))
    return step.lower(params, cache, one_each, one_each).compile().as_text().count(" all-reduce(")


def main():
    checkpoint, count, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    shape = {"slots": 2, "max_len": 64, "artifacts": folder}
    alone = Options(checkpoint, "alone", **shape)
    split = Options(checkpoint, "split", tensor_parallel=count, **shape)
    print(json.dumps({"alone": tokens(alone), "split": tokens(split), "sums_a_layer": sums(3, 2) - sums(2, 2)}))


if __name__ == "__main__":
    main()
