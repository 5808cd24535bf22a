"""Names the few programs that serve every request, at fixed shapes, so that all are compiled before the first one comes.

A program takes (params, cache, state, ...) and returns (cache, state, tokens). `state` holds, for each slot, what the
next decode step needs; it stays on the device, so that a step can be dispatched before the last one's tokens are read.
"""

import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from . import model, sampling
from .artifacts import ArtifactStore, digest
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
}
PREFILL_LENGTHS = (32, 128)
LONG_CHUNK = 512
LONG_MAX_LEN = 1024
"""A worker of longer slots prefills in larger pieces too: fewer steps for each prompt."""
ATTENTION_LENGTHS = (128, 512, 2048, 8192, 32768)


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
    """Few programs start fast; these few cost at most about twice the work of exact shapes."""
    lengths = {min(length, max_len) for length in PREFILL_LENGTHS}
    if max_len > LONG_MAX_LEN:
        lengths.add(LONG_CHUNK)
    attention = {length for length in ATTENTION_LENGTHS if length < max_len} | {max_len}
    return Shapes(slots, max_len, tuple(sorted(lengths)), tuple(sorted(attention)), tuple(sorted({1, slots})))


class Program(NamedTuple):
    """One function and the shapes of what follows (params, cache, state) in its arguments."""

    name: str
    function: Callable
    arguments: tuple


def list_programs(config: ModelConfig, shapes: Shapes) -> Iterator[Program]:
    """Every program, the ones that a first short request needs first."""
    for length in shapes.prefill_lengths:
        yield Program(f"prefill-{length}", partial(prefill_step, config, chunked=False), _prefill_arguments(shapes, length))
    for width in shapes.widths:
        for attend in shapes.attention_lengths:
            yield Program(f"decode-{width}x{attend}", partial(decode_step, config, width=width, attend=attend), ())
    if shapes.max_len > shapes.chunk:
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
    chosen = sampling.choose(logits, arm["temperature"], arm["top_p"], arm["top_k"], arm["seed"], following)
    ended = _is_end(config, chosen) & ~arm["ignore_eos"]
    armed = arm | {"token": chosen, "position": following, "remaining": jnp.where(ended, 0, arm["remaining"] - 1)}
    state = {name: state[name].at[target].set(armed[name], mode="drop") for name in STATE_FIELDS}
    return cache, state, chosen


def decode_step(config, params, cache, state, *, width, attend):
    """One token for each live slot below `width`; idle ones give -1 and write nothing."""
    slots, max_len = cache[0][0].shape[0], cache[0][0].shape[2]
    here = {name: state[name][:width] for name in STATE_FIELDS}
    live = here["remaining"] > 0
    position = jnp.where(live, here["position"], max_len)
    cache, logits = model.decode(config, params, cache, here["token"], position, attend=attend)
    temperature = jnp.where(live, here["temperature"], 0.0)
    chosen = sampling.choose(logits, temperature, here["top_p"], here["top_k"], here["seed"], here["position"] + 1)
    ended = _is_end(config, chosen) & ~here["ignore_eos"]
    changed = {
        "token": jnp.where(live, chosen, here["token"]),
        "position": here["position"] + live,
        "remaining": jnp.where(live & ~ended, here["remaining"] - 1, 0),
    }
    whole = changed if width == slots else {name: state[name].at[:width].set(value) for name, value in changed.items()}
    return cache, state | whole, jnp.where(live, chosen, -1)


def _is_end(config: ModelConfig, chosen: jax.Array) -> jax.Array:
    return (chosen[:, None] == jnp.asarray(config.eos_ids or (-1,), jnp.int32)).any(axis=-1)


def build_programs(
    config: ModelConfig,
    shapes: Shapes,
    leading: tuple,
    store: ArtifactStore | None,
    tell: Callable[[str | None], None] = lambda text: None,
) -> tuple[dict[str, Callable], str]:
    """Every program ready to call, and "hit" if all came from the store, else "compiled".

    `leading` is (params, cache, state), as arrays or shapes. Between processes the work is done once: who needs to compile
    takes the store's lock, and who waited for it finds the programs there. `tell` hears why nothing seems to happen.
    """
    programs = list(list_programs(config, shapes))
    if store is None:
        return {program.name: _compile(program, leading) for program in programs}, "compiled"
    key = digest(identity(config, shapes, leading))
    ready = _load(store, key, programs)
    if len(ready) == len(programs):
        return ready, "hit"
    with store.lock(key, waiting=lambda: tell("waiting for another worker that compiles the same programs")):
        tell(None)
        compiled = False
        ready |= _load(store, key, [program for program in programs if program.name not in ready])
        for program in programs:
            if program.name not in ready:
                ready[program.name] = _compile(program, leading)
                store.save(key, program.name, ready[program.name])
                compiled = True
        store.forget_unused()
    return ready, "compiled" if compiled else "hit"


def _load(store: ArtifactStore, key: str, programs: list[Program]) -> dict[str, Callable]:
    found = {program.name: store.load(key, program.name) for program in programs}
    return {name: executable for name, executable in found.items() if executable is not None}


def _compile(program: Program, leading: tuple) -> Callable:
    # The cache and the state are given up by the caller, so that each step updates them in place.
    return jax.jit(program.function, donate_argnums=(1, 2)).lower(*leading, *program.arguments).compile()


def identity(config: ModelConfig, shapes: Shapes, leading: tuple) -> list:
    """Everything that makes one compiled program different from another; any change of it must miss the store."""
    device = jax.devices()[0]
    sources = [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("model.py", "sampling.py", "programs.py")]
    arrays = [f"{leaf.dtype}{leaf.shape}" for leaf in jax.tree.leaves(leading)]
    flags = {name: os.environ.get(name) for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "PJRT_NPROC")}
    versions = [jax.__version__, jaxlib.__version__, np.__version__, platform.python_version()]
    hardware = [device.platform, device.device_kind, device.client.platform_version, jax.device_count()]
    return [sources, repr(config), repr(shapes), arrays, flags, versions, hardware, _cpu_kind() if device.platform == "cpu" else None]


def _cpu_kind() -> list[str]:
    """The CPU's name and features; code compiled for more features than a host has must not run there."""
    wanted = ("model name", "flags", "Features", "CPU part")
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as cpuinfo:
            first = cpuinfo.read().split("\n\n")[0]
    except OSError:
        return [platform.processor(), platform.machine()]
    return [line for line in first.splitlines() if line.startswith(wanted)]
