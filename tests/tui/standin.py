"""A session that needs no collector: it has the methods of control.session.AsyncSession and answers from values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import numpy as np

from opsconsole.control.session import Series
from opsconsole.core.fleet import Fleet
from opsconsole.core.plan import make_plan
from opsconsole.core.run import ENDED, Run
from opsconsole.core.steps import Intent, Plan, Progress


class StandIn:
    def __init__(self, fleet: Fleet | None = None) -> None:
        self.fleet = fleet
        self.asked: list[Intent] = []
        self.acted: list[Intent] = []
        self.refusal = ""
        self.made: Plan | None = None
        """The plan that is made of every intent; None: the house's own planner makes it."""
        self.closed = False
        self.known: list[Run] = []
        """What runs() answers."""
        self.resumed: list[str] = []
        self.cancelled: list[str] = []
        self.said: list = []
        """What was said of alarms."""

    async def attach(self, on_fleet: Callable[[Fleet], None], on_lost: Callable[[str], None]) -> StandIn:
        self.on_fleet, self.on_lost = on_fleet, on_lost
        if self.fleet is not None:
            on_fleet(self.fleet)
        return self

    async def plan(self, intent: Intent) -> Plan:
        self.asked.append(intent)
        if self.refusal:
            return Plan(intent, "drain something", refusal=self.refusal)
        if self.made is not None:
            return replace(self.made, intent=intent)
        return make_plan(self.fleet, intent)

    async def act(self, plan: Plan) -> AsyncIterator[Plan | Progress]:
        self.acted.append(plan.intent)
        yield plan
        for number, step in enumerate(plan.steps):
            yield Progress(number, step.worker, step.node, True, False, "no new requests; 3 in flight")
            yield Progress(number, step.worker, step.node, True, True, "stopped, 0 requests lost")

    async def runs(self) -> list[Run]:
        return list(self.known)

    async def resume(self, run_id: str, actor: str = "") -> AsyncIterator[Progress]:
        self.resumed.append(run_id)
        run = next(run for run in self.known if run.id == run_id)
        for number, step in enumerate(run.steps):
            if step.state not in ENDED:
                yield Progress(number, step.step.worker, step.step.node, True, True, "stopped, 0 requests lost")

    async def cancel(self, run_id: str, actor: str = "") -> None:
        self.cancelled.append(run_id)

    async def history(self, series: str, **query: object) -> Series:
        times = np.arange(self.fleet.at - 600, self.fleet.at, 5.0)
        gpu = int(query.get("gpu") or 0)
        values = 70 + 8 * np.sin(np.arange(len(times)) / 15 + gpu) + np.where(np.arange(len(times)) > 70, 12, 0)
        values[30:40] = np.nan
        return Series(series, "", times, values)

    async def say(self, said) -> str:
        self.said.append(said)
        if self.refusal:
            raise ValueError(self.refusal)
        return f"{said.word} {said.what}: done"

    async def close(self) -> None:
        self.closed = True
