"""The one way in for every front: attach to the running collector, ask it, and get the frozen values of the core back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from opsconsole.control import wire
from opsconsole.control.attach import SessionError, check_welcome, connect
from opsconsole.core.alarm_book import Said
from opsconsole.core.fleet import CONNECTING, Fleet, Roster
from opsconsole.core.run import Run
from opsconsole.core.steps import Intent, Plan, Progress

__all__ = ["AsyncSession", "Series", "Session", "SessionError", "attach"]


class Series(NamedTuple):
    """One series of history: times (P,) epoch seconds, values (P,) in `unit`, NaN where there is a gap."""

    series: str
    unit: str
    times: np.ndarray
    values: np.ndarray


def attach(config_path: Path, state_dir: Path) -> Session:
    """A session with the collector of `state_dir`, which is started when none runs. Raises SessionError."""
    return Session(connect(config_path, state_dir), config_path)


class _Frames:
    """Turns messages into values; remembers the rosters that fleets refer to."""

    def __init__(self) -> None:
        self._rosters: dict[int, Roster] = {}

    def fleet_of(self, message: dict[str, Any]) -> Fleet | None:
        """The Fleet of a fleet message; None for a roster, which is kept."""
        if message["k"] == "roster":
            self._rosters = {message["number"]: wire.roster_of(message)}
            return None
        return wire.fleet_of(message, self._rosters[message["roster"]])


def value_of(message: dict[str, Any]) -> Plan | Progress | Run | Series | dict[str, Any] | str:
    """The value in an answer. Raises SessionError for an error answer."""
    kind = message["k"]
    if kind == "plan":
        return wire.plan_in(message["plan"])
    if kind == "progress":
        return wire.progress_in(message["progress"])
    if kind == "run":
        return wire.run_in(message["run"])
    if kind == "anchors":
        return message["anchors"]
    if kind == "said":
        return message["text"]
    if kind == "series":
        return Series(**wire.series_in(message["series"]))
    raise SessionError(message.get("text", f"the collector answered {kind!r}"), 2)


def _act_request(plan: Plan) -> dict[str, Any]:
    return {"k": "act", "intent": wire.intent_out(plan.intent), "shown": [step.text for step in plan.steps]}


def _alarm_request(said: Said) -> dict[str, Any]:
    return {"k": "alarm", "said": wire.said_out(said)}


def _tell_request(run_id: str, word: str, actor: str) -> dict[str, Any]:
    return {"k": "tell", "run": run_id, "word": word, "actor": actor}


class Session:
    """A blocking session, for commands. Use as a context manager."""

    def __init__(self, connected: socket.socket, config_path: Path) -> None:
        self._socket = connected
        self._stream = connected.makefile("rb")
        self._numbers = itertools.count(1)
        self._frames = _Frames()
        self._send({"k": "hello"})
        self.collector = self._read()
        check_welcome(self.collector, config_path)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes a thread that still reads: closing the stream would wait for it
        self._stream.close()
        self._socket.close()

    def first_fleet(self, settle_s: float = 3.0) -> Fleet:
        """The newest fleet; waits at most settle_s for nodes that have not been heard of yet."""
        give_up = time.monotonic() + settle_s
        fleet = self._next_fleet("fleet")
        while (fleet.reach == CONNECTING).any() and time.monotonic() < give_up:
            time.sleep(0.05)
            fleet = self._next_fleet("fleet")
        return fleet

    def frames(self) -> Iterator[Fleet]:
        """Every fleet from now on: one a second, and at once when a node is lost or found."""
        yield self._next_fleet("subscribe")
        while True:
            fleet = self._frames.fleet_of(self._read())
            if fleet is not None:
                yield fleet

    def plan(self, intent: Intent) -> Plan:
        return self._only({"k": "plan", "intent": wire.intent_out(intent)})

    def act(self, plan: Plan) -> Iterator[Plan | Progress]:
        """Carries out a plan that was said yes to: the plan as it stands now first, then progress until every step is done.

        Only a refused plan comes when it no longer holds: what is done is what was shown, or nothing.
        """
        return self._answers(_act_request(plan))

    def runs(self, run_id: str = "") -> list[Run]:
        """All that are known, newest first; only the one named by its id or the beginning of it."""
        return list(self._answers({"k": "runs", "run": run_id}))

    def watch(self, run_id: str) -> Iterator[Run | Progress]:
        """The run as it is, progress until it has ended or was let go, and then the run once more."""
        return self._answers({"k": "watch", "run": run_id})

    def tell(self, run_id: str, word: str, actor: str = "") -> Run:
        """word: as in core.run.WORDS."""
        return self._only(_tell_request(run_id, word, actor))

    def anchors(self) -> dict[str, list[dict[str, Any]] | None]:
        """The heads of audits that each node keeps; None for a node that does not tell."""
        return self._only({"k": "anchors"})

    def say(self, said: Said) -> str:
        """Something about an alarm; what was done, in words. It is in the audit and outlives the collector when this returns."""
        return self._only(_alarm_request(said))

    def _only(self, request: dict[str, Any]) -> Any:
        return list(self._answers(request))[0]

    def _answers(self, request: dict[str, Any]) -> Iterator[Any]:
        number = next(self._numbers)
        self._send({**request, "id": number})
        while True:
            message = self._read()
            if message.get("id") != number:
                continue
            if message["k"] == "end":
                return
            yield value_of(message)

    def _next_fleet(self, request: str) -> Fleet:
        self._send({"k": request})
        while True:
            fleet = self._frames.fleet_of(self._read())
            if fleet is not None:
                return fleet

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._socket.sendall(wire.pack(message))
        except OSError:
            raise SessionError("the collector has ended") from None

    def _read(self) -> dict[str, Any]:
        try:
            head = self._stream.read(wire.LENGTH.size)
            body = self._stream.read(wire.LENGTH.unpack(head)[0]) if len(head) == wire.LENGTH.size else b""
        except OSError:
            body = b""
        if not body:
            raise SessionError("the collector has ended")
        return wire.unpack(body)


class AsyncSession:
    """A session for the screen: fleets arrive through a callback, requests are awaited."""

    def __init__(self, on_fleet: Callable[[Fleet], None], on_lost: Callable[[str], None]) -> None:
        self._on_fleet, self._on_lost = on_fleet, on_lost
        self._numbers = itertools.count(1)
        self._frames = _Frames()
        self._answers_to: dict[int, asyncio.Queue[dict[str, Any]]] = {}
        self.collector: dict[str, Any] = {}

    @classmethod
    async def attach(
        cls, config_path: Path, state_dir: Path, on_fleet: Callable[[Fleet], None], on_lost: Callable[[str], None]
    ) -> AsyncSession:
        """Attaches and subscribes. on_fleet: each fleet; on_lost: once, when the collector ends, in words. Raises SessionError."""
        session = cls(on_fleet, on_lost)
        connected = await asyncio.to_thread(connect, config_path, state_dir)
        session._reader, session._writer = await asyncio.open_unix_connection(sock=connected)
        session._send({"k": "hello"})
        session.collector = await session._read()
        check_welcome(session.collector, config_path)
        session._send({"k": "subscribe"})
        session._task = asyncio.create_task(session._receive())
        return session

    async def close(self) -> None:
        self._task.cancel()
        self._writer.close()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await self._task

    async def plan(self, intent: Intent) -> Plan:
        return (await self._all({"k": "plan", "intent": wire.intent_out(intent)}))[0]

    def act(self, plan: Plan) -> AsyncIterator[Plan | Progress]:
        """As Session.act."""
        return self._answers(_act_request(plan))

    async def runs(self, run_id: str = "") -> list[Run]:
        """As Session.runs."""
        return await self._all({"k": "runs", "run": run_id})

    def watch(self, run_id: str) -> AsyncIterator[Run | Progress]:
        """As Session.watch."""
        return self._answers({"k": "watch", "run": run_id})

    async def tell(self, run_id: str, word: str, actor: str = "") -> Run:
        """As Session.tell."""
        return (await self._all(_tell_request(run_id, word, actor)))[0]

    async def resume(self, run_id: str, actor: str = "") -> AsyncIterator[Progress]:
        """Goes on with an interrupted run; its progress until it has ended or was let go again."""
        await self.tell(run_id, "resume", actor)
        async for news in self.watch(run_id):
            if isinstance(news, Progress):
                yield news

    async def cancel(self, run_id: str, actor: str = "") -> Run:
        """Begins nothing more of a run, and takes back what it has under way."""
        return await self.tell(run_id, "cancel", actor)

    async def say(self, said: Said) -> str:
        """As Session.say."""
        return (await self._all(_alarm_request(said)))[0]

    async def history(self, series: str, **query: Any) -> Series:
        """query: node, gpu, worker, since, until (epoch seconds), points."""
        return (await self._all({"k": "history", "query": {"series": series, **query}}))[0]

    async def _all(self, request: dict[str, Any]) -> list[Any]:
        return [value async for value in self._answers(request)]

    async def _answers(self, request: dict[str, Any]) -> AsyncIterator[Any]:
        number = next(self._numbers)
        queue = self._answers_to[number] = asyncio.Queue()
        try:
            self._send({**request, "id": number})
            while (message := await queue.get())["k"] != "end":
                yield value_of(message)
        finally:
            del self._answers_to[number]

    async def _receive(self) -> None:
        try:
            while True:
                message = await self._read()
                if "id" not in message:
                    fleet = self._frames.fleet_of(message)
                    if fleet is not None:
                        self._on_fleet(fleet)
                elif message["id"] in self._answers_to:
                    self._answers_to[message["id"]].put_nowait(message)
        except (asyncio.IncompleteReadError, ConnectionError):
            self._writer.close()
            self._lost("the collector has ended")

    def _lost(self, text: str) -> None:
        for queue in self._answers_to.values():
            queue.put_nowait({"k": "error", "text": text})
        self._on_lost(text)

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer.is_closing():
            raise SessionError("the collector has ended")
        self._writer.write(wire.pack(message))

    async def _read(self) -> dict[str, Any]:
        (length,) = wire.LENGTH.unpack(await self._reader.readexactly(wire.LENGTH.size))
        return wire.unpack(await self._reader.readexactly(length))
