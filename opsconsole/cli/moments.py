"""Times as people type them: durations like 15m or 1d, moments like 14:30, an ISO time, or a duration ago."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import click

_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?", re.ASCII)


def duration_s(text: str) -> float:
    """A duration such as 90s, 15m or 1h30m in seconds. Raises ValueError."""
    text = text.strip().lower()
    parts = list(_DURATION.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        raise ValueError(f"{text!r} is no duration; write 30s, 15m, 2h or 1d")
    return sum(float(part.group(1)) * _UNITS_S[part.group(2)] for part in parts)


def moment(text: str, now: float) -> float:
    """A moment as epoch seconds: an ISO time (local unless it names a zone), HH:MM (the last one past), 20m or -20m ago, now."""
    text = text.strip()
    if text == "now":
        return now
    clock = _CLOCK.fullmatch(text)
    try:
        if clock:
            return _last_time(clock, datetime.fromtimestamp(now).astimezone())
        return now - duration_s(text.removeprefix("-"))
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r} is no time; write 15m (ago), 14:30 or 2026-01-31T14:30") from None


def _last_time(clock: re.Match[str], now: datetime) -> float:
    hour, minute, second = (int(part or 0) for part in clock.groups())
    found = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
    return (found if found <= now else found - timedelta(days=1)).timestamp()


class Duration(click.ParamType):
    """A command line's duration, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            return float(value)
        try:
            return duration_s(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
