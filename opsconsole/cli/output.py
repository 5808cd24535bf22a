"""What leaves a command: data on stdout, narration on stderr, and an exit code that scripts may rely on."""

from __future__ import annotations

import os
import sys
import time
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """What a command ends with."""

    DONE = 0
    """Everything asked for was done."""
    FAILED = 1
    """It was tried and did not succeed."""
    USAGE = 2
    """The command line or the fleet file is wrong; nothing was tried."""
    PARTIAL = 3
    """Some nodes could not be reached; what is known of the others was printed."""
    REFUSED = 4
    """A guard refused; nothing was sent to any node."""
    HELD = 5
    """The deadline passed with requests in flight; the worker goes on draining."""
    CONFLICT = 6
    """Somebody else is at work there, or the collector serves another fleet file."""
    INTERRUPTED = 130
    """Ctrl-C; what was under way goes on in the collector."""


class CommandError(Exception):
    """A command cannot go on; the text is one sentence for the person who typed it."""

    def __init__(self, text: str, exit_code: int = Exit.FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def narrate(text: str) -> None:
    """One line for the person, kept apart from the data."""
    from opsconsole.core.text import clean  # here, because --help narrates nothing

    print(f"opsconsole: {clean(text, 1000)}", file=sys.stderr, flush=True)


class Progress:
    """Tells on stderr how far long work has come, not more often than people want to know."""

    EVERY_S = 5.0

    def __init__(self, what: str) -> None:
        self._what, self._told_at = what, time.monotonic()

    def __call__(self, count: int) -> None:
        if time.monotonic() - self._told_at >= self.EVERY_S:
            self._told_at = time.monotonic()
            narrate(f"{count} {self._what} so far")


def print_data(text: str) -> None:
    """One piece of data, at once, so that a reader of a pipe never waits for a full buffer."""
    print(text, flush=True)


def print_json(value: Any) -> None:
    """One value as one line of JSON, in ASCII so that every locale can carry it."""
    import json  # here, because --help prints none

    print_data(json.dumps(value, allow_nan=False, separators=(",", ":")))


def plain_streams() -> None:
    """A character that the terminal's encoding lacks becomes "?", never an exception in the middle of a table; a stream that the
    caller has closed (`>&-`) takes everything and keeps nothing."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def in_colour(stream: Any = None) -> bool:
    """Whether colour may be added to what is written: a terminal that can show it, and nobody asked for none (no-color.org)."""
    stream = stream or sys.stdout
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in (None, "", "dumb")


def can_draw() -> bool:
    """Whether a screen can be drawn here at all."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)) and os.environ.get("TERM") not in (None, "", "dumb")


def can_print(text: str) -> bool:
    """Whether stdout's encoding has all characters of `text`."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
