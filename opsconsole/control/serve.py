"""The collector's counter: fronts attach to a unix socket, get frames and have requests answered."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from opsconsole.control import wire
from opsconsole.core.fleet import Fleet, Roster
from opsconsole.core.plan import confirmed, confirmed_plan, make_plan
from opsconsole.core.readiness import shows
from opsconsole.core.run import Run
from opsconsole.core.steps import Intent, Plan, Progress, Undo
from opsconsole.core.text import clean

SHOWN_LIMIT_S = 3.0
"""How long the end of a run waits for the samples that show what it did."""
SHOWN_POLL_S = 0.05
BACKLOG_LIMIT_BYTES = 4 * 1024 * 1024
"""A front that has so much unread misses frames until it reads again; answers are never dropped."""


class Counter:
    """Serves all fronts of one collector. performer, desk, read_series and about answer requests."""

    def __init__(self, performer: Any, read_series: Callable[..., Awaitable[Any]], about: dict[str, Any], desk: Any = None) -> None:
        self._performer, self._read_series, self._about, self._desk = performer, read_series, about, desk
        self._fronts: set[_Front] = set()
        self._fleet = Fleet()
        self._roster: Roster | None = None
        self._roster_number = 0
        self._roster_bytes = b""
        self._answering: set[asyncio.Task] = set()
        self.last_left = asyncio.get_running_loop().time()
        """When the last front left, on the loop's clock."""

    @property
    def idle(self) -> bool:
        """No front is attached, nothing is being answered and no run is carried out."""
        return not self._fronts and not self._answering and not self._performer.is_open

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
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer_later(self, front: _Front, request: dict[str, Any]) -> None:
        number = request.get("id")
        try:
            await _ANSWERS[request["k"]](self, front, number, request)
        except (ValueError, KeyError, OSError) as error:
            front.send({"k": "error", "id": number, "text": str(error)})
        front.send({"k": "end", "id": number})

    async def _plan(self, front: _Front, number: int, request: dict[str, Any]) -> None:
        intent = wire.intent_in(request["intent"])
        under_way = list(self._performer.under_way.values())
        plan = self._undone(intent) if isinstance(intent, Undo) else make_plan(self._fleet, intent, under_way)
        self._say_plan(front, number, plan)

    def _undone(self, intent: Undo) -> Plan:
        from opsconsole.core.undo import make_undo  # here: few plans take back another

        (run,) = self._performer.runs(intent.run)
        return make_undo(self._fleet, intent, run.plan.title, run.done_steps, list(self._performer.under_way.values()))

    def _confirmed(self, intent: Intent, shown: list[str]) -> Plan:
        """The plan against the newest fleet, refused when it is not what was said yes to."""
        if not isinstance(intent, Undo):
            return confirmed_plan(self._fleet, intent, shown, list(self._performer.under_way.values()))
        return confirmed(self._undone(intent), shown)

    async def _act(self, front: _Front, number: int, request: dict[str, Any]) -> None:
        plan = self._confirmed(wire.intent_in(request["intent"]), request["shown"])
        if plan.refusal:
            self._say_plan(front, number, plan)
            return
        run = self._performer.begin(plan)
        told = self._performer.watch(run.id)
        self._say_plan(front, number, run.plan)
        async for news in told:
            if isinstance(news, Progress):
                self._say(front, number, news)
        await self._until_shown(run.id)

    async def _until_shown(self, run_id: str) -> None:
        """The end is told once the fleet shows what was done, so that the next command of a script builds on it."""
        (run,) = self._performer.runs(run_id)
        done = [one for one in run.steps if one.state == "DONE"]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHOWN_LIMIT_S):
                while not all(shows(self._fleet, one, time.time()) for one in done):
                    await asyncio.sleep(SHOWN_POLL_S)

    async def _list_runs(self, front: _Front, number: int, request: dict[str, Any]) -> None:
        for run in self._performer.runs(request.get("run", "")):
            self._say(front, number, run)

    async def _watch(self, front: _Front, number: int, request: dict[str, Any]) -> None:
        async for news in self._performer.watch(request["run"]):
            self._say(front, number, news)
        await self._until_shown(request["run"])

    async def _tell(self, front: _Front, number: int, request: dict[str, Any]) -> None:
        self._say(front, number, await self._performer.tell(request["run"], request["word"], clean(request.get("actor", ""), 80)))

    async def _anchors(self, front: _Front, number: int, request: dict[str, Any]) -> None:
        roster = self._fleet.roster
        reachable = [node.name for node, answers in zip(roster.nodes, self._fleet.answering.tolist(), strict=True) if answers]
        told = await self._performer.questions.anchors(reachable)
        front.send({"k": "anchors", "id": number, "anchors": {node.name: told.get(node.name) for node in roster.nodes}})

    async def _alarm(self, front: _Front, number: int, request: dict[str, Any]) -> None:
        said = wire.said_in(request["said"])
        said = replace(said, actor=clean(said.actor, 80), at=time.time())
        front.send({"k": "said", "id": number, "text": await self._desk.say(said)})

    @staticmethod
    def _say_plan(front: _Front, number: int, plan: Plan) -> None:
        front.send({"k": "plan", "id": number, "plan": wire.plan_out(plan)})

    @staticmethod
    def _say(front: _Front, number: int, news: Progress | Run) -> None:
        if isinstance(news, Run):
            front.send({"k": "run", "id": number, "run": wire.run_out(news)})
        else:
            front.send({"k": "progress", "id": number, "progress": wire.progress_out(news)})

    async def _history(self, front: _Front, number: int, request: dict[str, Any]) -> None:
        series = await self._read_series(**request["query"])
        front.send({"k": "series", "id": number, "series": wire.series_out(series)})


_ANSWERS = {
    "plan": Counter._plan, "act": Counter._act, "history": Counter._history, "runs": Counter._list_runs, "watch": Counter._watch,
    "tell": Counter._tell, "anchors": Counter._anchors, "alarm": Counter._alarm,
}


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
