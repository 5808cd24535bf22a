"""A line of values as braille dots: two columns and four rows of dots in one character."""

from __future__ import annotations

import numpy as np

BRAILLE = [chr(0x2800 + code) for code in range(256)]
_DOTS = np.array(((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80)), np.uint8)  # (4 rows, 2 columns) of dots


def raster(values: np.ndarray, width: int, height: int, low: float, high: float) -> np.ndarray:
    """(height, width) braille codes of one line; a NaN leaves a gap, neighbours are joined. Newest value last."""
    columns, rows = 2 * width, 4 * height
    if not len(values) or not width or not height:
        return np.zeros((height, width), np.uint8)
    level = np.clip((high - np.asarray(values, float)) * ((rows - 1) / ((high - low) or 1.0)) + 0.5, 0, rows - 1)
    top, bottom, last = _spans(np.floor(level), columns)
    before = np.concatenate([[np.nan], last[:-1]])
    with np.errstate(invalid="ignore"):
        top = np.where(before < top, before + 1, top)
        bottom = np.where(before > bottom, before - 1, bottom)
        line = np.arange(rows)[:, None]
        lit = (line >= top) & (line <= bottom)  # (rows, columns)
    return (lit.reshape(height, 4, width, 2) * _DOTS[None, :, None, :]).sum(axis=(1, 3), dtype=np.uint8)


def _spans(levels: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Highest, lowest and last level in each column of dots, (columns,)."""
    count = len(levels)
    starts = np.arange(columns) * count // columns
    if count <= columns:
        held = levels[starts]
        return held, held.copy(), held
    ends = np.append(starts[1:], count) - 1
    return np.fmin.reduceat(levels, starts), np.fmax.reduceat(levels, starts), levels[ends]
