"""The collector's counter: fronts attach to a unix socket, get frames and have requests answered."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from opsconsole.control import wire
from opsconsole.core.fleet import Fleet, Roster
from opsconsole.core.plan import confirmed_plan, make_plan

BACKLOG_LIMIT_BYTES = 4 * 1024 * 1024
"""A front that has so much unread misses frames until it reads again; answers are never dropped."""


class Counter:
    """Serves all fronts of one collector. performer, read_series and about are what requests are answered with."""

    def __init__(self, performer: Any, read_series: Callable[..., Awaitable[Any]], about: dict[str, Any]) -> None:
        self._performer, self._read_series, self._about = performer, read_series, about
        self._fronts: set[_Front] = set()
        self._fleet = Fleet()
        self._roster: Roster | None = None
        self._roster_number = 0
        self._roster_bytes = b""
        self._runs: set[asyncio.Task] = set()
        self.last_left = asyncio.get_running_loop().time()
        """When the last front left, on the loop's clock."""

    @property
    def idle(self) -> bool:
        """No front is attached and no run is open."""
        return not self._fronts and not self._runs

    async def open(self, path: Path) -> asyncio.Server:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        before = os.umask(0o177)
        try:
            return await asyncio.start_unix_server(self._serve, path)
        finally:
            os.umask(before)

    def publish(self, fleet: Fleet) -> None:
        """Sends the newest fleet to every front that can take it."""
        self._fleet = fleet
        if fleet.roster is not self._roster:
            self._roster, self._roster_number = fleet.roster, self._roster_number + 1
            self._roster_bytes = wire.pack(wire.roster_message(fleet.roster, self._roster_number))
        listening = [front for front in self._fronts if front.subscribed and front.can_take]
        if listening:
            frame = wire.pack(wire.fleet_message(fleet, self._roster_number))
            for front in listening:
                self._send_frame(front, frame)

    def _send_frame(self, front: _Front, frame: bytes) -> None:
        if front.roster_number != self._roster_number:
            front.roster_number = self._roster_number
            front.write(self._roster_bytes)
        front.write(frame)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        front = _Front(writer)
        self._fronts.add(front)
        try:
            while True:
                await self._answer(front, await _read(reader))
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass  # it left, or it speaks something else
        finally:
            self._fronts.discard(front)
            self.last_left = asyncio.get_running_loop().time()
            writer.close()

    async def _answer(self, front: _Front, request: dict[str, Any]) -> None:
        kind = request["k"]
        if kind == "hello":
            front.send({"k": "welcome", **self._about})
        elif kind in ("subscribe", "fleet"):
            front.subscribed = front.subscribed or kind == "subscribe"
            self._send_frame(front, wire.pack(wire.fleet_message(self._fleet, self._roster_number)))
        elif kind in _ANSWERS:
            task = asyncio.create_task(self._answer_later(front, request))
            self._runs.add(task)
            task.add_done_callback(self._runs.discard)

    async def _answer_later(self, front: _Front, request: dict[str, Any]) -> None:
        number = request.get("id")
        try:
            await _ANSWERS[request["k"]](self, front, number, request)
        except (ValueError, KeyError, OSError) as error:
            front.send({"k": "error", "id": number, "text": str(error)})
        front.send({"k": "end", "id": number})

    async def _plan(self, front: _Front, number: int, request: dict[str, Any]) -> None:
        plan = make_plan(self._fleet, wire.intent_in(request["intent"]), list(self._performer.under_way.values()))
        front.send({"k": "plan", "id": number, "plan": wire.plan_out(plan)})

    async def _act(self, front: _Front, number: int, request: dict[str, Any]) -> None:
        under_way = list(self._performer.under_way.values())
        plan = confirmed_plan(self._fleet, wire.intent_in(request["intent"]), request["shown"], under_way)
        front.send({"k": "plan", "id": number, "plan": wire.plan_out(plan)})
        if plan.refusal:
            return
        async for progress in self._performer.perform(plan):
            front.send({"k": "progress", "id": number, "progress": wire.progress_out(progress)})

    async def _history(self, front: _Front, number: int, request: dict[str, Any]) -> None:
        series = await self._read_series(**request["query"])
        front.send({"k": "series", "id": number, "series": wire.series_out(series)})


_ANSWERS = {"plan": Counter._plan, "act": Counter._act, "history": Counter._history}


class _Front:
    """One attached front."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.subscribed = False
        self.roster_number = 0

    @property
    def can_take(self) -> bool:
        return self._writer.transport.get_write_buffer_size() < BACKLOG_LIMIT_BYTES

    def write(self, data: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(data)

    def send(self, message: dict[str, Any]) -> None:
        self.write(wire.pack(message))


async def _read(reader: asyncio.StreamReader) -> dict[str, Any]:
    (length,) = wire.LENGTH.unpack(await reader.readexactly(wire.LENGTH.size))
    if length > wire.REQUEST_LIMIT_BYTES:
        raise ValueError("a request too long to be one")
    return wire.unpack(await reader.readexactly(length))
