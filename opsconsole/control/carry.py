"""One run carried out: each event makes it advance, what it has become is written down, and only then its orders leave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, NamedTuple

from opsconsole.control.ledger import Ledger
from opsconsole.core.advance import advance, stillborn
from opsconsole.core.run import ENDED, Begun, NotSent, RouterSaid, Run, RunEvent, RunOrder, StepRun, Ticked
from opsconsole.core.steps import Progress

ROUTER_LIMIT_S = 30.0
"""A router that has not confirmed for so long does not take the worker out."""


class Hands(NamedTuple):
    """How a run reaches the world. send: whether the order left; confirm_out: "" when the router gives a worker no more requests, else
    why not; note: (kind, subject, text, actor) for the history."""

    send: Callable[[str, dict[str, Any]], bool]
    confirm_out: Callable[[str], Awaitable[str]]
    note: Callable[[str, str, str, str], None]
    ledger: Ledger


class Carrier:
    """The loop of one run. now: the tick as it would be told at this moment; changed: hears the run before and after each change."""

    def __init__(self, run: Run, hands: Hands, now: Callable[[Carrier], Ticked], changed: Callable[[Run, Run], None]) -> None:
        self.run = run
        self._hands, self._now, self._changed = hands, now, changed
        self._inbox: asyncio.Queue[RunEvent | None] = asyncio.Queue()
        self._tick_waits = False
        self._asking_router: set[asyncio.Task] = set()

    def hear(self, event: RunEvent) -> None:
        self._inbox.put_nowait(event)

    def tick(self) -> None:
        """The clock moved, or the fleet did. Told once, however far the run is behind."""
        if not self._tick_waits:
            self._tick_waits = True
            self._inbox.put_nowait(None)

    async def begin(self) -> None:
        """As `go`, for a run that has just been confirmed: unless both files have it, nothing is done."""
        trouble = await self._hands.ledger.begin(self.run)
        if trouble:
            before, self.run = self.run, stillborn(self.run, f"nothing was sent: {trouble}", time.time())
            self._changed(before, self.run)
            return
        self.hear(Begun(time.time()))
        await self.go()

    async def go(self) -> None:
        """Until the run has ended or was let go."""
        self.tick()
        while True:
            event = await self._inbox.get()
            if event is None:
                self._tick_waits, event = False, self._now(self)
            await self._take(event)
            if self.run.state != "OPEN" and self._inbox.empty():
                return

    async def _take(self, event: RunEvent) -> None:
        before = self.run
        self.run, orders = advance(before, event)
        if self.run is before:
            return
        for number, (was, one) in enumerate(zip(before.steps, self.run.steps, strict=True)):
            if was.began_at is None and one.began_at is not None:
                reason = self.run.plan.intent.reason
                self._note("action", one, f"{one.step.text}{': ' + reason if reason else ''}")
            if one.state in ENDED - {"SKIPPED"} and was.state not in ENDED:
                await self._receipt(number)
        trouble = await self._hands.ledger.keep(self.run) if _course(self.run) != _course(before) else ""
        self._changed(before, self.run)
        for order in orders:
            if trouble:
                self.hear(NotSent(order.order_id, f"nothing was sent: {trouble}", time.time()))
            elif order.to == "router":
                task = asyncio.create_task(self._ask_router(order))
                self._asking_router.add(task)
                task.add_done_callback(self._asking_router.discard)
            else:
                await self._send(order)

    async def _receipt(self, number: int) -> None:
        """The end of a step in the audit; where it could not be written, the end says so too."""
        one = self.run.steps[number]
        trouble = await self._hands.ledger.receipt(self.run, one)
        if trouble:
            steps = list(self.run.steps)
            steps[number] = replace(one, text=f"{one.text}; AUDIT AT RISK: {trouble}")
            self.run = replace(self.run, steps=tuple(steps))
        self._note("receipt", one, one.text)

    def _note(self, kind: str, one: StepRun, text: str) -> None:
        self._hands.note(kind, one.step.worker or one.step.node, text, self.run.plan.intent.actor)

    async def _ask_router(self, order: RunOrder) -> None:
        try:
            trouble = await asyncio.wait_for(self._hands.confirm_out(order.worker), ROUTER_LIMIT_S)
        except TimeoutError:
            trouble = f"it has not answered for {ROUTER_LIMIT_S:.0f} s"
        except Exception as error:  # a router of a plugin may fail in any way: then it has promised nothing
            trouble = f"{type(error).__name__}: {error}"
        self.hear(RouterSaid(order.order_id, not trouble, trouble, time.time()))

    async def _send(self, order: RunOrder) -> None:
        """The row of the audit first; the node keeps its head."""
        written = await self._hands.ledger.row("order", self.run, {"node": order.node, **order.order})
        if written.trouble:
            self.hear(NotSent(order.order_id, f"nothing was sent: {written.trouble}", time.time()))
            return
        said = {**order.order, "actor": self.run.plan.intent.actor, "anchor": written.anchor}
        if not self._hands.send(order.node, said):
            self.hear(NotSent(order.order_id, f"{order.node} cannot be reached, nothing was sent", time.time()))


def _course(run: Run) -> tuple:
    """What of a run the journal must have before the next order leaves; words of nodes in between are not worth a disk's time."""
    return run.state, tuple((one.state, one.asked, one.cancel) for one in run.steps)


def news(before: Run, run: Run) -> list[Progress]:
    """What has come of the steps that changed."""
    told = []
    for number, (was, one) in enumerate(zip(before.steps, run.steps, strict=True)):
        if one.text and (one.state, one.text, one.detail) != (was.state, was.text, was.detail):
            told.append(progress_of(number, one))
    return told


def progress_of(number: int, one: StepRun) -> Progress:
    ok = one.state in ("DONE", "ROUTING", "SENT", "WAITING")
    return Progress(number, one.step.worker, one.step.node, ok, one.state in ENDED, one.text, one.detail)
