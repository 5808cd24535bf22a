"""Says what `--model` names: a checkpoint folder, or weights drawn from a seed, for which nothing has to be downloaded."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs

from .config import ModelConfig, Rope, UnsupportedModel, read_config

HEADER_BYTES = 64 * 1024

TINY = ModelConfig(
    family="llama",
    vocab_size=259,  # 256 bytes and three special tokens: exactly what the byte tokenizer can say
    hidden_size=128,
    layers=4,
    heads=4,
    kv_heads=2,
    head_dim=32,
    ffn_size=512,
    norm_eps=1e-5,
    rope=Rope(),
    max_len=4096,
    tied_embeddings=True,
    eos_ids=(2,),
)
_13M = replace(TINY, vocab_size=8192, hidden_size=384, layers=6, heads=6, head_dim=64, ffn_size=1024)
_135M = replace(TINY, vocab_size=49152, hidden_size=576, layers=30, heads=9, kv_heads=3, head_dim=64, ffn_size=1536)
_8B = ModelConfig(
    family="llama",
    vocab_size=128256,
    hidden_size=4096,
    layers=32,
    heads=32,
    kv_heads=8,
    head_dim=128,
    ffn_size=14336,
    norm_eps=1e-5,
    rope=Rope(theta=500000.0),
    max_len=8192,
    tied_embeddings=False,
    eos_ids=(2,),
)
SIZES = {"tiny": TINY, "13m": _13M, "135m": _135M, "8b": _8B}
"""Shapes that weights are drawn for: about 1, 13 and 135 million parameters, and 8 billion in the shape of Llama 3.1 8B."""


@dataclass(frozen=True)
class Source:
    """Where the weights come from: a checkpoint folder, or a size and a seed."""

    checkpoint: Path | None
    size: str = "tiny"
    seed: int = 0

    def config(self) -> ModelConfig:
        """The model's shape. Raises UnsupportedModel."""
        return read_config(self.checkpoint) if self.checkpoint else SIZES[self.size]

    def revision(self) -> str:
        """A short name for exactly these weights: other ones, or other names or shapes of theirs, get another.

        Of each file of weights it reads the size and the beginning, where every tensor's name, shape and place is: reading
        gigabytes twice would cost the start more than it tells. Weights changed in place, byte for byte as long, also show
        in the file's time of change, which is part of it.
        """
        digest = hashlib.sha256()
        if self.checkpoint is None:
            digest.update(f"random:{self.size}?seed={self.seed}".encode())
        else:
            for path in sorted(self.checkpoint.glob("*.json")):
                digest.update(path.name.encode() + path.read_bytes())
            for path in sorted(self.checkpoint.glob("*.safetensors")):
                facts = path.stat()
                with path.open("rb") as file:
                    digest.update(f"{path.name} {facts.st_size} {facts.st_mtime_ns}".encode() + file.read(HEADER_BYTES))
        return digest.hexdigest()[:12]


def parse_source(model: str) -> Source:
    """Read the value of `--model`. Raises UnsupportedModel."""
    if not model.startswith("random:"):
        return Source(Path(model).expanduser())
    name, _, query = model.removeprefix("random:").partition("?")
    settings = parse_qs(query)
    if name not in SIZES or set(settings) - {"seed"}:
        known = ", ".join(f"random:{size}" for size in SIZES)
        raise UnsupportedModel(f"{model!r} is not known; without a checkpoint there are {known}, each with ?seed=N if wanted.")
    try:
        return Source(None, name, int(settings.get("seed", ["0"])[-1]))
    except ValueError:
        raise UnsupportedModel(f"The seed in {model!r} is not a whole number.") from None
