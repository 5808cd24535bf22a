"""Programs can be compiled ahead of a launch, and what NVIDIA GPUs will run can be lowered without one."""

import json
import subprocess
import sys

import pytest

jax = pytest.importorskip("jax")
pytest.importorskip("safetensors")

from opsconsole.worker import loading  # noqa: E402
from opsconsole.worker.model import empty_cache  # noqa: E402
from opsconsole.worker.programs import choose_shapes, idle_state, list_programs  # noqa: E402
from opsconsole.worker.source import SIZES, TINY, parse_source  # noqa: E402
from opsconsole.worker.weights import numpy_draw, random_params  # noqa: E402
from tests.worker.checkpoints import FAMILIES, write_checkpoint  # noqa: E402
from tests.worker.conftest import PATIENCE_S, ROOT, WorkerProcess, stop_by_id  # noqa: E402
from tests.worker.test_sharding import TOKENIZER  # noqa: E402

SHAPE = ["--slots", "1", "--max-len", "32"]


def build(*arguments):
    command = [sys.executable, "-m", "opsconsole.worker", "build", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)


@pytest.fixture
def checkpoint(tmp_path):
    folder = write_checkpoint(tmp_path / "model", **FAMILIES["llama"], num_hidden_layers=1)
    (folder / "tokenizer.json").write_text(TOKENIZER)
    return folder


def test_a_launch_after_a_build_compiles_nothing(checkpoint, tmp_path):
    programs = str(tmp_path / "programs")
    built = [json.loads(build("--model", checkpoint, "--artifacts", programs, *SHAPE).stdout) for _ in range(2)]
    assert [event["artifacts"] for event in built] == ["compiled", "hit"]
    assert built[0]["programs"] == ["prefill-32", "decode-1x32", "chunk-32"] and built[0]["folder"] == programs
    worker = WorkerProcess("--model", checkpoint, "--artifacts", programs, *SHAPE)
    try:
        assert worker.wait_for("ready")["artifacts"] == "hit"
    finally:
        stop_by_id(worker)


def test_what_cannot_be_built_is_said_in_one_line(checkpoint, tmp_path):
    (tmp_path / "file").touch()
    for arguments, why in (
        (["--model", tmp_path / "nowhere"], "is no checkpoint"),
        (["--model", checkpoint, "--max-len", "9999"], "--max-len 9999 is more than"),
        (["--model", checkpoint, "--artifacts", tmp_path / "file" / "below", *SHAPE], "cannot be stored"),
    ):
        ended = build(*map(str, arguments))
        assert ended.returncode == 1
        assert why in json.loads(ended.stderr)["reason"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_program_lowers_for_nvidia(dtype):
    shapes = choose_shapes(2, 256)
    dtype = jax.numpy.dtype(dtype)
    leading = (random_params(TINY, numpy_draw(0, dtype)), empty_cache(TINY, 2, 256, dtype), idle_state(2))
    for program in list_programs(TINY, shapes):
        traced = jax.jit(program.function, donate_argnums=(1, 2)).trace(*leading, *program.arguments)
        assert "stablehlo" in traced.lower(lowering_platforms=("cuda",)).as_text()


def test_sizes_are_what_they_are_called():
    millions = {name: round(config.parameters / 1e6) for name, config in SIZES.items()}
    assert millions == {"tiny": 1, "13m": 13, "135m": 134, "8b": 8030}
    assert parse_source("random:13m?seed=7").seed == 7


def test_the_revision_follows_the_weights(checkpoint):
    def revision():
        return parse_source(str(checkpoint)).revision()

    before = revision()
    assert revision() == before and len(before) == 12
    settings = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(settings | {"rope_theta": 5000.0}))
    assert revision() != before
    assert parse_source("random:tiny").revision() != parse_source("random:tiny?seed=1").revision()


def test_an_accelerator_makes_its_cache_itself(monkeypatch):
    cache = empty_cache(TINY, 2, 8, jax.numpy.dtype("bfloat16"))
    sent = loading._on_device(cache, None)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    made = loading._on_device(cache, None)
    for one, other in zip(jax.tree.leaves(sent), jax.tree.leaves(made), strict=True):
        assert (one.shape, one.dtype, one.sharding) == (other.shape, other.dtype, other.sharding)
        assert not one.any() and not other.any()
