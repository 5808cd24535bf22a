"""Moments as a person types them at the screen, whose every clock is UTC."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

_UNITS_S = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(s|min|m|h|d|w)\s*", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?", re.ASCII)
EXAMPLES = "03:12   -20m   1h30m   2026-11-27 03:12"


def moment_of(text: str, now: float) -> float:
    """Epoch seconds of HH:MM[:SS] (the last one past), a duration ago (-20m), an ISO time (UTC unless it names a zone), or `now`.

    Raises ValueError with what is wrong, in one sentence.
    """
    text = text.strip().lower()
    if text == "now":
        return now
    found = _clock(text, now)
    if found is None:
        found = _ago(text, now)
    if found is None:
        found = _iso(text)
    if found is None:
        raise ValueError(f"that is no time: write {EXAMPLES}" if text else f"write a time: {EXAMPLES}")
    return found


def _clock(text: str, now: float) -> float | None:
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        return None
    hour, minute, second = (int(part or 0) for part in clock.groups())
    try:
        found = datetime.fromtimestamp(now, UTC).replace(hour=hour, minute=minute, second=second, microsecond=0)
    except ValueError:
        raise ValueError(f"{text} is no time of a day") from None
    return (found if found.timestamp() <= now else found - timedelta(days=1)).timestamp()


def _ago(text: str, now: float) -> float | None:
    text = text.removeprefix("-").removesuffix(" ago").strip()
    parts = list(_AGO.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        return None
    return now - sum(float(part[1]) * _UNITS_S[part[2]] for part in parts)


def _iso(text: str) -> float | None:
    try:
        found = datetime.fromisoformat(text.upper())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def clock_text(moment: float, now: float | None = None) -> str:
    """HH:MM:SS, with the day before it when it is not that of `now`."""
    same_day = now is None or time.gmtime(moment)[:3] == time.gmtime(now)[:3]
    return time.strftime("%H:%M:%S" if same_day else "%d %b %H:%M:%S", time.gmtime(moment))


def span_text(seconds: float) -> str:
    """A length of time in its two largest units: 7 min 12 s, 3 h 05 min, 2 d 4 h."""
    whole = max(0, int(seconds))
    for unit_s, word, smaller_s, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit_s:
            rest = whole % unit_s // smaller_s
            return f"{whole // unit_s} {word}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"
