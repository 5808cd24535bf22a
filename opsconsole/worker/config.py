"""Reads what a checkpoint says about its own shape, and refuses early and in one sentence what the model code cannot run."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUPPORTED = ("llama", "mistral", "qwen2", "qwen3")


class UnsupportedModel(ValueError):
    """The checkpoint asks for something this worker does not do; the text is one sentence for the operator."""


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding; `kind` is default, linear or llama3, and the other numbers matter only to their kind."""

    theta: float = 10000.0
    kind: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_len: int = 8192


@dataclass(frozen=True)
class ModelConfig:
    """The shape of one decoder-only transformer of the Llama family."""

    family: str
    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn_size: int
    norm_eps: float
    rope: Rope
    max_len: int
    tied_embeddings: bool
    qkv_bias: bool = False
    attention_out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    eos_ids: tuple[int, ...] = ()

    @property
    def group_size(self) -> int:
        """Query heads that share one key and value head."""
        return self.heads // self.kv_heads

    @property
    def parameters(self) -> int:
        """How many numbers the model has, norms and biases left out."""
        attention = self.hidden_size * self.head_dim * 2 * (self.heads + self.kv_heads)
        layer = attention + 3 * self.hidden_size * self.ffn_size
        return self.vocab_size * self.hidden_size * (1 if self.tied_embeddings else 2) + self.layers * layer


def read_config(checkpoint: Path) -> ModelConfig:
    """The shape of a Hugging Face checkpoint folder. Raises UnsupportedModel with the reason."""
    settings = _read_json(checkpoint / "config.json")
    _refuse_unsupported(settings)
    try:
        return _from_settings(settings, _eos_ids(checkpoint, settings))
    except KeyError as missing:
        raise UnsupportedModel(f"{checkpoint}/config.json lacks the key {missing}.") from missing


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnsupportedModel(f"{path.parent} is no checkpoint: it has no {path.name}.") from None
    except (OSError, ValueError) as error:
        raise UnsupportedModel(f"{path} cannot be read: {error}.") from error


def _refuse_unsupported(settings: dict[str, Any]) -> None:
    family = settings.get("model_type")
    if family not in SUPPORTED:
        named = ", ".join(settings.get("architectures") or []) or "of no stated name"
        raise UnsupportedModel(
            f"Architecture {named} (model_type {family!r}) is not supported; this worker serves Llama, Mistral, Qwen2 and Qwen3."
        )
    if settings.get("quantization_config"):
        method = settings["quantization_config"].get("quant_method", "unknown")
        raise UnsupportedModel(f"Quantized weights ({method}) are not supported; use the unquantized checkpoint.")
    if settings.get("hidden_act", "silu") != "silu":
        raise UnsupportedModel(f"Activation {settings['hidden_act']!r} is not supported; only silu is.")
    slides = settings.get("use_sliding_window") if family.startswith("qwen") else settings.get("sliding_window")
    if slides:
        raise UnsupportedModel("Sliding window attention is not supported.")


def _from_settings(settings: dict[str, Any], eos_ids: tuple[int, ...]) -> ModelConfig:
    family = settings["model_type"]
    heads = settings["num_attention_heads"]
    kv_heads = settings.get("num_key_value_heads") or heads
    if heads % kv_heads:
        raise UnsupportedModel(f"{heads} attention heads cannot share {kv_heads} key heads evenly.")
    attention_bias = bool(settings.get("attention_bias", False))
    return ModelConfig(
        family=family,
        vocab_size=settings["vocab_size"],
        hidden_size=settings["hidden_size"],
        layers=settings["num_hidden_layers"],
        heads=heads,
        kv_heads=kv_heads,
        head_dim=settings.get("head_dim") or settings["hidden_size"] // heads,
        ffn_size=settings["intermediate_size"],
        norm_eps=settings["rms_norm_eps"],
        rope=_rope(settings),
        max_len=settings.get("max_position_embeddings", 2048),
        tied_embeddings=bool(settings.get("tie_word_embeddings", False)),
        qkv_bias=family == "qwen2" or attention_bias,
        attention_out_bias=family != "qwen2" and attention_bias,
        mlp_bias=bool(settings.get("mlp_bias", False)),
        qk_norm=family == "qwen3",
        eos_ids=eos_ids,
    )


def _rope(settings: dict[str, Any]) -> Rope:
    """transformers 5 writes `rope_parameters`; version 4 writes `rope_theta` beside `rope_scaling`."""
    scaling = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    theta = float(scaling.get("rope_theta", settings.get("rope_theta", 10000.0)))
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "default":
        return Rope(theta)
    if kind == "linear":
        return Rope(theta, kind, scaling["factor"])
    if kind == "llama3":
        original = scaling["original_max_position_embeddings"]
        return Rope(theta, kind, scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"], original)
    raise UnsupportedModel(f"Position embedding {kind!r} is not supported; default, linear and llama3 are.")


def _eos_ids(checkpoint: Path, settings: dict[str, Any]) -> tuple[int, ...]:
    """Instruction-tuned checkpoints name further end tokens in generation_config.json, so both files count."""
    found: set[int] = set()
    generation = checkpoint / "generation_config.json"
    for source in (settings, _read_json(generation) if generation.exists() else {}):
        named = source.get("eos_token_id")
        found.update(named if isinstance(named, list) else [] if named is None else [named])
    return tuple(sorted(found))
