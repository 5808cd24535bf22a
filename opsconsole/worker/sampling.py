"""Chooses the next token on the device, so that a step never waits for the host, and so that a stream can be repeated.

The noise for a token depends on the request's seed, the token's position and the token's id, on nothing else. A stream
therefore does not depend on its slot or its neighbours, and one that is cut can be continued on another worker.
"""

import jax
import jax.numpy as jnp

from .outcome import LIKELIEST

CANDIDATES = 256
"""A sampled token is one of the so many most likely ones. Their shares are of the whole vocabulary, so top_p is exact
as long as it is reached among them."""


def choose(
    logits: jax.Array,
    temperature: jax.Array,
    top_p: jax.Array,
    top_k: jax.Array,
    seed: jax.Array,
    position: jax.Array,
) -> jax.Array:
    """logits (vocab, B), the rest (B,) -> int32 tokens (B,). Temperature 0 is greedy; top_k 0 means no limit."""
    # Two plain reductions: a CPU does them several numbers at a time, and argmax one by one.
    vocab = logits.shape[0]
    greedy = jnp.where(logits == logits.max(axis=0), jnp.arange(vocab, dtype=jnp.int32)[:, None], vocab - 1).min(axis=0)

    def sampled() -> jax.Array:
        return _draw(logits.T, temperature, top_p, top_k, seed, position)

    # A batch with no sampled request skips the sort and the noise.
    drawn = jax.lax.cond(jnp.any(temperature > 0), sampled, lambda: greedy)
    return jnp.where(temperature > 0, drawn, greedy)


def withhold(logits: jax.Array, tokens: tuple[int, ...], withheld: jax.Array) -> jax.Array:
    """Make `tokens` impossible in the columns of logits (vocab, B) that `withheld` (B,) names."""
    if not tokens:
        return logits
    is_one = (jnp.arange(logits.shape[0])[:, None] == jnp.asarray(tokens)).any(axis=-1)
    return jnp.where(withheld & is_one[:, None], -jnp.inf, logits)


def result(logits: jax.Array, chosen: jax.Array, scored: jax.Array) -> jax.Array:
    """The result of a step with logits (vocab, B): int32 (B, COLUMNS) as `outcome` has it.

    Scores are worked out only if a row of `scored` (B,) asks.
    """
    vocab, rows = logits.shape
    absent = LIKELIEST - min(LIKELIEST, vocab)

    def scores() -> jax.Array:
        shares = jax.nn.log_softmax(logits.T, axis=-1)
        own = jnp.take_along_axis(shares, jnp.maximum(chosen, 0)[:, None], axis=-1)
        best, token = jax.lax.top_k(shares, LIKELIEST - absent)
        ids = jnp.pad(token.astype(jnp.int32), ((0, 0), (0, absent)), constant_values=-1)
        return jnp.concatenate([_bits(own), ids, _bits(jnp.pad(best, ((0, 0), (0, absent))))], axis=1)

    told = jax.lax.cond(jnp.any(scored), scores, lambda: jnp.zeros((rows, 1 + 2 * LIKELIEST), jnp.int32))
    return jnp.concatenate([chosen[:, None], told], axis=1)


def _bits(values: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(values.astype(jnp.float32), jnp.int32)


def _draw(logits, temperature, top_p, top_k, seed, position):
    """Gumbel-max over the candidates that top_k and top_p leave; logits (B, vocab)."""
    scaled = logits / jnp.maximum(temperature, 1e-5)[:, None]
    score, token = jax.lax.top_k(scaled, min(CANDIDATES, logits.shape[-1]))  # (B, C), best first
    share = jnp.exp(score - jax.nn.logsumexp(scaled, axis=-1, keepdims=True))
    likelier = jnp.cumsum(share, axis=-1) - share  # the share of all better candidates; 0 for the best, which always stays
    rank = jnp.arange(score.shape[-1])
    kept = (likelier < top_p[:, None]) & ((top_k[:, None] == 0) | (rank < top_k[:, None]))
    noise = jax.vmap(_noise)(seed, position, token)
    best = jnp.argmax(jnp.where(kept, score + noise, -jnp.inf), axis=-1)
    return jnp.take_along_axis(token, best[:, None], axis=-1)[:, 0].astype(jnp.int32)


def _noise(seed: jax.Array, position: jax.Array, tokens: jax.Array) -> jax.Array:
    """Gumbel noise (C,) for the candidates of one slot."""
    here = jax.random.fold_in(jax.random.key(seed), position)
    return jax.vmap(lambda token: jax.random.gumbel(jax.random.fold_in(here, token)))(tokens)
