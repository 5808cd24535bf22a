"""The models that the worker's benchmarks run, by name: the demo's, and shapes of other sizes with random weights."""

from __future__ import annotations

import string
import sys
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # for the tests' own rooms

SIZES = {
    "13m": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 64}
    | {"intermediate_size": 1024, "vocab_size": 8192},
    "135m": {"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64}
    | {"intermediate_size": 1536, "vocab_size": 49152},
}


@dataclass(frozen=True)
class Model:
    """One model to measure; `source` is what a worker's --model takes."""

    name: str
    source: str

    @property
    def is_checkpoint(self) -> bool:
        """Whether anybody but our worker can load it."""
        return not self.source.startswith("random:")


def find_models(names: list[str], folder: Path) -> list[Model]:
    """Sizes are written into the folder; "demo", checkpoint folders and random:… stand for themselves."""
    return [Model(Path(name).name, _source(name, folder)) for name in names]


def _source(name: str, folder: Path) -> str:
    if name == "demo":
        return str(ROOT / "demo" / "model")
    if name not in SIZES:
        return name
    from tests.worker.checkpoints import write_checkpoint

    checkpoint = folder / name
    if not checkpoint.exists():
        write_checkpoint(checkpoint, model_type="llama", tie_word_embeddings=True, max_position_embeddings=2048, **SIZES[name])
        _write_tokenizer(checkpoint, SIZES[name]["vocab_size"])
    return str(checkpoint)


def _write_tokenizer(checkpoint: Path, vocab_size: int) -> None:
    """Bytes first, then made-up words, so that every token a random model says is text that has to be decoded."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = sorted(pre_tokenizers.ByteLevel.alphabet())
    made_up = ("".join(letters) for size in (2, 3, 4) for letters in product(string.ascii_lowercase, repeat=size))
    words += islice(made_up, vocab_size - len(words))
    tokenizer = Tokenizer(models.BPE(vocab={word: index for index, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(checkpoint / "tokenizer.json"))
