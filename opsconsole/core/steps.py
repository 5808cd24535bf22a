"""The nouns of action: what the operator wants (intent), what will be done (plan of steps), and what came of it (progress, receipt)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


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
    """hold: stay draining and say so; extend: as much time again while the number in flight falls, then hold; migrate: other workers go
    on with what is in flight; abort: stop anyway, count what was lost."""
    reason: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Undrain:
    """Let workers that are draining, or held at a drain's deadline, take requests again. targets: worker or node names."""

    targets: tuple[str, ...]
    reason: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop workers that have nothing in flight. targets: worker or node names."""

    targets: tuple[str, ...]
    reason: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Cordon:
    """No new workers on these nodes; those that are there go on."""

    targets: tuple[str, ...]
    reason: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Uncordon:
    """Let new workers onto these nodes again."""

    targets: tuple[str, ...]
    reason: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Rebalance:
    """The fewest moves that help most, of one model or of all (model "")."""

    model: str = ""
    objective: str = "queue"
    """queue: shorten what waits; power: fit under the caps and budgets as they are now; cost: the same service for less an hour."""
    reason: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """Replace the workers of a model by workers of another checkpoint, new beside old, one at a time."""

    model: str
    to: str
    """The checkpoint that the new workers serve."""
    deadline_s: float = 600.0
    on_deadline: str = "hold"
    """As in Drain, for the old workers."""
    reason: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Cap:
    """Limit the power of GPUs. target: a node or a site; watts: of each GPU of a node, of all GPUs of a site together; None: as before."""

    target: str
    watts: float | None
    reason: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Undo:
    """Take back what a run has done, as a fresh plan. run: its id."""

    run: str
    reason: str = ""
    actor: str = ""


Intent = Launch | Drain | Undrain | Stop | Cordon | Uncordon | Rebalance | Rollout | Cap | Undo


@dataclass(frozen=True, slots=True)
class Step:
    """One order to one node. order: a message of the protocol without its id. worker: "" for an order that concerns the node itself."""

    text: str
    node: str
    worker: str
    order: dict[str, Any]
    after: tuple[int, ...] = ()
    """Numbers (from 0) of the steps that must have ended well before this one begins; the others run side by side."""


class Change(NamedTuple):
    """What a plan changes, in words: now, while it is under way (the worst moment), and after it."""

    what: str
    now: str
    during: str
    after: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done, shown before the yes. refusal: why it must not be done, with the numbers; "" when it may."""

    intent: Intent
    title: str
    steps: tuple[Step, ...] = ()
    checks: tuple[str, ...] = ()
    """Guards that hold, in words."""
    warnings: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    refusal: str = ""
    conflict: bool = False
    """Refused because somebody else is at it, or the fleet has changed since: trying again later makes sense."""
    run: str = ""
    """The run that carries it out; "" before the yes."""


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
