"""A plan under way as plain values: what a run and its steps can be, and which of their states follows which."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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
