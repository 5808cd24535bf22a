"""Which state the worker is in and why; the one place that decides whether it takes work."""

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from .notify import Supervisor

PHASES = ("import", "load", "compile", "warm")


def narrate(event: str, stream: TextIO | None = None, **facts: Any) -> None:
    """One JSON line for whoever started us; a closed pipe must not take the worker down."""
    with suppress(OSError, ValueError):
        print(json.dumps({"event": event, **facts}), file=stream or sys.stdout, flush=True)


class Lifecycle:
    """STARTING → READY ⇄ DRAINING → DRAINED, or FAILED. Draining is a wish; drained is what is then so."""

    def __init__(self, started_s: float | None = None, supervisor: Supervisor | None = None) -> None:
        self.supervisor = supervisor or Supervisor()
        self._started_s = time.monotonic() if started_s is None else started_s
        self._loaded = False
        self._draining = False
        self._is_drain_told = False
        self.phase: str | None = None
        self.reason: str | None = None
        """Why it is in this state, where that needs words; None otherwise."""
        self.failed = False
        self.leaving = False
        """SIGTERM was received: the process ends as soon as nothing is left, and an undrain comes too late."""
        self.in_flight = 0
        """Accepted requests whose answer is not yet wholly written: the drain waits for these."""
        self.on_idle: Callable[[], None] = lambda: None
        """Called whenever the last request in flight has been answered, or the drain began with none."""

    @property
    def state(self) -> str:
        """The worker's state, one of the words of `/state`."""
        if self.failed:
            return "FAILED"
        if not self._loaded:
            return "STARTING"
        if not self._draining:
            return "READY"
        return "DRAINING" if self.in_flight else "DRAINED"

    def enter(self, phase: str) -> None:
        """A phase of the start begins."""
        self.phase = phase
        self.supervisor.entered(phase)
        narrate("phase", phase=phase, at_s=self._age_s())

    def ready(self, **facts: Any) -> None:
        """The start is over."""
        self.supervisor.ready()
        self._loaded, self.phase, self.reason = True, None, None
        narrate("ready", ready_s=self._age_s(), **facts)
        self._check_idle()

    def fail(self, reason: str) -> None:
        """Nothing more can be served."""
        if not self.failed:
            self.failed, self.reason = True, reason
            self.supervisor.told(f"failed: {reason}")
            narrate("failed", sys.stderr, phase=self.phase, reason=reason, pid=os.getpid())

    def drain(self) -> None:
        """Take no more requests; those in flight are finished."""
        if not self._draining:
            self._draining, self._is_drain_told = True, False
            narrate("draining", in_flight=self.in_flight)
            self.supervisor.told("draining")
        self._check_idle()

    @property
    def is_draining(self) -> bool:
        """Whether requests are left that the drain waits for."""
        return self.state == "DRAINING"

    def undrain(self) -> bool:
        """Take requests again; False when the process is already on its way out."""
        if self.leaving:
            return False
        if self._draining:
            narrate("undrained")
            self.supervisor.told("serving")
        self._draining = False
        return True

    def opened(self) -> None:
        """A request was accepted."""
        self.in_flight += 1

    def closed(self) -> None:
        """Its answer is out, or nobody waits for it any more."""
        self.in_flight -= 1
        self._check_idle()

    def _check_idle(self) -> None:
        if self.state == "DRAINED":
            if not self._is_drain_told:
                self._is_drain_told = True
                narrate("drained")
            self.on_idle()

    def _age_s(self) -> float:
        return round(time.monotonic() - self._started_s, 3)
