"""The agent's two pipes: lines in, and lines out that never make it wait, whatever the other end does."""

import os
import threading
from collections import deque

from opsconsole.protocol import LINE_LIMIT_BYTES, decode, encode

from .hostile import plain

READ_BYTES = 65536
CROWD = 100
"""From so many waiting answers on, newer progress of an order replaces older."""
ANSWERS_KEPT = 1000
"""Answers that wait for a full pipe. Final ones are few; a thousand mean that nobody has read for hours."""
NARROWER = ((512, 200), (128, 80), (32, 40), (0, 16), (0, 4))
"""How a line that is too long is cut, step by step: (processes kept, characters of each text kept)."""


class Inbox:
    """Whole lines from a pipe, as messages."""

    def __init__(self, fd):
        self.fd = fd
        self.closed = False
        self._rest = b""
        os.set_blocking(fd, False)

    def receive(self):
        """(messages, complaints) that have arrived; sets `closed` at the end of the pipe."""
        try:
            chunk = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return [], []
        except OSError:
            chunk = b""
        if not chunk:
            self.closed = True
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LINE_LIMIT_BYTES:
            self._rest = b""
            return [], ["an order longer than %d bytes was dropped" % LINE_LIMIT_BYTES]
        return self._decode(lines)

    @staticmethod
    def _decode(lines):
        messages, complaints = [], []
        for line in lines:
            if not line.strip():
                continue
            try:
                messages.append(decode(line))
            except (ValueError, RecursionError) as error:
                complaints.append("not an order: %s" % plain(error))
        return messages, complaints


class Outbox:
    """Lines to a pipe that may be full: a newer sample replaces an older one that waits, an answer always stays.

    `say` may be called from any thread, `flush` only from the one that owns the pipe. `wake` is called when there is something to flush.
    """

    def __init__(self, fd, wake):
        self.fd = fd
        self._wake = wake
        self._lock = threading.Lock()
        self._partial = b""
        self._first = deque()
        self._troubles = deque(maxlen=20)
        self._answers = deque()
        self._latest = {}
        os.set_blocking(fd, False)

    def say_text(self, text):
        """A bare line before all others (MAGIC)."""
        self._first.append(text.encode() + b"\n")

    def say(self, message):
        line = fit(message)
        if line is None:
            return
        with self._lock:
            if message["t"] == "answer":
                self._keep_answer(message, line)
            elif message["t"] == "trouble":
                self._troubles.append(line)
            else:
                self._latest[message["t"]] = line
        self._wake()

    def _keep_answer(self, message, line):
        if len(self._answers) >= CROWD:
            older = [entry for entry in self._answers if entry[0] != message["id"] or entry[1]]
            self._answers = deque(older[-ANSWERS_KEPT:])
        self._answers.append((message["id"], message["done"], line))

    @property
    def is_waiting(self):
        return bool(self._partial or self._first or self._troubles or self._answers or self._latest)

    def _next_line(self):
        with self._lock:
            if self._first:
                return self._first.popleft()
            if "facts" in self._latest:
                return self._latest.pop("facts")
            if self._troubles:
                return self._troubles.popleft()
            if self._answers:
                return self._answers.popleft()[2]
            return self._latest.pop("sample", b"")

    def flush(self):
        """Write what the pipe takes. False when the other end is gone."""
        while True:
            self._partial = self._partial or self._next_line()
            if not self._partial:
                return True
            try:
                written = os.write(self.fd, self._partial)
            except BlockingIOError:
                return True
            except OSError:
                return False
            self._partial = self._partial[written:]


def fit(message):
    """`message` as a line within LINE_LIMIT_BYTES: processes are cut first, then texts. None when even that is too long, or is no JSON."""
    try:
        line = encode(message)
    except ValueError:
        message = _without_infinities(message)
        line = encode(message)
    for procs_kept, text_kept in NARROWER:
        if len(line) <= LINE_LIMIT_BYTES:
            return line
        message = dict(message)
        if "procs" in message:
            message["procs"] = message["procs"][:procs_kept]
        if procs_kept < NARROWER[0][0] or "procs" not in message:
            message = {key: value if key in ("t", "id") else _narrow(value, text_kept) for key, value in message.items()}
        line = encode(message)
    return line if len(line) <= LINE_LIMIT_BYTES else None


def _narrow(value, limit):
    if isinstance(value, str):
        return value[:limit]
    if isinstance(value, (list, tuple)):
        return [_narrow(item, limit) for item in value]
    if isinstance(value, dict):
        return {key: _narrow(item, limit) for key, item in value.items()}
    return value


def _without_infinities(value):
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, (list, tuple)):
        return [_without_infinities(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_infinities(item) for key, item in value.items()}
    return value
