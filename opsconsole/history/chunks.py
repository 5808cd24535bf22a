"""Sealed numbers: one metric of a block of slots over a row of ticks in one blob, much smaller than the frames it came from.

The table `chunk` has a row for (step, metric, t0, block): the tier's step in seconds, the metric's id, the second its window begins with,
and which slots: those of block b are b * BLOCK and following. Its columns are chunks: `mean`, and of coarser tiers `below`, `above` and
`readings` (see tiers), where `readings` counts seconds and the others count the metric's smallest difference. A chunk holds BLOCK slots at
the ticks of one window (120 seconds, 60 minutes or 72 times ten minutes):

    byte 0        mode: 0 values, 1 differences, 2 one value a slot that holds for all ticks
    byte 1        bytes of a number: 1, 2, 4 or 8
    bytes 2..9    lowest: the count that is stored as 1, signed, little-endian
    the rest      zlib: the lowest byte of every number, then the next of every number; the numbers are those of the first slot
                  in the order of the ticks, then those of the next

A number is 0 where there is no reading, else count - lowest + 1; value = count * scale of the metric. Differences are taken along the
ticks of a slot, the first against 0, and folded so that small ones are small: 0, -1, 1, -2, 2 ... are stored as 0, 1, 2, 3, 4.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

from opsconsole.history.codec import NONE, inflated, narrowest

BLOCK = 32
VALUES, DIFFERENCES, CONSTANT = range(3)
LEVEL = 6
TRIED_SHARE = 16
"""One block of so many is compressed both ways to choose one for all."""
EVERY = slice(None)
_HEADER = struct.Struct("<BBq")
_HEADERS = np.dtype([("mode", "u1"), ("width", "u1"), ("lowest", "<i8")])


def pack_chunks(counts: np.ndarray) -> list[bytes | None]:
    """A chunk for each block of (S, T) int64 counts, NONE for no reading; None for a block without any."""
    blocks = _in_blocks(counts)  # (B, BLOCK, T)
    known = blocks != NONE
    lowest = np.where(known, blocks, np.iinfo(np.int64).max).min(axis=(1, 2))
    stored = np.where(known, blocks - (lowest[:, None, None] - 1), 0)
    highest = stored.max(axis=(1, 2))
    if highest.size and highest.max() < 2**31:
        stored = stored.astype(np.int32)
    constant = (stored == stored[:, :, :1]).all(axis=(1, 2))
    chunks: list[bytes | None] = [None] * len(blocks)
    for place in np.flatnonzero(constant & (highest > 0)).tolist():
        chunks[place] = _chunk(CONSTANT, stored[place, :, :1], int(highest[place]), int(lowest[place]))
    varying = np.flatnonzero(~constant)
    if len(varying):
        for place, chunk in zip(varying.tolist(), _varying(stored[varying], lowest[varying]), strict=True):
            chunks[place] = chunk
    return chunks


def _in_blocks(counts: np.ndarray) -> np.ndarray:
    slots, ticks = counts.shape
    missing = -slots % BLOCK
    if missing:
        counts = np.concatenate([counts, np.full((missing, ticks), NONE)])
    return counts.reshape(-1, BLOCK, ticks)


def _varying(stored: np.ndarray, lowest: np.ndarray) -> list[bytes]:
    """As values or as differences, whichever is shorter for some that are tried."""
    tried = slice(0, None, TRIED_SHARE)
    differences = _folded(stored[tried])
    of_values, of_differences = _chunks(VALUES, stored[tried], lowest[tried]), _chunks(DIFFERENCES, differences, lowest[tried])
    if sum(map(len, of_values)) <= sum(map(len, of_differences)):
        return _chunks(VALUES, stored, lowest)
    return _chunks(DIFFERENCES, _folded(stored), lowest)


def _folded(stored: np.ndarray) -> np.ndarray:
    steps = stored.copy()
    steps[:, :, 1:] -= stored[:, :, :-1]
    return (steps << 1) ^ (steps >> (steps.itemsize * 8 - 1))


def _chunks(mode: int, numbers: np.ndarray, lowest: np.ndarray) -> list[bytes]:
    highest = numbers.view(f"<u{numbers.itemsize}").max(axis=(1, 2))
    return [
        _chunk(mode, block, top, low) for block, top, low in zip(numbers, highest.tolist(), lowest.tolist(), strict=True)
    ]


def _chunk(mode: int, numbers: np.ndarray, highest: int, lowest: int) -> bytes:
    dtype = narrowest(highest)
    planes = numbers.astype(dtype).view(np.uint8).reshape(-1, dtype.itemsize).T.tobytes()
    return _HEADER.pack(mode, dtype.itemsize, lowest) + zlib.compress(planes, LEVEL)


def unpack_chunks(chunks: Sequence[bytes], ticks: int, rows: np.ndarray | slice = EVERY) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of each chunk, (n, rows, ticks) unsigned with 0 for no reading, and what to add to get counts, (n,) int64.

    rows: which of the slots of the blocks. The last axis is 1 where no chunk varies. Raises ValueError when one of them is damaged.
    """
    headers = np.frombuffer(b"".join([chunk[: _HEADER.size].ljust(_HEADER.size, b"\xff") for chunk in chunks]), _HEADERS)
    raw = [inflated(memoryview(chunk)[_HEADER.size :], 8 * BLOCK * ticks) for chunk in chunks]
    kinds = headers["mode"].astype(np.int64) * 256 + headers["width"]
    groups = {kind: np.flatnonzero(kinds == kind) for kind in np.unique(kinds).tolist()}
    decoded = {kind: _decoded(kind >> 8, kind & 255, [raw[place] for place in places], ticks, rows) for kind, places in groups.items()}
    widest = max((part.dtype for part in decoded.values()), key=lambda dtype: dtype.itemsize)
    _, count, length = np.max([part.shape for part in decoded.values()], axis=0)
    numbers = np.empty((len(chunks), count, length), widest)
    for kind, places in groups.items():
        numbers[places] = decoded[kind]
    return numbers, headers["lowest"] - 1


def unpack_readable(chunks: Sequence[bytes], ticks: int, rows: np.ndarray | slice = EVERY) -> tuple[list[int], np.ndarray, np.ndarray]:
    """As `unpack_chunks`, of those that are not damaged; first which these are."""
    try:
        return list(range(len(chunks))), *unpack_chunks(chunks, ticks, rows)
    except ValueError:
        whole = [place for place, chunk in enumerate(chunks) if _is_whole(chunk, ticks)]
    if not whole:
        return [], np.zeros((0, BLOCK, ticks), np.uint8), np.zeros(0, np.int64)
    return whole, *unpack_chunks([chunks[place] for place in whole], ticks, rows)


def _is_whole(chunk: bytes, ticks: int) -> bool:
    try:
        unpack_chunks([chunk], ticks)
    except ValueError:
        return False
    return True


def _decoded(mode: int, width: int, raw: list[bytes], ticks: int, rows: np.ndarray | slice) -> np.ndarray:
    """(n, rows, ticks or 1)."""
    if mode not in (VALUES, DIFFERENCES, CONSTANT) or width not in (1, 2, 4, 8):
        raise ValueError("a damaged chunk: it is of no known kind")
    length = 1 if mode == CONSTANT else ticks
    planes = np.frombuffer(b"".join(raw), np.uint8)
    if len(planes) != len(raw) * width * BLOCK * length:
        raise ValueError("a damaged chunk: it has another length than its window")
    planes = planes.reshape(len(raw), width, BLOCK, length)[:, :, rows]
    numbers = planes[:, 0]
    for place in range(1, width):
        numbers = numbers | (planes[:, place].astype(f"<u{width}") << (8 * place))
    if mode != DIFFERENCES:
        return numbers
    wide = np.int64 if width == 8 else np.int32
    steps = numbers.astype(wide)
    steps = (steps >> 1 & np.iinfo(wide).max) ^ -(steps & 1)
    return np.cumsum(steps, axis=2, dtype=wide).astype(f"<u{np.dtype(wide).itemsize}")


def counts_of(numbers: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """What `unpack_chunks` gave, as (n * BLOCK, ticks) int64 counts with NONE for no reading."""
    counts = np.where(numbers > 0, numbers.astype(np.int64) + offset[:, None, None], NONE)
    return counts.reshape(-1, numbers.shape[2])
