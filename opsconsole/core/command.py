"""An intent as the command line that means the same, so that what was done by key can be done again from a script."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from opsconsole.core.steps import Cap, Cordon, Drain, Intent, Launch, Rebalance, Rollout, Stop, Uncordon, Undo, Undrain

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def command_of(intent: Intent) -> str:
    """One line for a shell. It makes the same plan and asks before it acts: it carries no --yes."""
    if isinstance(intent, Undo):
        return shlex.join(["opsconsole", "resume", "--back", *(["--reason", intent.reason] if intent.reason else []), intent.run])
    options = [part for name, value in _options(intent) if value for part in (f"--{name}", value)]
    if isinstance(intent, Cap) and intent.watts is None:
        options = ["--restore"]
    if intent.reason:
        options += ["--reason", intent.reason]
    names = list(_arguments(intent))
    if any(name.startswith("-") for name in names):
        names = ["--", *names]
    return shlex.join(["opsconsole", type(intent).__name__.lower(), *options, *names])


def duration_text(seconds: float) -> str:
    """A duration as a command takes it: 90s, 10m, 2h."""
    for size, unit in _UNITS:
        if seconds and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"


def _arguments(intent: Intent) -> tuple[str, ...]:
    if isinstance(intent, (Drain, Undrain, Stop, Cordon, Uncordon)):
        return intent.targets
    if isinstance(intent, (Launch, Rollout)):
        return (intent.model,)
    if isinstance(intent, Cap):
        return (intent.target,)
    return ()


def _options(intent: Intent) -> Iterator[tuple[str, str]]:
    """Names and values; "" for what was not asked for."""
    if isinstance(intent, Launch):
        yield "node", intent.node
        yield "gpu", ",".join(map(str, intent.gpus))
        yield "count", str(intent.count) if intent.count != 1 else ""
    if isinstance(intent, Rebalance):
        yield "model", intent.model
        yield "objective", intent.objective
    if isinstance(intent, Rollout):
        yield "to", intent.to
    if isinstance(intent, (Drain, Rollout)):
        yield "deadline", duration_text(intent.deadline_s)
        yield "on-deadline", intent.on_deadline
    if isinstance(intent, Cap):
        yield "watts", "" if intent.watts is None else repr(intent.watts).removesuffix(".0")
