"""What happened at a moment of the past, as one point on a time bar."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("alarm", "clear", "action", "event")


@dataclass(frozen=True, slots=True)
class Mark:
    """at: epoch seconds. kind: "alarm" (raised), "clear" (it is gone), "action" (launch, drain …: text says which), "event" (a node
    lost or found, the history, how a step ended …). severity: that of the alarm, 2 critical, 1 warning, 0 neither.
    """

    at: float
    kind: str
    severity: int
    subject: str
    """The node, worker, model or site it is about."""
    text: str
    actor: str = ""
    """Who did it, "" where nobody did."""
