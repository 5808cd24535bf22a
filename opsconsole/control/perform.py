"""A confirmed plan carried out: each step's order is sent to its node, its answers become progress until it is done."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

from opsconsole.core.events import Answered
from opsconsole.core.ingest import Answer
from opsconsole.core.steps import Drain, Plan, Progress, Step

ANSWER_LIMIT_S = 15.0
"""A node that has not said a word to an order for so long leaves the step unsure."""
LAUNCH_LIMIT_S = 900.0


class Performer:
    """Sends orders and joins their answers. send(node, order) says whether the order left; note records who did what."""

    def __init__(self, send: Callable[[str, dict[str, Any]], bool], note: Callable[[str, str, str, str], None]) -> None:
        self._send, self._note = send, note
        self._waiting: dict[str, asyncio.Queue[Answer]] = {}
        self.under_way: dict[str, Step] = {}
        """Steps that have not ended, by order id."""
        self.withheld: set[str] = set()
        """Workers that get no more requests because they are on their way out."""

    def answered(self, event: Answered) -> None:
        queue = self._waiting.get(event.answer.id)
        if queue is not None:
            queue.put_nowait(event.answer)

    def perform(self, plan: Plan) -> AsyncIterator[Progress]:
        """Progress of all steps, which run side by side, until each is done. Steps count as under way from this call on."""
        orders = [(number, uuid.uuid4().hex, step) for number, step in enumerate(plan.steps)]
        for _, order_id, step in orders:
            self.under_way[order_id] = step
        return self._joined(plan, orders)

    async def _joined(self, plan: Plan, orders: list[tuple[int, str, Step]]) -> AsyncIterator[Progress]:
        said: asyncio.Queue[Progress | None] = asyncio.Queue()
        tasks = [asyncio.create_task(self._step(plan, number, order_id, step, said)) for number, order_id, step in orders]
        left = len(tasks)
        try:
            while left:
                progress = await said.get()
                if progress is None:
                    left -= 1
                else:
                    yield progress
        finally:
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _step(self, plan: Plan, number: int, order_id: str, step: Step, said: asyncio.Queue) -> None:
        queue = self._waiting[order_id] = asyncio.Queue()
        actor, reason = plan.intent.actor, plan.intent.reason
        self._note("action", step.worker, f"{step.text}{': ' + reason if reason else ''}", actor)
        last = Progress(number, step.worker, step.node, False, True, "not sent")
        try:
            if isinstance(plan.intent, Drain):
                self.withheld.add(step.worker)
            else:
                self.withheld.discard(step.worker)
            async for last in self._answers(number, order_id, step, queue):
                said.put_nowait(last)
        finally:
            self._ended(plan, order_id, step, last)
            said.put_nowait(None)

    async def _answers(self, number: int, order_id: str, step: Step, queue: asyncio.Queue[Answer]) -> AsyncIterator[Progress]:
        if not self._send(step.node, {**step.order, "id": order_id}):
            yield Progress(number, step.worker, step.node, False, True, f"{step.node} cannot be reached, nothing was sent")
            return
        limit_s = ANSWER_LIMIT_S
        while True:
            try:
                answer = await asyncio.wait_for(queue.get(), limit_s)
            except TimeoutError:
                unsure = f"UNSURE: {step.node} has not answered for {limit_s:.0f} s; look at `opsconsole workers`"
                yield Progress(number, step.worker, step.node, False, True, unsure)
                return
            yield Progress(number, step.worker, step.node, answer.ok, answer.done, answer.text, answer.detail)
            if answer.done:
                return
            limit_s = LAUNCH_LIMIT_S if step.order["op"] == "launch" else ANSWER_LIMIT_S

    def _ended(self, plan: Plan, order_id: str, step: Step, last: Progress) -> None:
        self._waiting.pop(order_id, None)
        self.under_way.pop(order_id, None)
        held = bool(last.detail.get("held"))
        if isinstance(plan.intent, Drain) and not held and not last.ok:
            self.withheld.discard(step.worker)
        self._note("receipt", step.worker, last.text, plan.intent.actor)
