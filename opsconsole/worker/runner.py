"""Turns requests into arguments of the compiled programs, and owns what lives on the device: weights, cache, state."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from .compiling import Programs
from .programs import STATE_FIELDS, Shapes
from .request import Request

if TYPE_CHECKING:
    from .hosts import Leader


class Piece(NamedTuple):
    """Tokens start..stop of a prompt, to be added to a slot."""

    request: Request
    slot: int
    start: int
    stop: int

    @property
    def is_final(self) -> bool:
        """Whether the prompt is whole after this piece, so that its first token can be made."""
        return self.stop == len(self.request.prompt_ids)


class Runner:
    """Dispatches steps; each returns a device array, a result as `outcome` has it, at once, before it is computed."""

    def __init__(
        self,
        shapes: Shapes,
        programs: Programs,
        params: Any,
        cache: Any,
        state: Any,
        leader: "Leader | None" = None,
    ) -> None:
        self.shapes = shapes
        self._leader = leader
        """Tells other hosts of each step before it is dispatched here, so that they run it too."""
        self._programs = programs
        self._params, self._cache, self._state = params, cache, state
        self._ran: set[str] = set()

    @property
    def packs(self) -> bool:
        """Whether several prompts can be added in one step by now."""
        return f"prefill-{self.shapes.chunk}" in self._programs.ready

    def prefill(self, pieces: Sequence[Piece]) -> jax.Array:
        """Whole prompts side by side in one step; row n of the result is the first token of piece n."""
        total = sum(piece.stop - piece.start for piece in pieces)
        names = [f"prefill-{length}" for length in self.shapes.prefill_lengths if length >= total]
        name = self._programs.pick(names if len(pieces) > 1 else [*names, f"chunk-{self.shapes.chunk}"])
        return self._run(name, *self._pack(pieces, _size(name)))

    def prefill_chunk(self, piece: Piece) -> jax.Array:
        """A part of a long prompt; row 0 of the result is its first token if the part is the final one."""
        name = self._programs.pick([f"chunk-{self.shapes.chunk}"])
        return self._run(name, *self._pack([piece], self.shapes.chunk))

    def decode(self, width: int, reach: int) -> jax.Array:
        """One token for each live slot below `width`, none of which looks back over more than `reach` positions."""
        shapes = self.shapes
        attends = [attend for attend in shapes.attention_lengths if attend >= reach]
        names = [f"decode-{choice}x{attend}" for choice in shapes.widths if choice >= width for attend in attends]
        return self._run(self._programs.pick(names))

    def prepare_rest(self, on_ready: Callable[[], None]) -> None:
        """Get the programs that are not here yet, beside serving; `on_ready` is called after each."""
        self._programs.prepare_rest(on_ready)

    def stop(self) -> None:
        """Get no more programs, and let the other hosts end."""
        if self._leader is not None:
            self._leader.close()
        self._programs.stop()

    @property
    def cold(self) -> str | None:
        """A program that is ready and has never run; None if there is none."""
        return next((name for name in self._programs.ready if name not in self._ran), None)

    def warm(self, name: str) -> None:
        """Run a program once on nothing, so that no request pays for its first call."""
        self._run(name, *(() if name.startswith("decode") else self._pack([], _size(name)))).block_until_ready()

    def repeat(self, name: str, arguments: tuple) -> None:
        """Run a step that another host announced."""
        self._programs.prepare([name])
        self._run(name, *arguments)

    def _run(self, name: str, *arguments: Any) -> jax.Array:
        self._ran.add(name)
        if self._leader is not None:
            self._leader.tell(name, arguments)
        self._cache, self._state, result = self._programs[name](self._params, self._cache, self._state, *arguments)
        return result

    def _pack(self, pieces: Sequence[Piece], length: int) -> tuple:
        slots = self.shapes.slots
        token = np.zeros(length, np.int32)
        slot = np.full(length, slots, np.int32)  # one past the last slot: what is written there is dropped
        position = np.zeros(length, np.int32)
        last = np.full(slots, length, np.int32)
        target = np.full(slots, slots, np.int32)
        arm = {name: np.zeros(slots, kind) for name, kind in STATE_FIELDS.items() if name not in ("token", "position")}
        end = 0
        for row, piece in enumerate(pieces):
            begin, end = end, end + piece.stop - piece.start
            token[begin:end] = piece.request.prompt_ids[piece.start : piece.stop]
            slot[begin:end] = piece.slot
            position[begin:end] = np.arange(piece.start, piece.stop)
            last[row], target[row] = end - 1, piece.slot
            _arm(arm, row, piece)
        return token, slot, position, last, target, arm


def _arm(arm: dict[str, np.ndarray], row: int, piece: Piece) -> None:
    sampling = piece.request.sampling
    # Before its prompt is whole a slot must be idle, or a decode step would write into the middle of it.
    arm["remaining"][row] = piece.request.max_tokens if piece.is_final else 1
    arm["temperature"][row] = sampling.temperature
    arm["top_p"][row] = sampling.top_p
    arm["top_k"][row] = sampling.top_k
    arm["seed"][row] = sampling.seed & 0xFFFFFFFF
    arm["ignore_eos"][row] = piece.request.ignore_eos
    arm["end_from"][row] = len(piece.request.prompt_ids) + piece.request.min_tokens
    arm["scored"][row] = piece.request.logprobs is not None


def _size(name: str) -> int:
    """The tokens that a prefill program takes."""
    return int(name.partition("-")[2])
