"""What a person must type in production before a plan that takes something out of service: the same on the screen and in a shell."""

from __future__ import annotations

from opsconsole.core.steps import Cap, Plan, Rollout
from opsconsole.core.text import REPLACEMENT, clean

_STOPS = frozenset(("drain", "stop"))


def stops_serving(plan: Plan) -> bool:
    """Whether a plan takes workers out of service, or may slow them all at once."""
    return isinstance(plan.intent, (Cap, Rollout)) or any(step.order.get("op") in _STOPS for step in plan.steps)


def phrase_for(plan: Plan) -> str:
    """What must be typed: the one thing's name, or how many there are."""
    intent = plan.intent
    if isinstance(intent, Cap):
        targets: tuple[str, ...] = (intent.target,)
    elif isinstance(intent, Rollout):
        targets = (intent.model,)
    else:
        targets = getattr(intent, "targets", ())
    if not targets:
        targets = tuple(dict.fromkeys(step.worker for step in plan.steps if step.order.get("op") in _STOPS))
    phrase = clean(targets[0], 60) if len(targets) == 1 else str(len(targets))
    return "yes" if REPLACEMENT in phrase else phrase
