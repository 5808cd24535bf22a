"""Names the few programs that serve every request, at fixed shapes, so that all are compiled before the first one comes.

A program takes (params, cache, state, ...) and returns (cache, state, result). `state` holds, for each slot, what the
next decode step needs; it stays on the device, so that a step can be dispatched before the last one's tokens are read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import model, sampling
from .config import ModelConfig

State = dict[str, Any]
STATE_FIELDS = {
    "token": np.int32,
    "position": np.int32,  # where `token` stands
    "remaining": np.int32,  # tokens still to make; 0 means the slot is idle
    "temperature": np.float32,
    "top_p": np.float32,
    "top_k": np.int32,
    "seed": np.uint32,
    "ignore_eos": np.bool_,
    "end_from": np.int32,  # no end token at a position before this one
    "scored": np.bool_,  # log probabilities are wanted
}
PREFILL_LENGTHS = (32, 128)
LONG_CHUNK = 512
LONG_MAX_LEN = 1024
"""A worker of longer slots prefills in larger pieces too: fewer steps for each prompt."""
WIDTH_STEP = 4
"""A decode step for few slots is compiled apart from one for four times as many."""


@dataclass(frozen=True)
class Shapes:
    """The fixed sizes of the programs; every token count is rounded up to one of them."""

    slots: int
    max_len: int
    prefill_lengths: tuple[int, ...]
    attention_lengths: tuple[int, ...]
    widths: tuple[int, ...]

    @property
    def chunk(self) -> int:
        """Tokens of a long prompt that are added in one step."""
        return self.prefill_lengths[-1]


def choose_shapes(slots: int, max_len: int) -> Shapes:
    """Few programs start fast; these few cost at most about four times the work of exact shapes, and mostly less than twice."""
    lengths = {min(length, max_len) for length in PREFILL_LENGTHS}
    if max_len > LONG_MAX_LEN:
        lengths.add(LONG_CHUNK)
    attention = {length for length in model.SEGMENT_ENDS if length < max_len} | {max_len}
    widths = {1, slots}
    while slots >= 2 * WIDTH_STEP:
        slots //= WIDTH_STEP
        widths.add(slots)
    return Shapes(max(widths), max_len, tuple(sorted(lengths)), tuple(sorted(attention)), tuple(sorted(widths)))


class Program(NamedTuple):
    """One function and the shapes of what follows (params, cache, state) in its arguments."""

    name: str
    function: Callable
    arguments: tuple


def list_programs(config: ModelConfig, shapes: Shapes) -> Iterator[Program]:
    """Every program, the cheaper of two that can do the same first."""
    for length in shapes.prefill_lengths:
        yield Program(f"prefill-{length}", partial(prefill_step, config, chunked=False), _prefill_arguments(shapes, length))
    for width in shapes.widths:
        for attend in shapes.attention_lengths:
            yield Program(f"decode-{width}x{attend}", partial(decode_step, config, width=width, attend=attend), ())
    arguments = _prefill_arguments(shapes, shapes.chunk)
    yield Program(f"chunk-{shapes.chunk}", partial(prefill_step, config, chunked=True), arguments)


def _prefill_arguments(shapes: Shapes, length: int) -> tuple:
    tokens = jax.ShapeDtypeStruct((length,), np.int32)
    prompts = jax.ShapeDtypeStruct((shapes.slots,), np.int32)
    arm = {name: jax.ShapeDtypeStruct((shapes.slots,), kind) for name, kind in STATE_FIELDS.items() if name not in ("token", "position")}
    return (tokens, tokens, tokens, prompts, prompts, arm)


def idle_state(slots: int) -> State:
    """State in which no slot is live."""
    return {name: np.zeros(slots, kind) for name, kind in STATE_FIELDS.items()}


def prefill_step(config, params, cache, state, token, slot, position, last, target, arm, *, chunked):
    """Add prompts, choose the token after each, and arm slot target[n] with row n of `arm`; a target outside is dropped.

    Where `remaining` is 1 or the token ends the answer, the slot is left idle: there is nothing more to make.
    """
    cache, logits = model.prefill(config, params, cache, token, slot, position, last, chunked=chunked)
    following = position[jnp.minimum(last, token.shape[0] - 1)] + 1
    chosen = _choose(config, logits, arm, arm["temperature"], following)
    ended = _is_end(config, chosen) & ~arm["ignore_eos"]
    armed = arm | {"token": chosen, "position": following, "remaining": jnp.where(ended, 0, arm["remaining"] - 1)}
    state = {name: state[name].at[target].set(armed[name], mode="drop") for name in STATE_FIELDS}
    return cache, state, sampling.result(logits, chosen, arm["scored"])


def decode_step(config, params, cache, state, *, width, attend):
    """One token for each live slot below `width`; idle ones give -1 and write nothing."""
    slots, max_len = cache[1][0][0].shape[0], sum(held.shape[2] for held in cache[1][0])
    here = {name: state[name][:width] for name in STATE_FIELDS}
    live = here["remaining"] > 0
    position = jnp.where(live, here["position"], max_len)
    cache, logits = model.decode(config, params, cache, here["token"], position, attend=attend)
    chosen = _choose(config, logits, here, jnp.where(live, here["temperature"], 0.0), here["position"] + 1)
    ended = _is_end(config, chosen) & ~here["ignore_eos"]
    changed = {
        "token": jnp.where(live, chosen, here["token"]),
        "position": here["position"] + live,
        "remaining": jnp.where(live & ~ended, here["remaining"] - 1, 0),
    }
    whole = changed if width == slots else {name: state[name].at[:width].set(value) for name, value in changed.items()}
    return cache, state | whole, sampling.result(logits, jnp.where(live, chosen, -1), here["scored"] & live)


def _choose(config: ModelConfig, logits: jax.Array, row: State, temperature: jax.Array, position: jax.Array) -> jax.Array:
    """The token for `position` (B,), drawn as each row's settings say."""
    allowed = sampling.withhold(logits, config.eos_ids, position < row["end_from"])
    return sampling.choose(allowed, temperature, row["top_p"], row["top_k"], row["seed"], position)


def _is_end(config: ModelConfig, chosen: jax.Array) -> jax.Array:
    return (chosen[:, None] == jnp.asarray(config.eos_ids or (-1,), jnp.int32)).any(axis=-1)
