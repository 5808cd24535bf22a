"""The nouns of action: what the operator wants (intent), what will be done (plan of steps), and what came of it (progress, receipt)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Launch:
    """Start `count` workers of a model; node "" and gpus () leave the choice to placement."""

    model: str
    node: str = ""
    gpus: tuple[int, ...] = ()
    count: int = 1
    reason: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Drain:
    """Take workers out: no new requests, what is in flight finishes, then they stop. targets: worker or node names."""

    targets: tuple[str, ...]
    deadline_s: float = 600.0
    on_deadline: str = "hold"
    """hold: stay draining and say so; migrate: other workers go on with what is in flight; abort: stop anyway, count what was lost."""
    reason: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Undrain:
    """Let workers that are draining, or held at a drain's deadline, take requests again. targets: worker or node names."""

    targets: tuple[str, ...]
    reason: str = ""
    actor: str = ""


Intent = Launch | Drain | Undrain


@dataclass(frozen=True, slots=True)
class Step:
    """One order to one node. order: a message of the protocol without its id."""

    text: str
    node: str
    worker: str
    order: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done, shown before the yes. refusal: why it must not be done, with the numbers; "" when it may."""

    intent: Intent
    title: str
    steps: tuple[Step, ...] = ()
    checks: tuple[str, ...] = ()
    """Guards that hold, in words."""
    warnings: tuple[str, ...] = ()
    changes: tuple[tuple[str, str, str], ...] = ()
    """(what, now, after), in words."""
    refusal: str = ""
    conflict: bool = False
    """Refused because somebody else is at it, or the fleet has changed since: trying again later makes sense."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What has come of one step so far. done: nothing more follows for that step."""

    step: int
    worker: str
    node: str
    ok: bool
    done: bool
    text: str
    detail: dict[str, Any] = field(default_factory=dict)
