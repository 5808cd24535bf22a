"""A plan under way as plain values: what a run and its steps can be, and which of their states follows which.

A step:
    WAITING     -> ROUTING SENT SKIPPED FAILED
    ROUTING     -> SENT FAILED UNSURE
    SENT        -> DONE HELD FAILED UNSURE
    UNSURE      -> ROUTING SENT DONE HELD FAILED

A run:
    OPEN        -> DONE HELD FAILED INTERRUPTED
    INTERRUPTED -> OPEN FAILED
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from opsconsole.core.fleet import Fleet
from opsconsole.core.steps import Plan, Step

STEP_MOVES: dict[str, tuple[str, ...]] = {
    "WAITING": ("ROUTING", "SENT", "SKIPPED", "FAILED"),
    "ROUTING": ("SENT", "FAILED", "UNSURE"),
    "SENT": ("DONE", "HELD", "FAILED", "UNSURE"),
    "UNSURE": ("ROUTING", "SENT", "DONE", "HELD", "FAILED"),
    "DONE": (),
    "HELD": (),
    "FAILED": (),
    "SKIPPED": (),
}
"""WAITING for steps before it; ROUTING: the router takes its worker out; SENT: the node has the order; UNSURE: the order left and the
answer is not known; HELD: a drain at its deadline, nothing was stopped; SKIPPED: a step before it did not end well."""

RUN_MOVES: dict[str, tuple[str, ...]] = {
    "OPEN": ("DONE", "HELD", "FAILED", "INTERRUPTED"),
    "INTERRUPTED": ("OPEN", "FAILED"),
    "DONE": (),
    "HELD": (),
    "FAILED": (),
}
"""INTERRUPTED: its console ended or was told to let go before the run had; `resume` opens it again."""

ENDED = frozenset(state for state, following in STEP_MOVES.items() if not following)
"""States of a step after which nothing more comes."""
UNDER_WAY = frozenset(("ROUTING", "SENT", "UNSURE"))
"""States of a step that has begun and not ended."""


@dataclass(frozen=True, slots=True)
class StepRun:
    """One step of a run. order_id is given when the run begins and never changes: a node knows the same order again by it."""

    step: Step
    order_id: str
    state: str = "WAITING"
    text: str = ""
    """The last word about it."""
    detail: dict[str, Any] = field(default_factory=dict)
    began_at: float | None = None
    """Wall clock, epoch seconds; None before."""
    ended_at: float | None = None
    asked: int = 0
    """How often its order has left for the node: more than once only to ask what has become of it."""
    heard_at: float | None = None
    """When its order left or its node last spoke of it, whichever is later; None: nobody waits for a word."""
    generation: int | None = None
    """Of its worker, as last seen when the step began (None: there was none). It stays, so that an order that comes late is refused."""
    cancel: str = ""
    """"asked": its node is told to end it; "refused": and would not."""


@dataclass(frozen=True, slots=True)
class Run:
    """A confirmed plan and how far it has come."""

    id: str
    plan: Plan
    began_at: float
    steps: tuple[StepRun, ...]
    state: str = "OPEN"
    ended_at: float | None = None
    text: str = ""
    """Why it ended as it did, "" when all went well."""

    @property
    def done_steps(self) -> tuple[Step, ...]:
        """What can be taken back, held drains among it."""
        return tuple(one.step for one in self.steps if one.state in ("DONE", "HELD"))


def step_to(one: StepRun, state: str, **changes: Any) -> StepRun:
    """The step in another state; the one place where a step's state changes. Raises AssertionError for what the table does not allow."""
    if state not in STEP_MOVES[one.state]:
        raise AssertionError(f"a step that is {one.state} cannot become {state}")
    return replace(one, state=state, **changes)


def run_to(run: Run, state: str, **changes: Any) -> Run:
    """As step_to, for a run."""
    if state not in RUN_MOVES[run.state]:
        raise AssertionError(f"a run that is {run.state} cannot become {state}")
    return replace(run, state=state, **changes)


@dataclass(frozen=True, slots=True)
class Begun:
    """The plan was confirmed and written down."""

    at: float


@dataclass(frozen=True, slots=True)
class Ticked:
    """A second passed."""

    at: float
    fleet: Fleet
    others: tuple[Step, ...] = ()
    """Steps of other runs that are under way."""
    left: tuple[Step, ...] = ()
    """Steps of runs that were let go of: their nodes may be at them. They block nobody, but what they may take is counted."""


@dataclass(frozen=True, slots=True)
class RouterSaid:
    """The router gives the step's worker no more requests (ok), or why it cannot promise that."""

    order_id: str
    ok: bool
    text: str
    at: float


@dataclass(frozen=True, slots=True)
class NodeSaid:
    """A node spoke of an order. done: its last word."""

    order_id: str
    ok: bool
    done: bool
    text: str
    detail: dict[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class NotSent:
    """An order did not leave the console: its node cannot be reached, or what must be written first could not be."""

    order_id: str
    text: str
    at: float


@dataclass(frozen=True, slots=True)
class NodeBack:
    """A node is linked again; what it said meanwhile is lost."""

    node: str
    at: float


@dataclass(frozen=True, slots=True)
class Told:
    """The operator, or the collector at its start, has said what shall become of the run (see WORDS)."""

    word: str
    at: float


WORDS = ("let go", "resume", "cancel")
"""let go: follow it no longer, what nodes have begun goes on there; resume: follow it again, and go on; cancel: begin nothing more, end
launches that are under way and take drains back (of a run that was let go, too: what it has done can be undone after it)."""

RunEvent = Begun | Ticked | RouterSaid | NodeSaid | NotSent | NodeBack | Told


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What to do next, in the order given. to: "router" (take the step's worker out) or "node" (send `order`)."""

    to: str
    order_id: str
    node: str
    worker: str
    order: dict[str, Any] = field(default_factory=dict)
    """As it is sent, but for actor and anchor; {} for the router."""
