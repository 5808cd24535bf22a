"""Tells the service manager that started us how we fare, in the words of sd_notify(3), and nothing where nobody listens.

systemd then holds the unit for active only once the worker serves, gives it the time that loading and compiling need, and starts it
again when it hangs: the watchdog is fed by the engine's own thread, for a worker whose HTTP still answers may be of no use any more, and
only while the event loop goes round too.
"""

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
PHASE_LIMIT_S = 1800.0
"""How long a phase of the start may take; a word from within it begins that time anew."""
SEND_LIMIT_S = 0.5
BEATS_A_LIMIT = 4
STATUS_LIMIT = 200
USEC_PER_S = 1_000_000


class Supervisor:
    """The line to the service manager. What is said from any thread arrives whole or, where the manager does not listen, not at all."""

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self._socket = _connected(address) if address else None
        self.beat_s = watchdog_s / BEATS_A_LIMIT if watchdog_s and self._socket else None
        """How often the engine has to show that it lives, at least; None: nobody wants to know."""
        self._beaten_s = self._beat_due_s = self._listening_s = time.monotonic()

    def entered(self, phase: str) -> None:
        """A phase of the start has begun, or goes on and takes long."""
        self._say(f"STATUS={_plain(phase)}", _more_time(PHASE_LIMIT_S))

    def ready(self) -> None:
        """The worker serves; from now on its engine must show that it lives."""
        self._say("READY=1", "STATUS=serving", "WATCHDOG=1")

    def told(self, status: str) -> None:
        """Something else that people want to see in `systemctl status`."""
        self._say(f"STATUS={_plain(status)}")

    def beat(self) -> None:
        """The engine's thread lives. May be called at every step: it is told a few times within the limit only."""
        now_s = time.monotonic()
        if self.beat_s is not None and now_s >= self._beat_due_s and now_s - self._listening_s < self.beat_s * BEATS_A_LIMIT:
            self._beaten_s, self._beat_due_s = now_s, now_s + self.beat_s
            self._say("WATCHDOG=1")

    async def listen(self) -> None:
        """Goes round with the event loop, so that the beats of the engine stop when that stands still."""
        import asyncio  # here: a wrong command line is told without it

        while self.beat_s is not None:
            self._listening_s = time.monotonic()
            await asyncio.sleep(self.beat_s)

    def unwatched(self) -> None:
        """Nothing here can show that it lives: the manager need not wait for it."""
        self._say("WATCHDOG_USEC=0")

    def leaving(self, in_flight: int, for_s: float) -> None:
        """The process ends once nothing is in flight, and needs so much time for that, unless its engine hangs.

        Only at the end: a drain can be taken back, and systemd kills what has said STOPPING=1 and is late.
        """
        is_alive = self.beat_s is None or time.monotonic() - self._beaten_s < self.beat_s * BEATS_A_LIMIT
        self._say("STOPPING=1", f"STATUS=ending, {in_flight} in flight", *([_more_time(for_s)] if in_flight and is_alive else ()))

    def _say(self, *words: str) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.send("\n".join(words).encode())


def supervisor_of(environ: MutableMapping[str, str]) -> Supervisor:
    """Who started us, by its variables, which are removed so that no child speaks in our name."""
    address, limit_usec, meant_pid = (environ.pop(name, None) for name in VARIABLES)
    is_ours = meant_pid in (None, str(os.getpid()))
    has_limit = bool(limit_usec and limit_usec.isascii() and limit_usec.isdecimal() and is_ours)
    return Supervisor(address, int(limit_usec) / USEC_PER_S if has_limit else None)


def _connected(address: str) -> socket.socket | None:
    """A socket to an address in the file system, or to an abstract one, which begins with @; None when there is none."""
    if address[:1] not in "/@":
        return None
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0))
    line.settimeout(SEND_LIMIT_S)
    try:
        line.connect("\0" + address[1:] if address.startswith("@") else address)
    except OSError:
        line.close()
        return None
    return line


def _more_time(seconds: float) -> str:
    return f"EXTEND_TIMEOUT_USEC={int(seconds * USEC_PER_S)}"


def _plain(text: str) -> str:
    """One line: a second one would be another word to the manager."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:STATUS_LIMIT]
