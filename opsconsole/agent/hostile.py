"""What strangers say (GPU names, process names, logs, workers' answers), made short and plain before it is passed on."""

import math

TEXT_LIMIT = 200
"""Characters of any one text in a line; the console cleans again and shows less."""


def plain(text, limit=TEXT_LIMIT):
    """`text` in one printable line of at most `limit` characters; None stays None. Bytes that are no UTF-8 become question marks."""
    if text is None:
        return None
    if isinstance(text, bytes):
        text = text[: 4 * limit].decode("utf-8", "replace")
    text = str(text)[: 4 * limit].encode("utf-8", "replace").decode("utf-8")
    kept = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(kept.split())[:limit]


def finite(value):
    """`value` if it is a number that JSON can carry, else None. A boolean is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if math.isfinite(value) else None


def count(value):
    """`value` as a whole number of things, 0 or more; None when it is no such thing."""
    value = finite(value)
    return None if value is None or value < 0 or value > 2**53 else int(value)


def rounded(value, digits=1):
    """A float of few digits, so that a sample line stays short; None stays None."""
    value = finite(value)
    return None if value is None else round(value, digits)
