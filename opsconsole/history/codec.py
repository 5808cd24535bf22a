"""Numbers into few bytes and back: counts of a metric's smallest difference from the lowest of them; 0 means no reading.

A frame is one metric of all slots at one tick, as it is written each second: packed quickly, and sealed into chunks minutes later.

    byte 0        64 + bytes of a number (1, 2, 4 or 8), 96 + these where all slots have the same
    bytes 1..4    slots
    bytes 5..12   lowest: the count that is stored as 1, signed
    the rest      the number of each slot, or the one of all

All is little-endian. A number is 0 where there is no reading, else count - lowest + 1; value = count * scale of the metric. Older files
have frames that begin with the bytes of a number alone, then `lowest`, then zlib of the lowest byte of each slot, the next of each ...
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

NONE = np.iinfo(np.int64).min
"""Stands for no reading among counts."""
_HEADER = struct.Struct("<BIq")
_OLD_HEADER = struct.Struct("<Bq")
_PLAIN, _SAME = 64, 96
_WIDTHS = ((0xFF, "<u1"), (0xFFFF, "<u2"), (0xFFFFFFFF, "<u4"), (2**63, "<u8"))


SLOTS_LIMIT = 10_000_000
"""More things of one kind than any fleet has: who says so wants our memory."""


def inflated(data: bytes | memoryview, limit: int) -> bytes:
    """What was compressed by zlib, at most `limit` bytes of it: a few bytes of a stranger's file may stand for any number.

    Raises ValueError for more than that and for what is damaged.
    """
    engine = zlib.decompressobj()
    try:
        raw = engine.decompress(data, limit + 1)
    except zlib.error as error:
        raise ValueError(f"damaged: {error}") from None
    if len(raw) > limit or not engine.eof:
        raise ValueError("damaged: it is longer than it can be, or cut off")
    return raw


def narrowest(highest: int) -> np.dtype:
    """The unsigned type that holds numbers up to `highest`."""
    return np.dtype(next(name for limit, name in _WIDTHS if highest <= limit))


def counted(values: np.ndarray, scale: float) -> np.ndarray:
    """Values as counts, int64; NONE where there is no reading."""
    known = np.isfinite(values)
    counts = np.rint(np.where(known, values, 0.0) / scale).astype(np.int64)
    return counts if known.all() else np.where(known, counts, NONE)


def pack(values: np.ndarray, scale: float) -> bytes | None:
    """One metric of all slots, (S,) float64 with NaN for no reading, as a frame; None when there is no reading at all."""
    return pack_counts(counted(values, scale))


def pack_counts(counts: np.ndarray) -> bytes | None:
    """The same of counts, (S,) int64."""
    known = counts != NONE
    if not known.any():
        return None
    lowest = int(counts.min() if known.all() else counts[known].min())
    stored = np.where(known, counts - (lowest - 1), 0)
    dtype = narrowest(int(stored.max()))
    stored = stored.astype(dtype)
    if (stored == stored[0]).all():
        return _HEADER.pack(_SAME + dtype.itemsize, len(stored), lowest) + stored[:1].tobytes()
    return _HEADER.pack(_PLAIN + dtype.itemsize, len(stored), lowest) + stored.tobytes()


def unpack(frame: bytes, scale: float) -> np.ndarray:
    """A frame as (S,) float64, NaN for no reading. Raises ValueError when it is damaged."""
    counts = unpack_counts(frame)
    return np.where(counts != NONE, scaled(counts, scale), np.nan)


def unpack_counts(frame: bytes) -> np.ndarray:
    """A frame as (S,) int64 counts. Raises ValueError when it is damaged."""
    stored, lowest = _opened(frame)
    return np.where(stored > 0, stored.astype(np.int64) + (lowest - 1), NONE)


def _opened(frame: bytes) -> tuple[np.ndarray, int]:
    """The numbers of all slots, and `lowest`."""
    try:
        if frame[0] < _PLAIN:
            return _old(frame)
        kind, slots, lowest = _HEADER.unpack_from(frame)
        width = kind & 15
        numbers = np.frombuffer(frame, f"<u{width}", offset=_HEADER.size)
    except (IndexError, struct.error, ValueError, TypeError) as error:
        raise ValueError(f"a damaged frame: {error}") from None
    if len(numbers) != (1 if kind >= _SAME else slots) or slots > SLOTS_LIMIT:
        raise ValueError("a damaged frame: it has another length than it says")
    return (np.broadcast_to(numbers, slots) if kind >= _SAME else numbers), lowest


def _old(frame: bytes) -> tuple[np.ndarray, int]:
    width, lowest = _OLD_HEADER.unpack_from(frame)
    planes = np.frombuffer(inflated(memoryview(frame)[_OLD_HEADER.size :], 8 * SLOTS_LIMIT), np.uint8).reshape(width, -1)
    return np.ascontiguousarray(planes.T).view(f"<u{width}").ravel(), lowest


def pick(frame: bytes, slot: int, scale: float) -> float:
    """The value of one slot, NaN for no reading. Raises ValueError when the frame is damaged."""
    count = pick_count(frame, slot)
    return float("nan") if count == NONE else scaled(count, scale)


def pick_count(frame: bytes, slot: int) -> int:
    """The count of one slot. Raises ValueError when the frame is damaged."""
    if len(frame) > _HEADER.size and frame[0] >= _PLAIN:
        kind, slots, lowest = _HEADER.unpack_from(frame)
        width = kind & 15
        if len(frame) == _HEADER.size + width * (1 if kind >= _SAME else slots):
            begin = _HEADER.size + (0 if kind >= _SAME else slot * width)
            number = int.from_bytes(frame[begin : begin + width], "little") if slot < slots else 0
            return number + lowest - 1 if number else NONE
    stored, lowest = _opened(frame)
    number = int(stored[slot]) if slot < len(stored) else 0
    return number + lowest - 1 if number else NONE


def scaled(counts, scale: float):
    """Counts as values. Divided where a division is exact: 4123 / 10 is the 412.3 that was written, 4123 * 0.1 is not."""
    parts = round(1.0 / scale)
    return counts / parts if parts > 1 else counts * scale
