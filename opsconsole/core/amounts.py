"""Counts as people write them: 2_000_000 or "2M", "20T" tokens a day."""

from __future__ import annotations

import re

SUFFIXES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12, "P": 1e15}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGBTP]?)", re.ASCII)


def amount_of(text: str) -> float | None:
    """What a text such as "20T" means; None when it means no amount."""
    match = _AMOUNT.fullmatch(text.strip().replace("_", "").upper())
    return float(match[1]) * SUFFIXES[match[2]] if match else None
