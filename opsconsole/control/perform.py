"""A confirmed plan carried out: each step's order is sent to its node, its answers become progress until it is done.

Without an audit nothing is done: the plan and each order are in it, on disk, before a node hears of them.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, Protocol

from opsconsole.core.events import Answered
from opsconsole.core.ingest import Answer
from opsconsole.core.steps import Drain, Plan, Progress, Step
from opsconsole.history.audit import AuditError

ANSWER_LIMIT_S = 15.0
"""A node that has not said a word to an order for so long leaves the step unsure."""
LAUNCH_LIMIT_S = 900.0


class Auditor(Protocol):
    def append(self, at: float, kind: str, run: str, actor: str, body: dict[str, Any]) -> Any: ...


class Performer:
    """Sends orders and joins their answers. send(node, order) says whether the order left; note tells the history who did what."""

    def __init__(
        self, send: Callable[[str, dict[str, Any]], bool], note: Callable[[str, str, str, str], None], audit: Auditor
    ) -> None:
        self._send, self._note, self._audit = send, note, audit
        self._waiting: dict[str, asyncio.Queue[Answer]] = {}
        self.under_way: dict[str, Step] = {}
        """Steps that have not ended, by order id."""
        self.withheld: set[str] = set()
        """Workers that get no more requests because they are on their way out."""
        self._one_row = asyncio.Lock()
        """Held while a row is written: the audit has its rows in the order of what happened, whichever thread is fastest."""

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

    async def _write_down(self, kind: str, run: str, plan: Plan, body: dict[str, Any]) -> str:
        """"" when it is on disk, else why it is not."""
        try:
            async with self._one_row:
                await asyncio.to_thread(self._audit.append, time.time(), kind, run, plan.intent.actor, body)
        except AuditError as error:
            return str(error)
        return ""

    async def _joined(self, plan: Plan, orders: list[tuple[int, str, Step]]) -> AsyncIterator[Progress]:
        said: asyncio.Queue[Progress | None] = asyncio.Queue()
        run = uuid.uuid4().hex
        steps = [{"text": step.text, "node": step.node, "worker": step.worker, "order": step.order} for step in plan.steps]
        trouble = await self._write_down("begin", run, plan, {"title": plan.title, "reason": plan.intent.reason, "steps": steps})
        if trouble:
            for number, order_id, step in orders:
                self.under_way.pop(order_id, None)
                yield Progress(number, step.worker, step.node, False, True, f"nothing was sent: {trouble}")
            return
        tasks = [asyncio.create_task(self._step(plan, run, number, order_id, step, said)) for number, order_id, step in orders]
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

    async def _step(self, plan: Plan, run: str, number: int, order_id: str, step: Step, said: asyncio.Queue) -> None:
        queue = self._waiting[order_id] = asyncio.Queue()
        actor, reason = plan.intent.actor, plan.intent.reason
        self._note("action", step.worker, f"{step.text}{': ' + reason if reason else ''}", actor)
        last = Progress(number, step.worker, step.node, False, True, "not sent")
        try:
            if isinstance(plan.intent, Drain):
                self.withheld.add(step.worker)
            else:
                self.withheld.discard(step.worker)
            trouble = await self._write_down("order", run, plan, {"id": order_id, "node": step.node, **step.order})
            if trouble:
                last = Progress(number, step.worker, step.node, False, True, f"nothing was sent: {trouble}")
                said.put_nowait(last)
                return
            async for last in self._answers(number, order_id, step, queue):
                if last.done:
                    last = await self._with_receipt(plan, run, order_id, last)
                said.put_nowait(last)
        finally:
            self._ended(plan, order_id, step, last)
            said.put_nowait(None)

    async def _with_receipt(self, plan: Plan, run: str, order_id: str, last: Progress) -> Progress:
        """The end of a step once it is in the audit; where it could not be written, the end says so too."""
        body = {"id": order_id, "node": last.node, "worker": last.worker, "ok": last.ok, "text": last.text, "detail": last.detail}
        trouble = await self._write_down("receipt", run, plan, body)
        return replace(last, text=f"{last.text}; AUDIT AT RISK: {trouble}") if trouble else last

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
