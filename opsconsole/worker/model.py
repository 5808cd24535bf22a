"""The transformer itself: pure functions from tokens and a cache to logits and the cache with those tokens added.

Shape letters: T tokens of a prefill, B slots of a decode step, N prompts, H hidden, K key heads, G query heads of one
key head, D head width, S positions of a segment. Activations are columns, features before tokens, and a product is `weights @ x`
with weights as a checkpoint has them, (out, in): a CPU does that two to four times as fast as `x @ weights` when tokens are few.

The cache is (keys, values), each a list of one tuple of arrays a layer, an
array for each segment of positions: with layers unrolled and apart, XLA updates each in place, which a stacked array in a scan
does not allow; and a step that needs only the first positions reads whole arrays, where a slice of one would be copied first.
Keys are (slots, K, D, S) and values (slots, K, S, D), so that both products of the attention run along rows.
"""

import math
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .config import ModelConfig, Rope

Cache = tuple[list[tuple[jax.Array, ...]], list[tuple[jax.Array, ...]]]
SEGMENT_ENDS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
"""Where a segment of the cache ends and the next begins; the last one ends with the slot."""
MASKED = -1e30
"""Finite, so that a row with nothing to attend to (padding) gives numbers instead of NaN."""


def empty_cache(config: ModelConfig, slots: int, max_len: int, dtype: Any) -> Cache:
    """Zeros for every layer, in numpy so that nothing is compiled to make them."""
    ends = [end for end in SEGMENT_ENDS if end < max_len] + [max_len]
    sizes = np.diff([0, *ends]).tolist()
    keys = [tuple(np.zeros((slots, config.kv_heads, config.head_dim, size), dtype) for size in sizes) for _ in range(config.layers)]
    values = [tuple(np.zeros((slots, config.kv_heads, size, config.head_dim), dtype) for size in sizes) for _ in range(config.layers)]
    return keys, values


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
    """x (..., features, T), scale (features,)."""
    wide = x.astype(jnp.float32)
    wide = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-2, keepdims=True) + eps)
    return scale[:, None] * wide.astype(x.dtype)


def _angles(config: ModelConfig, position: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines for positions (T,), each (D / 2, T)."""
    angle = rope_frequencies(config.rope, config.head_dim)[:, None] * position.astype(jnp.float32)
    # Behind the barrier they are worked out once; XLA would fuse them into each layer's rotation and do it again there.
    return jax.lax.optimization_barrier((jnp.cos(angle), jnp.sin(angle)))


def _rotate(x: jax.Array, angles: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Turn each pair (i, i + D / 2) of x (..., D, T) by its angle: the Hugging Face order of pairs."""
    cos, sin = angles
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-2)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-2).astype(x.dtype)


def _biased(x: jax.Array, layer: dict, name: str) -> jax.Array:
    """x (..., T), and the bias (...,) of that name where the family has it."""
    return x + layer[name][..., None] if name in layer else x


def _project_qkv(config: ModelConfig, layer: dict, x: jax.Array, angles: tuple) -> tuple[jax.Array, jax.Array, jax.Array]:
    """x (H, T) -> queries (K, G, D, T), keys and values (K, D, T)."""
    fused = _biased(jnp.einsum("kgdh,ht->kgdt", layer["qkv"], x), layer, "qkv_bias")
    group = config.group_size
    query, key, value = fused[:, :group], fused[:, group], fused[:, group + 1]
    if config.qk_norm:
        query = _rms_norm(query, layer["query_norm"], config.norm_eps)
        key = _rms_norm(key, layer["key_norm"], config.norm_eps)
    return _rotate(query, angles), _rotate(key, angles), value


def _finish_layer(config: ModelConfig, layer: dict, x: jax.Array, attended: jax.Array) -> jax.Array:
    """Add the attention's result (K, G, D, T) and the feed-forward's to the stream x (H, T)."""
    flat = attended.reshape(config.heads * config.head_dim, -1)
    x = x + _biased(layer["attention_out"] @ flat, layer, "attention_out_bias")
    normed = _rms_norm(x, layer["mlp_norm"], config.norm_eps)
    gate, up = _biased(jnp.einsum("cfh,ht->cft", layer["gate_up"], normed), layer, "gate_up_bias")
    return x + _biased(layer["down"] @ (jax.nn.silu(gate) * up), layer, "down_bias")


def _logits(config: ModelConfig, params: dict, x: jax.Array) -> jax.Array:
    """x (H, N) -> float32 (vocab, N)."""
    output = params["embedding"] if config.tied_embeddings else params["output"]
    # Behind the barrier it stays this product; a transposition, of which XLA could make the slow one, is not seen through it.
    return jax.lax.optimization_barrier(output @ _rms_norm(x, params["final_norm"], config.norm_eps)).astype(jnp.float32)


class _Part(NamedTuple):
    """A softmax over some of the positions: its largest score and the sum of its weights, (K, G, T) or (B, K, G), and the sum of
    weighted values, (..., D)."""

    largest: jax.Array
    weight: jax.Array
    weighted: jax.Array


def _attend(products: tuple[str, str], query: jax.Array, keys: jax.Array, values: jax.Array, allowed: jax.Array) -> _Part:
    """One segment; `products` are the einsums of queries with keys and of weights with values, `allowed` is as the scores."""
    scores = jnp.einsum(products[0], query, keys, preferred_element_type=jnp.float32) * query.shape[2] ** -0.5
    scores = jnp.where(allowed, scores, MASKED)
    largest = scores.max(axis=-1)
    weights = jnp.exp(scores - largest[..., None])
    weighted = jnp.einsum(products[1], weights.astype(values.dtype), values, preferred_element_type=jnp.float32)
    return _Part(largest, weights.sum(axis=-1), weighted)


def _join(parts: list[_Part], dtype: Any) -> jax.Array:
    """The softmax over all positions; one part's weights may all be of masked scores, and then they come to nothing here."""
    if len(parts) == 1:
        return (parts[0].weighted / parts[0].weight[..., None]).astype(dtype)
    largest = reduce(jnp.maximum, [part.largest for part in parts])
    scales = [jnp.exp(part.largest - largest) for part in parts]
    weight = sum(scale * part.weight for scale, part in zip(scales, parts, strict=True))
    weighted = sum(scale[..., None] * part.weighted for scale, part in zip(scales, parts, strict=True))
    return (weighted / weight[..., None]).astype(dtype)


SLOTS = ("kgdb,bkds->bkgs", "bkgs,bksd->bkgd")
PROMPT = ("kgdt,kds->kgts", "kgts,ksd->kgtd")


def _attend_held(
    products: tuple[str, str], query: jax.Array, keys: tuple, values: tuple, position: jax.Array, attend: int
) -> jax.Array:
    """Attention over the segments that begin before `attend`, each where `position`, (B, 1, 1, 1) or (T, 1), allows it."""
    parts, start = [], 0
    for key, value in zip(keys, values, strict=True):
        if start < attend:
            allowed = start + jnp.arange(value.shape[-2]) <= position
            parts.append(_attend(products, query, key, value, allowed))
        start += value.shape[-2]
    return _join(parts, query.dtype)


def _store(keys: tuple, values: tuple, slot: jax.Array, position: jax.Array, key: jax.Array, value: jax.Array, reach: int) -> tuple:
    """Write keys and values (K, D, T) to their slot and position, which is before `reach`; one outside the cache is dropped,
    which is how padding is said."""
    new_keys, new_values, start = [], [], 0
    key, value = key.transpose(2, 0, 1), value.transpose(2, 0, 1)
    for held_keys, held_values in zip(keys, values, strict=True):
        size = held_values.shape[2]
        if start < reach:
            here = jnp.where((position >= start) & (position < start + size), position - start, size)
            held_keys = held_keys.at[slot, :, :, here].set(key.astype(held_keys.dtype), mode="drop")
            held_values = held_values.at[slot, :, here].set(value.astype(held_values.dtype), mode="drop")
        new_keys.append(held_keys)
        new_values.append(held_values)
        start += size
    return tuple(new_keys), tuple(new_values)


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
    """Add prompt tokens to the cache; returns it with the logits (vocab, N) after each prompt's final token.

    Packed (chunked=False): several whole prompts side by side, each attending within itself, the cache is not read.
    Chunked: a part of one prompt, attending to what its slot already holds as well.
    """
    keys, values = [], []
    x = params["embedding"][token].T
    angles = _angles(config, position)
    max_len = sum(held.shape[2] for held in cache[1][0])
    same_prompt = (slot[:, None] == slot[None, :]) & (position[None, :] <= position[:, None])  # (T, T)
    for layer, old_keys, old_values in zip(params["layers"], *cache, strict=True):
        normed = _rms_norm(x, layer["attention_norm"], config.norm_eps)
        query, key, value = _project_qkv(config, layer, normed, angles)
        held_keys, held_values = _store(old_keys, old_values, slot, position, key, value, max_len if chunked else token.shape[0])
        keys.append(held_keys)
        values.append(held_values)
        if chunked:
            own_keys, own_values = (tuple(held[slot[0]] for held in segments) for segments in (held_keys, held_values))
            attended = _attend_held(PROMPT, query, own_keys, own_values, position[:, None], attend=max_len)
        else:
            attended = _join([_attend(PROMPT, query, key, value.swapaxes(1, 2), same_prompt)], query.dtype)
        x = _finish_layer(config, layer, x, attended.swapaxes(2, 3))
    return (keys, values), _logits(config, params, x[:, jnp.minimum(last, token.shape[0] - 1)])


def decode(
    config: ModelConfig,
    params: dict,
    cache: Cache,
    token: jax.Array,  # (B,) the newest token of slots 0 to B - 1
    position: jax.Array,  # (B,) where it stands; outside the cache for an idle slot, so that nothing is written
    *,
    attend: int,  # positions to look back over; every live slot must be shorter
) -> tuple[Cache, jax.Array]:
    """One more token for each slot; returns the cache with the logits (vocab, B)."""
    width = token.shape[0]
    keys, values = [], []
    x = params["embedding"][token].T
    angles = _angles(config, position)
    rows = jnp.arange(width)
    for layer, old_keys, old_values in zip(params["layers"], *cache, strict=True):
        normed = _rms_norm(x, layer["attention_norm"], config.norm_eps)
        query, key, value = _project_qkv(config, layer, normed, angles)
        held_keys, held_values = _store(old_keys, old_values, rows, position, key, value, attend)
        keys.append(held_keys)
        values.append(held_values)
        own_keys, own_values = (tuple(held[:width] for held in segments) for segments in (held_keys, held_values))
        attended = _attend_held(SLOTS, query, own_keys, own_values, position[:, None, None, None], attend=attend)
        x = _finish_layer(config, layer, x, attended.transpose(1, 2, 3, 0))
    return (keys, values), _logits(config, params, x)
