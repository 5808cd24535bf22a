"""What goes wrong where nobody asked, said as JSON lines like everything else, and without a word of what a client wrote.

An exception's own text may quote the request that caused it, so only its kind and its place are told; and since clients may
cause any number of them, each is told once in a while only.
"""

import logging
import sys
import time
import traceback

from .lifecycle import narrate

FRAMES = 4
QUIET_S = 60.0
"""How long the same complaint is not repeated."""
KINDS_LIMIT = 256

_told_s: dict[tuple, float] = {}


def complain(where: str, error: BaseException) -> None:
    """One line for an exception that should not have been."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    _tell(where=where, error=type(error).__name__, at=places)


def _tell(**facts) -> None:
    kind, now_s = tuple(map(str, facts.values())), time.monotonic()
    if now_s - _told_s.get(kind, -QUIET_S) < QUIET_S:
        return
    if len(_told_s) >= KINDS_LIMIT:
        _told_s.clear()
    _told_s[kind] = now_s
    narrate("complaint", sys.stderr, **facts)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            complain(record.name, error)
        else:
            _tell(where=record.name, level=record.levelname.lower(), text=record.getMessage())


def take_over_logging() -> None:
    """From now on what libraries log is said in lines, too."""
    logging.basicConfig(handlers=[_Lines()], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
