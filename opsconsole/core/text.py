"""Words from strangers made harmless: no control, bidi or format character, bounded in length."""

from __future__ import annotations

import unicodedata

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_BANNED = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
MARKS_LIMIT = 2
"""Combining marks kept on one letter; more of them climb over neighbouring lines."""


def clean(text: object, limit: int = 200) -> str:
    """`text` as one printable line of at most `limit` characters; what is banned becomes U+FFFD, "…" marks a cut."""
    if not isinstance(text, str):
        text = str(text)
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text  # nearly all there is, and thousands a second of it
    text = _replace(text[: limit * 4])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _replace(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category in _BANNED:
            kept.append(" " if character in "\t\n\r" else REPLACEMENT)
        elif marks <= MARKS_LIMIT:
            kept.append(character)
    return "".join(kept)
