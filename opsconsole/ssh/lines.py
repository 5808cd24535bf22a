"""What a node sends, cut into lines within limits: a hostile or broken node costs its own link and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opsconsole.protocol import LINE_LIMIT_BYTES

NOISE_LIMIT_BYTES = 256 * 1024
"""What a login shell may print before the agent speaks."""
WINDOW_S = 10.0
LINES_LIMIT = 2000
"""Lines in a window: an agent says a few a second."""
BYTES_LIMIT = 40 * 1024 * 1024
STDERR_BYTES_LIMIT = 128 * 1024 * 1024
"""Drained and forgotten, so it may be much, yet not without end: decryption costs the console's time."""
STDERR_KEPT_BYTES = 2048


class Flood(Exception):
    """A node sends more than an agent ever would; the text says what."""


@dataclass
class Meter:
    """Counts what comes within a window of time and refuses more than the limit."""

    what: str
    limit: int
    clock: Callable[[], float]
    _since: float = 0.0
    _count: int = 0

    def add(self, count: int) -> None:
        """Raises Flood."""
        now = self.clock()
        if now - self._since > WINDOW_S:
            self._since, self._count = now, 0
        self._count += count
        if self._count > self.limit:
            raise Flood(f"sent more than {self.limit} {self.what} in {WINDOW_S:.0f} s")


class Framer:
    """Bytes in, whole lines out. Raises Flood."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._rest = bytearray()
        self._bytes = Meter("bytes", BYTES_LIMIT, clock)
        self._lines = Meter("lines", LINES_LIMIT, clock)

    def feed(self, data: bytes) -> list[bytes]:
        self._bytes.add(len(data))
        self._rest += data
        if b"\n" not in data:
            self._check(len(self._rest))
            return []
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest
        self._lines.add(len(lines))
        self._check(max(map(len, lines)))
        self._check(len(rest))
        return [bytes(line) for line in lines]

    @staticmethod
    def _check(length: int) -> None:
        if length > LINE_LIMIT_BYTES:
            raise Flood(f"sent a line longer than {LINE_LIMIT_BYTES // 1024} KiB")


class Tail:
    """The end of standard error, for the cause when the agent ends; the rest is drained so that it blocks nothing."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._kept = b""
        self._bytes = Meter("bytes of errors", STDERR_BYTES_LIMIT, clock)

    def feed(self, data: bytes) -> None:
        self._bytes.add(len(data))
        self._kept = (self._kept + data[-STDERR_KEPT_BYTES:])[-STDERR_KEPT_BYTES:]

    @property
    def last_line(self) -> str:
        lines = [line for line in self._kept.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1] if lines else ""
