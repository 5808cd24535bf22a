"""All runs of one collector: confirmed plans begin here, whoever likes to listen hears how they go, and those left open are taken up again.

Without an audit and a journal nothing is done: the plan and each order are in them, on disk, before a node hears of them.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

from opsconsole.control.carry import Carrier, Hands, news
from opsconsole.control.ledger import Auditor, Keeper, Ledger
from opsconsole.control.questions import Questions
from opsconsole.core.advance import advance, begin
from opsconsole.core.events import Answered, Linked
from opsconsole.core.fleet import Fleet
from opsconsole.core.guards import LEAVING
from opsconsole.core.run import ENDED, UNDER_WAY, NodeBack, NodeSaid, Run, StepRun, Ticked, Told
from opsconsole.core.steps import Plan, Progress, Step
from opsconsole.history.journal import JournalError

ENDED_KEPT = 500
"""As many ended runs as the journal keeps are remembered here."""
SAMPLE_S = 1.0
"""A sample may have been begun so long before it came."""


async def no_router(worker: str) -> str:
    """There is none, so no request can come from it."""
    return ""


class Performer:
    """Carries out plans. send(node, order) says whether the order left; note tells the history who did what."""

    def __init__(
        self, send: Callable[[str, dict[str, Any]], bool], note: Callable[[str, str, str, str], None], audit: Auditor, journal: Keeper,
        confirm_out: Callable[[str], Awaitable[str]] = no_router,
    ) -> None:
        self.ledger = Ledger(audit, journal)
        self._hands = Hands(send, confirm_out, note, self.ledger)
        self.questions = Questions(send)
        self._fleet = Fleet()
        self._runs: dict[str, Run] = {}
        self._carriers: dict[str, Carrier] = {}
        self._tasks: set[asyncio.Task] = set()
        self._listeners: dict[str, list[asyncio.Queue[Progress | Run]]] = {}
        self.withheld: set[str] = set()
        """Workers that get no more requests because they are on their way out."""
        self.trouble = ""
        """Why the runs of earlier collectors are not known, "" when they are."""

    @property
    def under_way(self) -> dict[str, Step]:
        """Steps that have not ended of runs that are carried out, by order id."""
        return {one.order_id: one.step for carrier in self._carriers.values() for one in carrier.run.steps if one.state not in ENDED}

    @property
    def is_open(self) -> bool:
        """Whether a run is carried out now; one that was let go keeps nobody awake."""
        return bool(self._carriers)

    async def recover(self) -> None:
        """Takes up the runs of earlier collectors: what was under way is shown as interrupted, and waits to be resumed."""
        try:
            known = await self.ledger.known_runs()
        except JournalError as error:
            self.trouble = str(error)
            return
        for run in known:
            if run.state == "OPEN":
                run, _ = advance(run, Told("let go", time.time()))
                await self.ledger.keep(run)
            self._runs[run.id] = run
        self._withhold()

    async def close(self) -> None:
        """Runs that are open stay so in the journal, and are found interrupted at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def saw(self, fleet: Fleet) -> None:
        """The newest fleet, at least once a second."""
        self._fleet = fleet
        if self.withheld:
            self._withhold()
        for carrier in self._carriers.values():
            carrier.tick()

    def heard(self, event: Answered | Linked) -> None:
        """What a node answers, and that it is linked again."""
        if isinstance(event, Linked):
            for carrier in self._carriers.values():
                carrier.hear(NodeBack(event.node, time.time()))
            return
        answer = event.answer
        self.questions.answered(event)
        for carrier in self._carriers.values():
            if any(answer.id.startswith(one.order_id) and one.step.node == event.node for one in carrier.run.steps):
                carrier.hear(NodeSaid(answer.id, answer.ok, answer.done, answer.text, answer.detail, time.time()))

    def begin(self, plan: Plan) -> Run:
        """Begins a confirmed plan; its steps count as under way from this call on."""
        run = begin(plan, uuid.uuid4().hex[:12], [uuid.uuid4().hex for _ in plan.steps], time.time())
        carrier = self._carrier(run)
        self._go(carrier, carrier.begin())
        return run

    def perform(self, plan: Plan) -> AsyncIterator[Progress | Run]:
        """As `watch`, of a run that begins now."""
        return self.watch(self.begin(plan).id)

    def runs(self, run_id: str = "") -> list[Run]:
        """Newest first; only the one named. Raises ValueError."""
        if run_id:
            return [self._run(run_id)]
        if self.trouble:
            raise ValueError(self.trouble)
        return sorted(self._runs.values(), key=lambda run: run.began_at, reverse=True)

    def watch(self, run_id: str) -> AsyncIterator[Progress | Run]:
        """The run as it is, the progress of its steps, and the run as it has become once it has ended or was let go. Raises ValueError."""
        run = self._run(run_id)
        said: asyncio.Queue[Progress | Run] = asyncio.Queue()
        self._listeners.setdefault(run.id, []).append(said)
        return self._listen(run, said, run.id in self._carriers)

    async def _listen(self, run: Run, said: asyncio.Queue[Progress | Run], is_open: bool) -> AsyncIterator[Progress | Run]:
        try:
            yield run
            while is_open:
                told = await said.get()
                yield told
                is_open = isinstance(told, Progress)
        finally:
            self._listeners[run.id].remove(said)

    async def tell(self, run_id: str, word: str, actor: str = "") -> Run:
        """Lets go of a run, resumes it or takes back what it has under way (see core.run.WORDS). Raises ValueError."""
        run = self._run(run_id)
        why_not = _why_not(run, word)
        if why_not:
            raise ValueError(why_not)
        written = await self.ledger.row("told", run, {"word": word, "title": run.plan.title}, actor)
        if written.trouble:
            raise ValueError(f"nothing was done: {written.trouble}")
        told = Told(word, time.time())
        if run.id in self._carriers:
            self._carriers[run.id].hear(told)
        else:
            carrier = self._carrier(self._runs[run.id])
            carrier.hear(told)
            self._go(carrier, carrier.go())
        return self._runs[run.id]

    def _run(self, run_id: str) -> Run:
        found = [run for name, run in self._runs.items() if name.startswith(run_id)] if run_id else []
        if run_id in self._runs:
            return self._runs[run_id]
        if len(found) != 1:
            raise ValueError(self.trouble or (f"{run_id!r} may be one of {len(found)} runs" if found else f"there is no run {run_id!r}"))
        return found[0]

    def _carrier(self, run: Run) -> Carrier:
        carrier = self._carriers[run.id] = Carrier(run, self._hands, self._now, self._changed)
        self._runs[run.id] = run
        return carrier

    def _go(self, carrier: Carrier, work: Any) -> None:
        async def to_its_end() -> None:
            try:
                await work
            except Exception as error:  # a defect must not leave a run that seems to be carried out
                run, _ = advance(carrier.run, Told("let go", time.time()))
                carrier.run = self._runs[run.id] = replace(run, text=f"internal error: {type(error).__name__}: {error}")
                await self.ledger.keep(carrier.run)
            finally:
                self._carriers.pop(carrier.run.id, None)
                self._tell_listeners(carrier.run.id, [carrier.run])

        task = asyncio.create_task(to_its_end())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _now(self, of: Carrier) -> Ticked:
        others = [carrier.run for carrier in self._carriers.values() if carrier is not of]
        left = [run for run in self._runs.values() if run.state == "INTERRUPTED"]
        return Ticked(time.time(), self._fleet, _under_way(others), _under_way(left))

    def _changed(self, before: Run, run: Run) -> None:
        self._runs[run.id] = run
        self._withhold()
        self._tell_listeners(run.id, news(before, run))
        ended = [name for name, one in self._runs.items() if one.state not in ("OPEN", "INTERRUPTED")]
        for name in ended[:-ENDED_KEPT]:
            del self._runs[name]

    def _tell_listeners(self, run_id: str, told: list[Progress] | list[Run]) -> None:
        for said in self._listeners.get(run_id, ()):
            for one in told:
                said.put_nowait(one)

    def _withhold(self) -> None:
        now = withheld_by(self._runs.values(), self._fleet)
        self.withheld &= now
        self.withheld |= now


def _under_way(runs: Iterable[Run]) -> tuple[Step, ...]:
    return tuple(one.step for run in runs for one in run.steps if one.state in UNDER_WAY)


def withheld_by(runs: Iterable[Run], fleet: Fleet) -> set[str]:
    """Workers that must get no more requests after all that these runs did, in the order in which it began."""
    begun = [one for run in runs for one in run.steps if one.began_at is not None and (one.state != "FAILED" or _is_open(one, fleet))]
    out: set[str] = set()
    for one in sorted(begun, key=lambda one: one.began_at):
        if one.step.order["op"] in ("drain", "stop"):
            out.add(one.step.worker)
        elif one.step.order["op"] in ("launch", "undrain"):
            out.discard(one.step.worker)
    return out


def _is_open(failed: StepRun, fleet: Fleet) -> bool:
    """Whether the fleet does not show yet what a rival, who was faster with a worker, has done to it: what its node told before that says
    READY."""
    row = fleet.roster.node_row.get(failed.step.node)
    if not failed.detail.get("conflict") or failed.step.order["op"] not in LEAVING or failed.ended_at is None or row is None:
        return False
    return not fleet.at - float(fleet.age_s[row]) > failed.ended_at + SAMPLE_S


def _why_not(run: Run, word: str) -> str:
    allowed = {"let go": ("OPEN",), "resume": ("INTERRUPTED",), "cancel": ("OPEN", "INTERRUPTED")}.get(word)
    if allowed is None:
        return f"a run cannot be told {word!r}"
    if run.state in allowed:
        return ""
    state = "is under way already" if run.state == "OPEN" else "is interrupted already" if run.state == "INTERRUPTED" else "has ended"
    return f"run {run.id} {state} ({run.state}: {run.plan.title})"
