"""The program that trains the demo's model: a few steps of it, far too few to learn anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jax")
tokenizers = pytest.importorskip("tokenizers")

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "demo" / "model"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    command = [sys.executable, str(ROOT / "demo" / "train_model.py"), str(folder), "--steps", "9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    losses = [float(line.rpartition(" ")[2]) for line in done.stdout.splitlines() if line.startswith("step")]
    assert len(losses) == 2 and losses[1] < losses[0] < 8
    return folder


def test_it_writes_a_checkpoint_of_the_shipped_shape(trained):
    assert {path.name for path in trained.iterdir()} == {path.name for path in SHIPPED.iterdir()}
    for name in ("config.json", "tokenizer_config.json"):
        assert json.loads((trained / name).read_text()) == json.loads((SHIPPED / name).read_text())
    assert (trained / "model.safetensors").stat().st_size == (SHIPPED / "model.safetensors").stat().st_size < 2_000_000


def test_the_shipped_model_was_trained_from_this_grammar(trained):
    vocabularies = [tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab() for folder in (trained, SHIPPED)]
    assert vocabularies[0] == vocabularies[1], "the words of the grammar have changed: train the model anew"


def test_names_are_spelled_and_words_are_not(trained):
    tokenizer = tokenizers.Tokenizer.from_file(str(trained / "tokenizer.json"))
    assert tokenizer.encode(" drain zq1-h100-a").tokens == ["Ġdrain", "Ġ", *"zq1-h100-a"]
    assert tokenizer.encode("<|im_end|>").ids == [2]
