"""From a checkpoint's name to an engine that serves: the four phases of a start, run in a thread of their own.

Nothing here may be imported before the server listens, and jax only inside the first phase: it is most of the wait.
"""

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from .config import TINY, ModelConfig, UnsupportedModel, read_config

if TYPE_CHECKING:
    from .artifacts import ArtifactStore
    from .runner import Runner
    from .text import TextCodec

RANDOM_TINY = "random:tiny"


@dataclass(frozen=True)
class Loaded:
    """A model ready to run; `artifacts` is "hit" or "compiled", `warning` what did not go as it should."""

    config: ModelConfig
    codec: "TextCodec"
    runner: "Runner"
    artifacts: str
    warning: str | None


@dataclass(frozen=True)
class Source:
    """Where the weights come from: a checkpoint folder, or drawn from a seed."""

    checkpoint: Path | None
    seed: int = 0


def parse_source(model: str) -> Source:
    """Read the value of `--model`. Raises UnsupportedModel."""
    if not model.startswith("random:"):
        return Source(Path(model).expanduser())
    name, _, query = model.partition("?")
    settings = parse_qs(query)
    if name != RANDOM_TINY or set(settings) - {"seed"}:
        raise UnsupportedModel(f"{model!r} is not known; {RANDOM_TINY}[?seed=N] is the only model without a checkpoint.")
    try:
        return Source(None, int(settings.get("seed", ["0"])[-1]))
    except ValueError:
        raise UnsupportedModel(f"The seed in {model!r} is not a whole number.") from None


def load(
    model: str,
    slots: int,
    max_len: int,
    folder: Path | None,
    enter: Callable[[str], None],
    tell: Callable[[str | None], None],
) -> Loaded:
    """Do all four phases, saying each by `enter`; `tell` hears why one takes long. Raises with one sentence when it cannot."""
    enter("import")
    source = parse_source(model)
    config = read_config(source.checkpoint) if source.checkpoint else TINY
    if max_len > config.max_len:
        raise UnsupportedModel(f"--max-len {max_len} is more than the {config.max_len} positions the model was made for.")
    import jax  # noqa: F401

    enter("load")
    codec, params, cache, runner_type = _read_model(source, config, slots, max_len)
    enter("compile")
    from .programs import build_programs, choose_shapes, idle_state

    store, warning = _open_store(folder)
    shapes = choose_shapes(slots, max_len)
    programs, artifacts = build_programs(config, shapes, (params, cache, idle_state(slots)), store, tell)
    enter("warm")
    runner = runner_type(shapes, programs, params, cache)
    runner.warm()
    _give_back_memory()
    return Loaded(config, codec, runner, artifacts, warning or _first_rejection(store))


def _read_model(source: Source, config: ModelConfig, slots: int, max_len: int) -> tuple[Any, Any, Any, Any]:
    import jax
    import jax.numpy as jnp

    from . import text, weights
    from .model import empty_cache
    from .runner import Runner

    # On a CPU bfloat16 is emulated and several times slower.
    dtype = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    if source.checkpoint:
        codec, params = text.read_codec(source.checkpoint), weights.load_params(source.checkpoint, config, dtype)
    else:
        codec, params = text.byte_codec(), weights.random_params(config, source.seed, dtype)
    return codec, jax.device_put(params), empty_cache(config, slots, max_len, dtype), Runner


def _give_back_memory() -> None:
    """The compiler leaves a large heap behind, and glibc returns it only when told to; other C libraries need no telling."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _open_store(folder: Path | None) -> tuple["ArtifactStore | None", str | None]:
    """The store, or none with the reason: a worker without stored programs is slow to start but sound."""
    from .artifacts import ArtifactStore, UnsafeFolder, default_folder

    try:
        return ArtifactStore(folder or default_folder()), None
    except (UnsafeFolder, OSError) as error:
        return None, f"compiled programs are not kept: {error}"


def _first_rejection(store: "ArtifactStore | None") -> str | None:
    return f"stored program not used: {store.rejected[0]}" if store and store.rejected else None
