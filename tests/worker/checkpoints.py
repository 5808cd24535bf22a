"""Small checkpoints of each family, written as Hugging Face writes them, with random weights large enough to matter."""

import json
from pathlib import Path

import numpy as np

SHAPE = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 256,
    "eos_token_id": 2,
}
FAMILIES = {
    "llama": {"model_type": "llama", "tie_word_embeddings": True},
    "llama-biases": {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    "mistral": {"model_type": "mistral", "sliding_window": None},
    "qwen2": {"model_type": "qwen2", "use_sliding_window": False, "tie_word_embeddings": True},
    "qwen3": {"model_type": "qwen3"},
}


def write_checkpoint(folder: Path, **settings) -> Path:
    """A folder with config.json and model.safetensors."""
    from safetensors.numpy import save_file

    settings = SHAPE | settings
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(settings))
    save_file(draw_tensors(settings), folder / "model.safetensors")
    return folder


def draw_tensors(settings):
    generator = np.random.default_rng(7)

    def draw(*shape):
        return (generator.standard_normal(shape) * 0.2).astype(np.float32)

    def linear(name, rows, columns, bias):
        return {f"{name}.weight": draw(rows, columns)} | ({f"{name}.bias": draw(rows)} if bias else {})

    hidden, ffn, width = settings["hidden_size"], settings["intermediate_size"], settings["head_dim"]
    heads, kv_heads = settings["num_attention_heads"] * width, settings["num_key_value_heads"] * width
    family, bias, mlp_bias = settings["model_type"], settings.get("attention_bias", False), settings.get("mlp_bias", False)
    tensors = {"model.embed_tokens.weight": draw(settings["vocab_size"], hidden), "model.norm.weight": 1 + draw(hidden)}
    if not settings.get("tie_word_embeddings"):
        tensors["lm_head.weight"] = draw(settings["vocab_size"], hidden)
    for index in range(settings["num_hidden_layers"]):
        prefix = f"model.layers.{index}."
        for name, rows in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
            tensors |= linear(f"{prefix}self_attn.{name}_proj", rows, hidden, bias or family == "qwen2")
        tensors |= linear(f"{prefix}self_attn.o_proj", hidden, heads, bias)
        for name in ("gate", "up"):
            tensors |= linear(f"{prefix}mlp.{name}_proj", ffn, hidden, mlp_bias)
        tensors |= linear(f"{prefix}mlp.down_proj", hidden, ffn, mlp_bias)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}{name}.weight"] = 1 + draw(hidden)
        if family == "qwen3":
            for name in ("q_norm", "k_norm"):
                tensors[f"{prefix}self_attn.{name}.weight"] = 1 + draw(width)
    return tensors
