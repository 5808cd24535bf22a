"""What must be on disk before anything is done, and what came of it after: rows of the audit in the order of what happened, and the run."""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple, Protocol

from opsconsole.control import wire
from opsconsole.core.alarm_book import Said
from opsconsole.core.run import Run, StepRun
from opsconsole.history.audit import AuditError
from opsconsole.history.journal import JournalError


class Auditor(Protocol):
    id: str

    def append(self, at: float, kind: str, run: str, actor: str, body: dict[str, Any]) -> Any: ...


class Keeper(Protocol):
    def put(self, run: dict[str, Any]) -> None: ...

    def runs(self) -> list[dict[str, Any]]: ...


class Written(NamedTuple):
    """trouble: why it is not on disk, "" when it is; anchor: the head of the audit with it, for a node to keep."""

    trouble: str
    anchor: dict[str, Any]


class Ledger:
    """Writes both files, each in a thread, one row after the other. Nothing is raised: who writes asks for the trouble."""

    def __init__(self, audit: Auditor, journal: Keeper) -> None:
        self._audit, self._journal = audit, journal
        self.trouble = ""
        """Why the newest row is not in the audit, "" when it is."""
        self._one_row = asyncio.Lock()
        """Held while a row is written: the audit has its rows in the order of what happened, whichever thread is fastest."""

    async def row(self, kind: str, run: Run, body: dict[str, Any], actor: str = "") -> Written:
        """A row of the audit. actor: who, where it is not who confirmed the plan."""
        return await self._append(kind, run.id, actor or run.plan.intent.actor, body)

    async def said(self, said: Said, about: str) -> str:
        """A row about an alarm, its kind "alarm". about: the alarm in words."""
        body = {"word": said.word, "what": said.what, "about": about, "text": said.text, "until": said.until}
        return (await self._append("alarm", "", said.actor, body)).trouble

    async def _append(self, kind: str, run: str, actor: str, body: dict[str, Any]) -> Written:
        try:
            async with self._one_row:
                row = await asyncio.to_thread(self._audit.append, time.time(), kind, run, actor, body)
        except AuditError as error:
            self.trouble = str(error)
            return Written(self.trouble, {})
        self.trouble = ""
        return Written("", {"audit": self._audit.id, "seq": row.seq, "hash": row.hash})

    async def begin(self, run: Run) -> str:
        """What will be done, why and by whom, in both files; why not, "" when it is there."""
        plan = run.plan
        steps = [{"text": step.text, "node": step.node, "worker": step.worker, "order": step.order} for step in plan.steps]
        written = await self.row("begin", run, {"title": plan.title, "reason": plan.intent.reason, "steps": steps})
        return written.trouble or await self.keep(run)

    async def receipt(self, run: Run, one: StepRun) -> str:
        step, ok = one.step, one.state == "DONE"
        body = {"id": one.order_id, "node": step.node, "worker": step.worker, "ok": ok, "text": one.text, "detail": one.detail}
        return (await self.row("receipt", run, body)).trouble

    async def keep(self, run: Run) -> str:
        """The run as it is, in the journal."""
        try:
            await asyncio.to_thread(self._journal.put, wire.run_out(run))
        except JournalError as error:
            return str(error)
        return ""

    async def known_runs(self) -> list[Run]:
        """All runs in the journal, oldest first. Raises JournalError."""
        kept = await asyncio.to_thread(self._journal.runs)
        try:
            return [wire.run_in(one) for one in reversed(kept)]
        except ValueError as error:
            raise JournalError(f"the run journal is damaged: {error}") from None
