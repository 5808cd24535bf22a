"""The line to one node: connects, keeps listening, says truthfully when nothing comes, and comes back after a break.

The journey: `Shared.open` gives a checked connection; `AgentSession` starts the agent there and cuts its words into lines; `ingest`
checks each; what passes is emitted as an event. `check`, called by the pulse, judges the age of the last sample and pings. Whatever
ends a connection becomes one `Lost` with its cause, and after a pause that grows the line is made anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from opsconsole.core.events import Event, Lost
from opsconsole.core.fleet import HUNG, SILENT_AFTER_S, UNREACHABLE
from opsconsole.protocol import PING_INTERVAL_S
from opsconsole.ssh.bootstrap import command
from opsconsole.ssh.dial import accepts
from opsconsole.ssh.failures import LinkFailure, put_into_words
from opsconsole.ssh.hosts import HostsError, Spec, Target
from opsconsole.ssh.lines import Flood
from opsconsole.ssh.listening import Listener
from opsconsole.ssh.ramp import Backoff
from opsconsole.ssh.session import AgentSession, Phase
from opsconsole.ssh.shared import Shared, raise_file_limit, shut

__all__ = ["Shared", "SshLink", "raise_file_limit"]

PROBE_AFTER_S = 3.0
"""Silence after which a fresh connection is tried, so that the word is known when SILENT_AFTER_S has passed."""
GIVE_UP_AFTER_S = 10.0
"""Silence after which the connection is given up: a stall that is shorter recovers by itself."""
START_LIMIT_S = 30.0
"""From login to the first sample: a login shell may be slow."""
OPEN_SESSION_LIMIT_S = 5.0
STEADY_AFTER_S = 10.0
"""A connection that lived so long makes the next failure a first one."""
WINDOW_BYTES = 65536
"""What a node may send before we read: bounds the memory that a flood can take."""


class SshLink:
    """The same shape as sim.link.SimLink: a name, `run`, `send`."""

    def __init__(self, spec: Spec, shared: Shared, interval_s: float = 1.0) -> None:
        self.name = spec.name
        self._spec, self._shared = spec, shared
        self._hello = {
            "op": "hello", "interval_s": interval_s, "gpus": spec.gpus, "work_dir": spec.work_dir, "worker_python": spec.worker_python,
        }
        self._emit: Callable[[Event], None] = lambda _: None
        self._told: LinkFailure | None = None
        """The failure that was last emitted; None while all is well."""
        self._session: AgentSession | None = None
        self._listener: Listener | None = None
        self._target: Target | None = None
        self._ended: asyncio.Future[BaseException] | None = None
        self._tunnel: Any = None
        self._probe: asyncio.Task[None] | None = None
        self._verdict: LinkFailure | None = None
        self._ping_mono = 0.0

    async def run(self, emit: Callable[[Event], None]) -> None:
        """Until cancelled."""
        self._emit = emit
        backoff = Backoff()
        while True:
            began_mono = time.monotonic()
            try:
                await self._once()
            except Exception as error:  # every way a connection can fail ends as a sentence on the screen
                failure = self._explain(error)
            if time.monotonic() - began_mono > STEADY_AFTER_S and self._listener is not None and self._listener.has_sampled:
                backoff.reset()
            self._tell(failure)
            await asyncio.sleep(backoff.next_s(failure.is_refused))

    def send(self, order: dict[str, Any]) -> bool:
        """Says an order to the node. False when it cannot be heard now: nothing was sent."""
        if self._session is None or self._session.phase is not Phase.LINES or self._told is not None:
            return False
        self._session.say(order)
        return True

    async def _once(self) -> None:
        """One connection from beginning to end; always ends by an exception."""
        self._listener = None
        self._target = target = self._shared.hosts.target(self._spec)
        run_agent = command(self._spec.python, self._shared.bundle)
        connection, jump = await self._shared.open(target, self._told is not None)
        self._tunnel = None if jump is None else await jump.connection()
        try:
            await self._converse(connection, run_agent)
        finally:
            self._session = None
            if self._probe is not None:
                self._probe.cancel()
            await asyncio.shield(shut(connection))

    async def _converse(self, connection: Any, run_agent: str) -> None:
        self._ended = ended = asyncio.get_running_loop().create_future()
        self._listener = Listener(self.name, self._emit, self._heard)
        self._verdict = self._probe = None

        def end(error: BaseException) -> None:
            if not ended.done():
                ended.set_result(error)

        def session() -> AgentSession:
            return AgentSession(self._hello, self._spec.python, self._shared.bundle, self._listener.take, end)

        async with asyncio.timeout(OPEN_SESSION_LIMIT_S):
            _, self._session = await connection.create_session(session, run_agent, encoding=None, window=WINDOW_BYTES, request_pty=False)
        self._ping_mono = time.monotonic()
        try:
            with self._shared.pulse.watching(self):
                raise await ended
        except Flood:
            connection.abort()  # nothing more of it is to be decrypted
            raise
        finally:
            self._session.end()

    def _explain(self, error: Exception) -> LinkFailure:
        """The cause as the operator should read it: a jump host's where that is to blame."""
        if isinstance(error, HostsError) or self._target is None:
            return LinkFailure(UNREACHABLE, str(error), True) if isinstance(error, HostsError) else LinkFailure(UNREACHABLE, repr(error))
        if isinstance(error, LinkFailure):
            return error
        return self._shared.broken_jump(self._target) or put_into_words(error, self._target)

    def _tell(self, failure: LinkFailure) -> None:
        if self._told is None or (self._told.reach, self._told.cause) != (failure.reach, failure.cause):
            self._emit(Lost(self.name, time.monotonic(), failure.reach, failure.cause))
        self._told = failure

    def _heard(self) -> None:
        """A sample came: whatever was said about silence is over."""
        self._told = self._verdict = None

    def check(self, now_mono: float) -> None:
        """Four times a second: ping, and judge the silence."""
        session, listener, ended = self._session, self._listener, self._ended
        if session is None or listener is None or ended is None:
            return
        listener.check(now_mono)
        if now_mono - self._ping_mono >= PING_INTERVAL_S and session.phase is Phase.LINES:
            self._ping_mono = now_mono
            session.say({"op": "ping"})
        silent_s = now_mono - listener.heard_mono
        if silent_s < PROBE_AFTER_S:
            return
        limit_s = GIVE_UP_AFTER_S if listener.has_sampled else START_LIMIT_S
        if silent_s > limit_s and not ended.done():
            ended.set_result(self._verdict or self._hung(silent_s))
        elif self._probe is None or (self._probe.done() and self._verdict is None and silent_s < SILENT_AFTER_S):
            self._probe = asyncio.create_task(self._find_out(listener))
        elif self._verdict is not None and silent_s >= SILENT_AFTER_S and self._told is None:
            self._tell(self._hung(silent_s) if self._verdict.reach == HUNG else self._verdict)

    async def _find_out(self, listener: Listener) -> None:
        """Whether the silent node still accepts connections."""
        assert self._target is not None
        since_mono = listener.heard_mono
        is_open = await accepts(self._shared.resolver, self._target, self._tunnel)
        if listener.heard_mono != since_mono:
            return
        silent_s = time.monotonic() - since_mono
        blamed = self._shared.broken_jump(self._target)
        self._verdict = self._hung(silent_s) if is_open else blamed or LinkFailure(UNREACHABLE, f"no answer from {self._target.where}")

    def _hung(self, silent_s: float) -> LinkFailure:
        assert self._target is not None and self._session is not None and self._listener is not None
        if self._listener.has_sampled:
            return LinkFailure(HUNG, f"{self._target.where} accepts connections but its agent has been silent for {silent_s:.1f} s")
        phase = self._session.phase
        hint = "; is a start-up file of the shell slow?" if phase is Phase.SHELL else ""
        return LinkFailure(HUNG, f"{self._target.where}: logged in, but its {phase.value} has said nothing for {silent_s:.1f} s{hint}")
