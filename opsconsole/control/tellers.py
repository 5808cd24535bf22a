"""Takes news of alarms out of the house: one thread a receiver with a bounded queue, so that a slow or broken pager delays nobody."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from opsconsole.core.telling import Message, News, Outbox
from opsconsole.core.text import clean
from opsconsole.hooks import Notifier, NotifyError

MESSAGES_WAITING = 20
TRIES_AFTER_S = (0.0, 5.0, 30.0, 120.0)
STUCK_AFTER_S = 60.0
CLOSE_LIMIT_S = 2.0


class Told(NamedTuple):
    """One receiver of the fleet file. name: what to call it, without secrets."""

    name: str
    notifier: Notifier | None
    outbox: Outbox
    cause: str = ""
    """Why it cannot be used at all, "" when it can."""


class Tellers:
    """hamper("") or hamper(why): called on the collector's own thread, from `saw`, when it changes whether alarms reach people."""

    def __init__(self, fleet_name: str, told: Sequence[Told], hamper: Callable[[str], None]) -> None:
        self._fleet_name, self._hamper, self._cause = fleet_name, hamper, ""
        self._lines = [_Line(one) for one in told]

    def saw(self, fresh: Sequence[News], at: float) -> None:
        """News of this second; what is due is handed to the threads. Returns at once."""
        for line in self._lines:
            line.take(self._fleet_name, fresh, at)
        cause = "; ".join(filter(None, (line.trouble(at) for line in self._lines)))
        if cause != self._cause:
            self._cause = cause
            self._hamper(cause)

    def close(self) -> None:
        """Does not wait for a receiver that hangs."""
        for line in self._lines:
            line.close()


class _Line:
    """To one receiver."""

    def __init__(self, told: Told) -> None:
        self._told, self._outbox = told, told.outbox
        self._messages: queue.Queue[Message | None] = queue.Queue(MESSAGES_WAITING)
        self._closing = threading.Event()
        self._cause = told.cause
        self._busy_since: float | None = None
        self._at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"notify {told.name}", daemon=True)
        if told.notifier is not None:
            self._thread.start()

    def take(self, fleet_name: str, fresh: Sequence[News], at: float) -> None:
        self._at = at
        if self._told.notifier is None:
            return
        self._outbox = self._outbox.taken(fresh, at) if fresh else self._outbox
        self._outbox, message = self._outbox.due(fleet_name, at)
        if message is None:
            return
        try:
            self._messages.put_nowait(message)
        except queue.Full:
            self._cause = f"{self._told.name}: {MESSAGES_WAITING} messages wait already, a newer one was dropped"

    def trouble(self, at: float) -> str:
        busy_since = self._busy_since
        if not self._cause and busy_since is not None and at - busy_since > STUCK_AFTER_S:
            return f"{self._told.name}: has not answered for more than {STUCK_AFTER_S:.0f} s"
        return self._cause

    def close(self) -> None:
        self._closing.set()
        try:
            self._messages.put_nowait(None)
        except queue.Full:
            pass  # it sees that it is closing after the message that it is at
        if self._thread.is_alive():
            self._thread.join(CLOSE_LIMIT_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            message = self._messages.get()
            if message is None:
                return
            self._busy_since = self._at
            self._deliver(message)
            self._busy_since = None

    def _deliver(self, message: Message) -> None:
        """Tries again for some minutes; a plugin may raise anything."""
        for pause_s in TRIES_AFTER_S:
            if self._closing.wait(pause_s):
                return
            try:
                self._told.notifier.send(message)
                self._cause = ""
                return
            except NotifyError as error:
                self._cause = clean(f"{self._told.name}: {error}", 300)
            except BaseException as error:  # the words of what is no NotifyError may hold a secret: only its kind is told
                self._cause = f"{self._told.name}: its plugin is broken: {type(error).__name__}"
