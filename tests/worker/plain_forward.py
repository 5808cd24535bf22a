"""The transformer written out plainly in numpy from a checkpoint's own tensors: what the fast path has to agree with."""

import json

import numpy as np
from safetensors.numpy import load_file


def rms_norm(x, scale, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * scale


def rotate(x, theta):
    """x (T, heads, D), positions 0 to T - 1, pairs (i, i + D / 2)."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[0])[:, None] * theta ** (-np.arange(half) / half)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    first, second = x[..., :half], x[..., half:]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def attention(settings, tensors, prefix, x):
    heads, kv_heads, width = settings["num_attention_heads"], settings["num_key_value_heads"], settings["head_dim"]
    projected = {}
    for letter, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
        name = f"{prefix}self_attn.{letter}_proj."
        projected[letter] = (x @ tensors[name + "weight"].T + tensors.get(name + "bias", 0)).reshape(len(x), count, width)
        if f"{prefix}self_attn.{letter}_norm.weight" in tensors:
            projected[letter] = rms_norm(projected[letter], tensors[f"{prefix}self_attn.{letter}_norm.weight"], settings["rms_norm_eps"])
    query, key = rotate(projected["q"], settings["rope_theta"]), rotate(projected["k"], settings["rope_theta"])
    result = np.zeros_like(query)
    for head in range(heads):
        shared = head // (heads // kv_heads)
        scores = query[:, head] @ key[:, shared].T / np.sqrt(width)
        scores[np.triu_indices(len(x), 1)] = -np.inf
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        result[:, head] = shares / shares.sum(axis=-1, keepdims=True) @ projected["v"][:, shared]
    out = f"{prefix}self_attn.o_proj."
    return result.reshape(len(x), -1) @ tensors[out + "weight"].T + tensors.get(out + "bias", 0)


def feed_forward(tensors, prefix, x):
    def linear(name, value):
        return value @ tensors[f"{prefix}mlp.{name}_proj.weight"].T + tensors.get(f"{prefix}mlp.{name}_proj.bias", 0)

    gate = linear("gate", x)
    return linear("down", gate / (1 + np.exp(-gate)) * linear("up", x))


def plain_logits(checkpoint, token_ids):
    """Logits (T, vocab) of a whole text, without cache, batch or fusing."""
    settings = json.loads((checkpoint / "config.json").read_text())
    tensors = {name: value.astype(np.float64) for name, value in load_file(checkpoint / "model.safetensors").items()}
    eps = settings["rms_norm_eps"]
    x = tensors["model.embed_tokens.weight"][np.asarray(token_ids)]
    for index in range(settings["num_hidden_layers"]):
        prefix = f"model.layers.{index}."
        x = x + attention(settings, tensors, prefix, rms_norm(x, tensors[prefix + "input_layernorm.weight"], eps))
        x = x + feed_forward(tensors, prefix, rms_norm(x, tensors[prefix + "post_attention_layernorm.weight"], eps))
    output = tensors.get("lm_head.weight", tensors["model.embed_tokens.weight"])
    return rms_norm(x, tensors["model.norm.weight"], eps) @ output.T
