"""A line of values as braille dots: two columns and four rows of dots in one character."""

from __future__ import annotations

import numpy as np

BRAILLE_BASE = 0x2800
"""The character without any dot; a code of eight dots is added to it."""
_DOTS = np.array(((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80)), np.uint8)  # (4 rows, 2 columns) of dots


def raster(low: np.ndarray, high: np.ndarray, height: int, bottom: float, top: float) -> np.ndarray:
    """(height, width) braille codes of a line that spans low..high in each of 2 * width columns of dots, on an axis from bottom to top.

    A NaN leaves a gap; neighbours are joined.
    """
    rows, width = 4 * height, len(low) // 2
    if not width or not height:
        return np.zeros((height, width), np.uint8)
    scale = (rows - 1) / ((top - bottom) or 1.0)
    first = np.floor(np.clip((top - np.asarray(high, float)) * scale + 0.5, 0, rows - 1))  # rows grow downwards
    last = np.floor(np.clip((top - np.asarray(low, float)) * scale + 0.5, 0, rows - 1))
    first_before, last_before = (np.concatenate([[np.nan], edge[:-1]]) for edge in (first, last))
    with np.errstate(invalid="ignore"):
        joined_first = np.where(last_before < first, last_before + 1, first)
        joined_last = np.where(first_before > last, first_before - 1, last)
        line = np.arange(rows)[:, None]
        lit = (line >= joined_first) & (line <= joined_last)  # (rows, columns)
    return (lit.reshape(height, 4, width, 2) * _DOTS[None, :, None, :]).sum(axis=(1, 3), dtype=np.uint8)
