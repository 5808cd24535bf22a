"""The transformer itself: pure functions from tokens and a cache to logits and the cache with those tokens added.

Shape letters: T tokens of a prefill, B slots of a decode step, N prompts, H hidden, K key heads, G query heads of one
key head, D head width, S positions of a slot. The cache is (keys, values), each a list of one array a layer: with layers
unrolled and apart, XLA updates each in place, which a stacked array in a scan does not allow. Keys are (slots, K, D, S)
and values (slots, K, S, D), so that both products of the attention run along rows: twice as fast on a CPU at long reach.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .config import ModelConfig, Rope

Cache = tuple[list[jax.Array], list[jax.Array]]
MASKED = -1e30
"""Finite, so that a row with nothing to attend to (padding) gives numbers instead of NaN."""


def empty_cache(config: ModelConfig, slots: int, max_len: int, dtype: Any) -> Cache:
    """Zeros for every layer, in numpy so that nothing is compiled to make them."""
    keys = (slots, config.kv_heads, config.head_dim, max_len)
    values = (slots, config.kv_heads, max_len, config.head_dim)
    return ([np.zeros(keys, dtype) for _ in range(config.layers)], [np.zeros(values, dtype) for _ in range(config.layers)])


def rope_frequencies(rope: Rope, head_dim: int) -> np.ndarray:
    """Radians a position for each of the head's pairs, (D / 2,); the llama3 form is the one of Meta's reference code."""
    frequency = rope.theta ** -(np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    if rope.kind == "linear":
        frequency = frequency / rope.factor
    elif rope.kind == "llama3":
        turns = rope.original_max_len * frequency / (2 * math.pi)
        blend = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
        blend = np.clip(blend, 0.0, 1.0)
        frequency = frequency * (blend + (1.0 - blend) / rope.factor)
    return frequency.astype(np.float32)


def _rms_norm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    wide = x.astype(jnp.float32)
    wide = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + eps)
    return scale * wide.astype(x.dtype)


def _angles(config: ModelConfig, position: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines for each position, each (..., 1, D / 2), ready to be spread over heads."""
    angle = position[..., None, None].astype(jnp.float32) * rope_frequencies(config.rope, config.head_dim)
    return jnp.cos(angle), jnp.sin(angle)


def _rotate(x: jax.Array, angles: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Turn each pair (i, i + D / 2) of x (..., heads, D) by its angle: the Hugging Face order of pairs."""
    cos, sin = angles
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


def _project_qkv(config: ModelConfig, layer: dict, x: jax.Array, angles: tuple) -> tuple[jax.Array, jax.Array, jax.Array]:
    """x (..., H) -> queries (..., K, G, D), keys and values (..., K, D)."""
    fused = jnp.einsum("...h,hkgd->...kgd", x, layer["qkv"])
    if "qkv_bias" in layer:
        fused = fused + layer["qkv_bias"]
    group = config.group_size
    query, key, value = fused[..., :group, :], fused[..., group, :], fused[..., group + 1, :]
    if config.qk_norm:
        query = _rms_norm(query, layer["query_norm"], config.norm_eps)
        key = _rms_norm(key, layer["key_norm"], config.norm_eps)
    rotated = _rotate(query.reshape(*x.shape[:-1], config.heads, config.head_dim), angles)
    return rotated.reshape(query.shape), _rotate(key, angles), value


def _finish_layer(config: ModelConfig, layer: dict, x: jax.Array, attended: jax.Array) -> jax.Array:
    """Add the attention's result (..., K, G, D) and the feed-forward's to the stream x (..., H)."""
    flat = attended.reshape(*x.shape[:-1], config.heads * config.head_dim)
    x = x + flat @ layer["attention_out"] + layer.get("attention_out_bias", 0)
    normed = _rms_norm(x, layer["mlp_norm"], config.norm_eps)
    gate_up = jnp.einsum("...h,hcf->...cf", normed, layer["gate_up"]) + layer.get("gate_up_bias", 0)
    return x + (jax.nn.silu(gate_up[..., 0, :]) * gate_up[..., 1, :]) @ layer["down"] + layer.get("down_bias", 0)


def _logits(config: ModelConfig, params: dict, x: jax.Array) -> jax.Array:
    """x (N, H) -> float32 (N, vocab)."""
    x = _rms_norm(x, params["final_norm"], config.norm_eps)
    if config.tied_embeddings:
        return jnp.einsum("nh,vh->nv", x, params["embedding"]).astype(jnp.float32)
    return (x @ params["output"]).astype(jnp.float32)


def _attend_prompt(query: jax.Array, keys: jax.Array, values: jax.Array, allowed: jax.Array) -> jax.Array:
    """query (T, K, G, D), keys (K, D, S), values (K, S, D), allowed (T, S) -> (T, K, G, D)."""
    scores = jnp.einsum("tkgd,kds->kgts", query, keys, preferred_element_type=jnp.float32) * query.shape[-1] ** -0.5
    shares = jax.nn.softmax(jnp.where(allowed, scores, MASKED), axis=-1).astype(values.dtype)
    return jnp.einsum("kgts,ksd->tkgd", shares, values)


def _attend_slots(query: jax.Array, keys: jax.Array, values: jax.Array, allowed: jax.Array) -> jax.Array:
    """query (B, K, G, D), keys (B, K, D, S), values (B, K, S, D), allowed (B, S) -> (B, K, G, D)."""
    scores = jnp.einsum("bkgd,bkds->bkgs", query, keys, preferred_element_type=jnp.float32) * query.shape[-1] ** -0.5
    shares = jax.nn.softmax(jnp.where(allowed[:, None, None], scores, MASKED), axis=-1).astype(values.dtype)
    return jnp.einsum("bkgs,bksd->bkgd", shares, values)


def _store_keys(cache: jax.Array, slot: jax.Array, position: jax.Array, rows: jax.Array) -> jax.Array:
    """Write rows (T, K, D) to their slot and position; one outside the cache is dropped, which is how padding is said."""
    return cache.at[slot, :, :, position].set(rows.astype(cache.dtype), mode="drop")


def _store_values(cache: jax.Array, slot: jax.Array, position: jax.Array, rows: jax.Array) -> jax.Array:
    """The same for values, whose positions lie before the width."""
    return cache.at[slot, :, position].set(rows.astype(cache.dtype), mode="drop")


def prefill(
    config: ModelConfig,
    params: dict,
    cache: Cache,
    token: jax.Array,  # (T,)
    slot: jax.Array,  # (T,); a padding token names the slot one past the last
    position: jax.Array,  # (T,)
    last: jax.Array,  # (N,) index of each prompt's final token; clipped where unused
    *,
    chunked: bool,
) -> tuple[Cache, jax.Array]:
    """Add prompt tokens to the cache; returns it with the logits (N, vocab) after each prompt's final token.

    Packed (chunked=False): several whole prompts side by side, each attending within itself, the cache is not read.
    Chunked: a part of one prompt, attending to what its slot already holds as well.
    """
    keys, values = [], []
    x = params["embedding"][token]
    angles = _angles(config, position)
    same_prompt = (slot[:, None] == slot[None, :]) & (position[None, :] <= position[:, None])  # (T, T)
    for layer, old_keys, old_values in zip(params["layers"], *cache, strict=True):
        normed = _rms_norm(x, layer["attention_norm"], config.norm_eps)
        query, key, value = _project_qkv(config, layer, normed, angles)
        keys.append(_store_keys(old_keys, slot, position, key))
        values.append(_store_values(old_values, slot, position, value))
        if chunked:
            held_keys, held_values = keys[-1][slot[0]], values[-1][slot[0]]
            allowed = jnp.arange(held_values.shape[1])[None, :] <= position[:, None]
        else:
            held_keys, held_values = key.transpose(1, 2, 0), value.swapaxes(0, 1)
            allowed = same_prompt
        x = _finish_layer(config, layer, x, _attend_prompt(query, held_keys, held_values, allowed))
    return (keys, values), _logits(config, params, x[jnp.minimum(last, token.shape[0] - 1)])


def decode(
    config: ModelConfig,
    params: dict,
    cache: Cache,
    token: jax.Array,  # (B,) the newest token of slots 0 to B - 1
    position: jax.Array,  # (B,) where it stands; outside the cache for an idle slot, so that nothing is written
    *,
    attend: int,  # positions to look back over; every live slot must be shorter
) -> tuple[Cache, jax.Array]:
    """One more token for each slot; returns the cache with the logits (B, vocab)."""
    width = token.shape[0]
    keys, values = [], []
    x = params["embedding"][token]
    angles = _angles(config, position)
    rows = jnp.arange(width)
    allowed = jnp.arange(attend)[None, :] <= position[:, None]  # (B, S)
    for layer, old_keys, old_values in zip(params["layers"], *cache, strict=True):
        normed = _rms_norm(x, layer["attention_norm"], config.norm_eps)
        query, key, value = _project_qkv(config, layer, normed, angles)
        keys.append(_store_keys(old_keys, rows, position, key))
        values.append(_store_values(old_values, rows, position, value))
        attended = _attend_slots(query, keys[-1][:width, ..., :attend], values[-1][:width, :, :attend], allowed)
        x = _finish_layer(config, layer, x, attended)
    return (keys, values), _logits(config, params, x)
