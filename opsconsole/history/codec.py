"""Numbers into few bytes and back: counts of a metric's smallest difference, as byte planes, compressed; 0 means no reading."""

from __future__ import annotations

import struct
import zlib

import numpy as np

_HEADER = struct.Struct("<Bq")
"""Bytes of one count, and the count that stands as 1."""
_WIDTHS = ((0xFF, "<u1"), (0xFFFF, "<u2"), (0xFFFFFFFF, "<u4"), (2**63, "<u8"))


def pack(values: np.ndarray, scale: float) -> bytes | None:
    """One metric of all slots, (S,) float64 with NaN for no reading, as a frame; None when there is no reading at all."""
    known = np.isfinite(values)
    if not known.any():
        return None
    counts = np.rint(np.where(known, values, 0.0) / scale)
    lowest = counts.min() if known.all() else counts[known].min()
    stored = np.where(known, counts - (lowest - 1.0), 0.0)
    highest = stored.max()
    dtype = np.dtype(next(name for limit, name in _WIDTHS if highest <= limit))
    planes = stored.astype(dtype).view(np.uint8).reshape(-1, dtype.itemsize).T
    return _HEADER.pack(dtype.itemsize, int(lowest)) + zlib.compress(planes.tobytes(), 1)


def unpack(frame: bytes, scale: float) -> np.ndarray:
    """A frame as (S,) float64, NaN for no reading. Raises ValueError when it is damaged."""
    width, lowest, raw = _open(frame)
    planes = np.frombuffer(raw, np.uint8).reshape(width, -1)
    stored = np.ascontiguousarray(planes.T).view(f"<u{width}").ravel()
    return np.where(stored > 0, scaled(stored.astype(np.float64) + (lowest - 1.0), scale), np.nan)


def scaled(counts, scale: float):
    """Counts as values. Divided where a division is exact: 4123 / 10 is the 412.3 that was written, 4123 * 0.1 is not."""
    parts = round(1.0 / scale)
    return counts / parts if parts > 1 else counts * scale


def pick(frame: bytes, slot: int, scale: float) -> float:
    """The value of one slot, NaN for no reading. Raises ValueError when the frame is damaged."""
    width, lowest, raw = _open(frame)
    slots = len(raw) // width
    if slot >= slots:
        return float("nan")
    stored = int.from_bytes(raw[slot::slots], "little")
    return scaled(float(stored + lowest - 1), scale) if stored else float("nan")


def _open(frame: bytes) -> tuple[int, int, bytes]:
    try:
        width, lowest = _HEADER.unpack_from(frame)
        return width, lowest, zlib.decompress(memoryview(frame)[_HEADER.size :])
    except (struct.error, zlib.error) as error:
        raise ValueError(f"a damaged frame: {error}") from None
