"""Turns requests into arguments of the compiled programs, and owns what lives on the device: weights, cache, state."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from .programs import STATE_FIELDS, Shapes, idle_state
from .request import Request


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
    """Dispatches steps; each returns a device array of tokens at once, before it is computed."""

    def __init__(self, shapes: Shapes, programs: dict[str, Callable], params: Any, cache: Any) -> None:
        self.shapes = shapes
        self._programs = programs
        self._params = params
        self._cache = jax.device_put(cache)
        self._state = jax.device_put(idle_state(shapes.slots))

    def prefill(self, pieces: Sequence[Piece]) -> jax.Array:
        """Whole prompts side by side in one step; row n of the result is the first token of piece n."""
        total = sum(piece.stop - piece.start for piece in pieces)
        length = next(length for length in self.shapes.prefill_lengths if length >= total)
        return self._run(f"prefill-{length}", *self._pack(pieces, length))

    def prefill_chunk(self, piece: Piece) -> jax.Array:
        """A part of a long prompt; row 0 of the result is its first token if the part is the final one."""
        return self._run(f"chunk-{self.shapes.chunk}", *self._pack([piece], self.shapes.chunk))

    def decode(self, width: int, reach: int) -> jax.Array:
        """One token for each live slot below `width`, none of which looks back over more than `reach` positions."""
        width = next(choice for choice in self.shapes.widths if choice >= width)
        attend = next(choice for choice in self.shapes.attention_lengths if choice >= reach)
        return self._run(f"decode-{width}x{attend}")

    def warm(self) -> None:
        """Run each program once on nothing, so that the first request pays for no first call."""
        for name in self._programs:
            kind, _, size = name.partition("-")
            tokens = self._run(name) if kind == "decode" else self._run(name, *self._pack([], int(size)))
            tokens.block_until_ready()

    def _run(self, name: str, *arguments: Any) -> jax.Array:
        self._cache, self._state, tokens = self._programs[name](self._params, self._cache, self._state, *arguments)
        return tokens

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
