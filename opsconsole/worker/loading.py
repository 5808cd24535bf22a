"""From a checkpoint's name to an engine that serves: the four phases of a start, run in a thread of their own.

Nothing here may be imported before the server listens, and jax only inside the first phase: it is most of the wait.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .config import ModelConfig, UnsupportedModel
from .options import Options
from .source import Source, parse_source

if TYPE_CHECKING:
    from .artifacts import ArtifactStore
    from .compiling import Programs
    from .hosts import Leader
    from .runner import Runner
    from .sharding import Split
    from .text import TextCodec


@dataclass(frozen=True)
class Loaded:
    """A model ready to run; `warning` is what did not go as it should, `revision` a short name for its weights."""

    config: ModelConfig
    codec: "TextCodec"
    runner: "Runner"
    programs: "Programs"
    revision: str
    warning: str | None


class Placed(NamedTuple):
    """A model on its device or devices, without programs."""

    config: ModelConfig
    split: "Split | None"
    params: Any
    cache: Any
    state: Any


Tell = Callable[[str | None], None]


def load(options: Options, enter: Callable[[str], None], tell: Tell) -> Loaded:
    """Do all four phases, saying each by `enter`; `tell` hears why one takes long. Raises with one sentence when it cannot."""
    enter("import")
    source = parse_source(options.model)
    config = _checked_config(source, options)
    import jax  # noqa: F401

    _join_hosts(options, tell)
    enter("load")
    from . import text
    from .runner import Runner

    codec = text.read_codec(source.checkpoint) if source.checkpoint else text.byte_codec()
    placed = place(source, config, options)
    enter("compile")
    programs, shapes, store, warning = make_programs(placed, options, tell)
    first = programs.first()
    programs.prepare(first)
    enter("warm")
    runner = Runner(shapes, programs, placed.params, placed.cache, placed.state, _leader(options))
    for name in first:
        runner.warm(name)
    _collect_from_now_on()
    return Loaded(config, codec, runner, programs, source.revision(), warning or _first_rejection(store))


def follow(options: Options, enter: Callable[[str], None], tell: Tell, on_end: Callable[[], None]) -> None:
    """Be one of the further hosts of a model: run what the first one runs; `on_end` as in `hosts.follow`. Raises as `load` does."""
    enter("import")
    from . import hosts
    from .access import read_key
    from .runner import Runner

    _join_hosts(options, tell)
    enter("load")
    source = parse_source(options.model)
    placed = place(source, _checked_config(source, options), options)
    programs, shapes, _, _ = make_programs(placed, options, tell)
    enter("compile")
    programs.prepare(programs.first())
    runner = Runner(shapes, programs, placed.params, placed.cache, placed.state)
    enter("follow")
    _collect_from_now_on()
    hosts.follow(options, read_key(options.api_key_file), programs.shapes_of, runner.repeat, on_end)


def _collect_from_now_on() -> None:
    """Garbage of requests is collected, but what the start made is not looked through each time."""
    gc.freeze()
    gc.enable()


def _join_hosts(options: Options, tell: Tell) -> None:
    if options.hosts > 1:
        from . import hosts

        tell(f"waiting for {options.hosts} hosts to meet at {options.coordinator}")
        hosts.join(options)
        tell(None)


def _leader(options: Options) -> "Leader | None":
    """Who tells the other hosts our steps, if there are any."""
    if options.hosts == 1:
        return None
    from .access import read_key
    from .hosts import Leader

    return Leader(options, read_key(options.api_key_file))


def build(options: Options, tell: Tell) -> dict[str, Any]:
    """Store every program that a worker with these options will need; returns what there is now. Raises as `load` does."""
    source = parse_source(options.model)
    placed = place(source, _checked_config(source, options), options)
    programs, _, store, warning = make_programs(placed, options, tell)
    if store is None:
        raise UnsupportedModel(f"The programs cannot be stored: {warning}.")
    programs.prepare(programs.names)
    if not programs.all_stored:
        raise UnsupportedModel(f"The programs could not be stored: {store.rejected[-1]}.")
    return {"programs": programs.names, "artifacts": programs.artifacts, "folder": str(store.folder)}


def _checked_config(source: Source, options: Options) -> ModelConfig:
    config = source.config()
    if options.max_len > config.max_len:
        raise UnsupportedModel(f"--max-len {options.max_len} is more than the {config.max_len} positions the model was made for.")
    return config


def place(source: Source, config: ModelConfig, options: Options) -> Placed:
    """Put weights, an empty cache and an idle state where they will be computed with."""
    import jax

    from . import weights
    from .model import empty_cache
    from .programs import idle_state
    from .sharding import Split

    split = Split(config, options.tensor_parallel) if options.tensor_parallel > 1 else None
    dtype = _dtype(options)
    state = idle_state(options.slots)
    if source.checkpoint:
        params = weights.load_params(source.checkpoint, config, dtype)
    else:
        draw = weights.numpy_draw if split or jax.default_backend() == "cpu" else weights.device_draw
        params = weights.random_params(config, draw(source.seed, dtype))
    cache = empty_cache(config, options.slots, options.max_len, dtype)
    if split is None:
        return Placed(config, None, jax.device_put(params), _on_device(cache, None), jax.device_put(state))
    params = split.put(params, split.params(params))
    return Placed(config, split, params, _on_device(cache, split), split.put(state, dict.fromkeys(state, split.whole)))


def _on_device(cache: Any, split: "Split | None") -> Any:
    import jax
    import jax.numpy as jnp

    if jax.default_backend() == "cpu":  # numpy's zeros cost nothing there, and nothing is compiled to make them
        return split.put(cache, split.cache) if split else jax.device_put(cache)
    # Gigabytes of zeros are made where they are needed; sending them there would take seconds.
    def zeros(where: Any, part: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype, device=where), part)

    return jax.tree.map(zeros, split.cache, cache) if split else zeros(None, cache)


def _dtype(options: Options) -> Any:
    import jax
    import jax.numpy as jnp

    if options.dtype != "auto":
        return jnp.dtype(options.dtype)
    # On a CPU bfloat16 is emulated and several times slower.
    return jnp.dtype(jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16)


def make_programs(placed: Placed, options: Options, tell: Tell) -> "tuple[Programs, Any, ArtifactStore | None, str | None]":
    """(programs, shapes, store, warning); nothing is loaded or compiled yet."""
    from .compiling import Programs
    from .programs import choose_shapes

    store, warning = _open_store(options)
    shapes = choose_shapes(options.slots, options.max_len)
    results = placed.split.results(placed.state) if placed.split else None
    programs = Programs(placed.config, shapes, (placed.params, placed.cache, placed.state), store, tell, results)
    return programs, shapes, store, warning


def _open_store(options: Options) -> tuple["ArtifactStore | None", str | None]:
    """The store, or none with the reason: a worker without stored programs is slow to start but sound."""
    from .artifacts import ArtifactStore, UnsafeFolder, default_folder

    try:
        return ArtifactStore(options.artifacts or default_folder()), None
    except (UnsafeFolder, OSError) as error:
        return None, f"compiled programs are not kept: {error}"


def _first_rejection(store: "ArtifactStore | None") -> str | None:
    return f"stored program not used: {store.rejected[0]}" if store and store.rejected else None
