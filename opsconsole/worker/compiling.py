"""Gets the programs ready: from the store or by compiling, the needed ones before the worker serves, the others beside it.

Two programs can do everything, only slower than it could be done: the largest decode step and the prefill in chunks. A worker
that has to compile serves as soon as it has these; one that finds all programs in the store begins with the two cheapest. These
two follow within a moment, and the others when a step would be cheaper with them: each costs memory and a start's time. Where
compiling measures on the device itself (a GPU), nothing is compiled beside serving.
"""

import ctypes
import gc
import os
import platform
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np

from .artifacts import ArtifactStore, digest
from .config import ModelConfig
from .programs import Program, Shapes, list_programs

SOURCES = ("model.py", "sampling.py", "outcome.py", "programs.py")
"""The files whose text decides what a compiled program does."""
WAIT_S = 1.0


class Programs:
    """The compiled programs of one model in one shape, by name; some may not be here yet.

    `leading` is (params, cache, state) as they lie on the device, `shardings` that of (cache, state, result) where several
    devices share the work. Between processes each program is compiled once: who needs it takes the store's lock for it, and who
    waited finds it there. `tell` hears why nothing seems to happen.
    """

    def __init__(
        self,
        config: ModelConfig,
        shapes: Shapes,
        leading: tuple,
        store: ArtifactStore | None,
        tell: Callable[[str | None], None] = lambda text: None,
        shardings: tuple | None = None,
    ) -> None:
        self._all = {program.name: program for program in list_programs(config, shapes)}
        self._leading = jax.tree.map(_shape_of, leading)
        self._shardings = shardings
        self._store, self._tell = store, tell
        self._key = digest(identity(config, shapes, leading)) if store else ""
        self._ready: dict[str, Callable] = {}
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self._stopping = False
        self._rest: threading.Thread | None = None
        self._wished: list[str] = []
        self.on_wait: Callable[[], None] = lambda: None
        """Called every WAIT_S while somebody waits for a program: no hang, however long it takes to compile."""
        self.artifacts = "hit"
        """Whether all programs came out of the store ("hit"), or some had to be compiled here ("compiled")."""
        self._found_all = self.all_stored
        self._measures_itself = jax.default_backend() != "cpu"

    def __getitem__(self, name: str) -> Callable:
        return self._ready[name]

    def __len__(self) -> int:
        return len(self._all)

    @property
    def names(self) -> list[str]:
        """Names of all programs, the cheaper of two that can do the same first."""
        return list(self._all)

    def shapes_of(self, name: str) -> tuple:
        """What a program takes after (params, cache, state)."""
        return self._all[name].arguments

    @property
    def all_stored(self) -> bool:
        """Whether the next start will find every program in the store."""
        return self._store is not None and all(self._store.has(self._key, name) for name in self._all)

    @property
    def ready(self) -> list[str]:
        """Names of the programs that can be used now."""
        return list(self._ready)

    def first(self) -> list[str]:
        """The programs without which a worker should not say that it is ready."""
        names = list(self._all)
        decodes = [name for name in names if name.startswith("decode")]
        if self._found_all:
            return [names[0], decodes[0]]
        return names if self._measures_itself else [names[-1], decodes[-1]]

    def prepare(self, names: Sequence[str]) -> None:
        """Load or compile these, in order; what is here already stays."""
        for name in names:
            if name not in self._ready and not self._stopping:
                program = self._fetch(self._all[name])
                with self._changed:
                    self._ready[name] = program
                    self._changed.notify_all()
        _give_back_memory()

    def prepare_rest(self, on_ready: Callable[[], None]) -> None:
        """Begin with the others in a thread beside, as the top of this file tells; `on_ready` is called after each."""

        def rest() -> None:
            try:
                for name in self._following():
                    if name not in self._ready:
                        self.prepare([name])
                        on_ready()
            except Exception as error:  # told to whoever waits for a program
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()

        self._rest = threading.Thread(target=rest, name="programs", daemon=True)
        self._rest.start()

    def _following(self) -> Iterator[str]:
        """What to prepare next: everything where some had to be compiled, so that the next start finds it; else what serves all
        requests, and then whatever is wished for."""
        if not self._found_all:
            yield from self._all
            return
        names = list(self._all)
        yield from [names[-1], names[-2], next(name for name in reversed(names) if name.startswith("prefill"))]
        while (name := self._next_wish()) is not None:
            yield name

    def _next_wish(self) -> str | None:
        """Waits for it; None when there is nothing more to prepare."""
        with self._changed:
            self._changed.wait_for(lambda: self._wished or self._stopping or len(self._ready) == len(self._all))
            return self._wished.pop(0) if self._wished and not self._stopping else None

    def stop(self) -> None:
        """Prepare no more; returns when the one under way is done."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._rest is not None:
            self._rest.join()

    def pick(self, names: Sequence[str]) -> str:
        """The first of these that is ready, or, if none is, the one that becomes so first. The first of all will be, for later."""
        found = self._first_ready(names)
        if found != names[0]:
            self._wish(names[0])
        if found is None:
            with self._changed:
                while not self._changed.wait_for(lambda: self._failure or self._first_ready(names), WAIT_S):
                    self.on_wait()
            if self._failure:
                raise self._failure
            found = self._first_ready(names)
        return found

    def _wish(self, name: str) -> None:
        with self._changed:
            if name not in self._wished:
                self._wished.append(name)
                self._changed.notify_all()

    def _first_ready(self, names: Sequence[str]) -> str | None:
        return next((name for name in names if name in self._ready), None)

    def _fetch(self, program: Program) -> Callable:
        if self._store is None:
            return self._compile(program)
        found = self._store.load(self._key, program.name)
        if found is not None:
            return found
        waiting = f"waiting for another worker that compiles {program.name}"
        with self._store.lock(f"{self._key}-{program.name}", waiting=lambda: self._tell(waiting)):
            self._tell(None)
            found = self._store.load(self._key, program.name)
            if found is None:
                found = self._compile(program)
                self._store.save(self._key, program.name, found)
                self._store.forget_unused()
        return found

    def _compile(self, program: Program) -> Callable:
        self.artifacts = "compiled"
        pinned = {} if self._shardings is None else {"out_shardings": self._shardings}
        # The cache and the state are given up by the caller, so that each step updates them in place.
        return jax.jit(program.function, donate_argnums=(1, 2), **pinned).lower(*self._leading, *program.arguments).compile()


def _give_back_memory() -> None:
    """The compiler leaves a large heap behind, and glibc returns it only when told to; other C libraries need no telling."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _shape_of(leaf: Any) -> jax.ShapeDtypeStruct:
    """The shape alone: the arrays themselves are given up by the steps that run beside."""
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None))


def identity(config: ModelConfig, shapes: Shapes, leading: tuple) -> list:
    """Everything that makes one compiled program different from another; any change of it must miss the store."""
    device = jax.devices()[0]
    sources = [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in SOURCES]
    arrays = [f"{leaf.dtype}{leaf.shape}{_split_of(leaf)}" for leaf in jax.tree.leaves(leading)]
    flags = {name: os.environ.get(name) for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "PJRT_NPROC")}
    versions = [jax.__version__, jaxlib.__version__, np.__version__, platform.python_version()]
    hardware = [device.platform, device.device_kind, device.client.platform_version, jax.device_count(), jax.process_index()]
    return [sources, repr(config), repr(shapes), arrays, flags, versions, hardware, _cpu_kind() if device.platform == "cpu" else None]


def _split_of(leaf: Any) -> str:
    """How an array is split over devices; nothing for one that lies on a single one."""
    sharding = getattr(leaf, "sharding", None)
    return f"{sharding.spec}" if isinstance(sharding, jax.sharding.NamedSharding) else ""


def _cpu_kind() -> list[str]:
    """The CPU's name and features; code compiled for more features than a host has must not run there."""
    wanted = ("model name", "flags", "Features", "CPU part")
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as cpuinfo:
            first = cpuinfo.read().split("\n\n")[0]
    except OSError:
        return [platform.processor(), platform.machine()]
    return [line for line in first.splitlines() if line.startswith(wanted)]
