"""A model split over devices gives the tokens of one device; the devices are a CPU that shows itself as several."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("jax")
pytest.importorskip("safetensors")

from opsconsole.worker.config import UnsupportedModel  # noqa: E402
from opsconsole.worker.sharding import Split  # noqa: E402
from opsconsole.worker.source import TINY  # noqa: E402
from tests.worker.checkpoints import FAMILIES, write_checkpoint  # noqa: E402
from tests.worker.conftest import PATIENCE_S, ROOT  # noqa: E402

SHAPE = {"num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 64, "num_hidden_layers": 2}
TOKENIZER = '{"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}, "added_tokens": []}'


def run_split(checkpoint, count, folder):
    command = [sys.executable, "-m", "tests.worker.split_run", str(checkpoint), str(count), str(folder)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE_S)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize(("family", "count"), [("qwen2", 2), ("llama-biases", 4)])
def test_the_same_tokens_with_two_sums_a_layer(family, count, tmp_path):
    checkpoint = write_checkpoint(tmp_path / family, **FAMILIES[family], **SHAPE)
    (checkpoint / "tokenizer.json").write_text(TOKENIZER)
    found = run_split(checkpoint, count, tmp_path / "programs")
    assert found["split"] == found["alone"]
    assert found["sums_a_layer"] == 2


def test_what_cannot_be_split_is_refused():
    with pytest.raises(UnsupportedModel, match="needs 999 devices"):
        Split(TINY, 999)
