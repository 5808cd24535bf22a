"""A simulated node as the console sees it: the lines of its world, decoded and told like those of a real connection."""

from __future__ import annotations

import asyncio
import json
import os
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from opsconsole.core.events import Answered, Event, Linked, Lost, Sampled
from opsconsole.core.fleet import HUNG, SILENT_AFTER_S, UNREACHABLE
from opsconsole.core.ingest import ingest
from opsconsole.sim.world import World

SLOTS = 50
"""The nodes of a world speak in so many groups, spread over the second."""


class SimLink:
    """One node of a world; the same shape as a link over SSH. All links of a world share its beat."""

    def __init__(self, spec: Any, world: World):
        self.name: str = spec.name
        self._row = world.row[spec.name]
        self._world = world
        self._emit: Callable[[Event], None] | None = None
        self._is_linked = False
        self._spoke_mono = 0.0

    async def run(self, emit: Callable[[Event], None]) -> None:
        """Until cancelled."""
        self._emit = emit
        self._is_linked, self._spoke_mono = False, time.monotonic()
        beat = Beat.of(self._world)
        beat.join(self._row, self)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            beat.leave(self._row)
            self._is_linked = False

    def send(self, order: Mapping[str, Any]) -> bool:
        if not self._is_linked:
            return False
        if order.get("op") not in ("hello", "ping"):
            self._world.order(self.name, order)
        return True

    def speak(self) -> None:
        """Tell what this node has to say in this second, if it can be heard."""
        world, mono = self._world, time.monotonic()
        if self._row in world.cut:
            self._lose(mono)
        elif self._row in world.silent:
            self._grow_silent(mono)
        else:
            self._speak(mono)

    def _speak(self, mono: float) -> None:
        world, wall, emit = self._world, time.time(), self._emit
        if not self._is_linked:
            self._is_linked = True
            emit(Linked(self.name, mono, ingest(world.facts_line(self._row), self.name)))
        self._spoke_mono = mono
        emit(Sampled(self.name, wall, mono, ingest(world.sample_line(self._row, wall, mono), self.name)))
        for line in world.take_answers(self._row):
            emit(Answered(self.name, ingest(line, self.name)))

    def _lose(self, mono: float) -> None:
        if self._is_linked or not self._spoke_mono:
            self._is_linked = False
            self._emit(Lost(self.name, mono, UNREACHABLE, "the connection was cut (simulated)"))

    def _grow_silent(self, mono: float) -> None:
        if self._is_linked and mono - self._spoke_mono > SILENT_AFTER_S:
            self._is_linked = False
            silent_s = mono - self._spoke_mono
            self._emit(Lost(self.name, mono, HUNG, f"connected, but its agent has been silent for {silent_s:.0f} s (simulated)"))


class Beat:
    """The task that moves one world in real time, while any link listens."""

    _all: weakref.WeakKeyDictionary[World, Beat] = weakref.WeakKeyDictionary()

    def __init__(self, world: World):
        # the world must not be kept alive by its own entry in _all
        self._world = weakref.ref(world)
        self._links: dict[int, SimLink] = {}
        self._task: asyncio.Task | None = None
        self._faults_path = _faults_path(world)
        self._faults_seen: object = None

    @classmethod
    def of(cls, world: World) -> Beat:
        if world not in cls._all:
            cls._all[world] = cls(world)
        return cls._all[world]

    def join(self, row: int, link: SimLink) -> None:
        self._links[row] = link
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._go_on())

    def leave(self, row: int) -> None:
        self._links.pop(row, None)
        if not self._links and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _go_on(self) -> None:
        world = self._world()
        world.at = time.time()
        due_mono = time.monotonic()
        while True:
            self._read_faults(world)
            world.advance(1.0)
            for slot in range(SLOTS):
                for row in range(slot, len(world.specs), SLOTS):
                    if row in self._links:
                        self._links[row].speak()
                await asyncio.sleep(max(due_mono + (slot + 1) / SLOTS - time.monotonic(), 0.0))
            due_mono = max(due_mono + 1.0, time.monotonic() - 1.0)

    def _read_faults(self, world: World) -> None:
        """Take up what the scenario player has written, whenever it changed; without a file the world is as it was made."""
        try:
            status = os.stat(self._faults_path)
            seen = (status.st_mtime_ns, status.st_ino)
            if seen != self._faults_seen:
                self._faults_seen = seen
                world.suffer(json.loads(self._faults_path.read_text()))
        except (OSError, ValueError, TypeError, AttributeError, LookupError):
            return


def _faults_path(world: World) -> Path:
    """The file lies in the nodes' work_dir, as with nodes behind real servers."""
    work_dir = getattr(world.specs[0], "work_dir", "") if world.specs else ""
    return Path(work_dir or os.devnull).expanduser() / "faults.json"
