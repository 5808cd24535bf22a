"""What can be chosen while a plan is looked at: the fields of an intent, and the intent that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from opsconsole.core.fleet import Fleet
from opsconsole.core.steps import Cap, Cordon, Drain, Intent, Launch, Rebalance, Rollout, Uncordon
from opsconsole.core.text import clean
from opsconsole.core.wording import age_text
from opsconsole.tui.editor import Editor

DEADLINES_S = (60.0, 300.0, 600.0, 1800.0, 7200.0)
COUNT_MOST = 1000
AT_DEADLINE = (
    ("hold", "hold: nothing is stopped"),
    ("extend", "extend while fewer are in flight, then hold"),
    ("migrate", "migrate: other workers go on with them"),
    ("abort", "abort: stop anyway, count what is lost"),
)
OBJECTIVES = (("queue", "queue: less waits"), ("power", "power: fit under the caps"), ("cost", "cost: the same for less"))


@dataclass
class Choice:
    """One of a few values. field: that of the intent."""

    name: str
    field: str
    options: tuple[tuple[Any, str], ...]
    """Values, and how each is said."""
    place: int = 0

    @property
    def value(self) -> Any:
        return self.options[self.place][0]

    @property
    def said(self) -> str:
        return self.options[self.place][1]

    def turn(self, by: int) -> None:
        self.place = (self.place + by) % len(self.options)


@dataclass
class Typed:
    """A value that is typed. read: makes it of the text, or raises ValueError with what is wrong in words."""

    name: str
    field: str
    editor: Editor
    hint: str
    """Said in its place while nothing is typed."""
    read: Callable[[str], Any] = str

    @property
    def value(self) -> Any:
        return self.read(self.editor.text.strip())


Field = Choice | Typed


class Form:
    """An intent in the making."""

    def __init__(self, intent: Intent, fleet: Fleet) -> None:
        self.first = intent
        self.fields: tuple[Field, ...] = (*_fields(intent, fleet), Typed("REASON", "reason", Editor(intent.reason), _WHY, _words))

    def intent(self) -> Intent:
        """Raises ValueError with what is missing or wrong."""
        return replace(self.first, **{field.field: field.value for field in self.fields})

    @property
    def begins_at(self) -> int | None:
        """Place of the field that is asked for first; None when the intent needs nothing more."""
        wanted = {Rollout: "to", Cap: "watts", Cordon: "reason", Uncordon: "reason"}.get(type(self.first))
        return next((place for place, field in enumerate(self.fields) if field.field == wanted), None)


_WHY = "why, for those who read it later"


def _fields(intent: Intent, fleet: Fleet) -> tuple[Field, ...]:
    if isinstance(intent, Launch):
        return (
            Typed("COUNT", "count", Editor(str(intent.count)), "1", _count),
            Typed("NODE", "node", Editor(intent.node), "where it fits best", _words),
            Typed("GPUS", "gpus", Editor(",".join(map(str, intent.gpus))), "any that are free", _gpus),
        )
    if isinstance(intent, Drain):
        return _deadlines(intent)
    if isinstance(intent, Rollout):
        return (Typed("TO", "to", Editor(intent.to), "the checkpoint that the new workers serve", _checkpoint), *_deadlines(intent))
    if isinstance(intent, Rebalance):
        models = (("", "all"), *((model.name, clean(model.name)) for model in fleet.roster.models))
        return (_choice("FOR", "objective", OBJECTIVES, intent.objective), _choice("MODEL", "model", models, intent.model))
    return _caps(intent, fleet) if isinstance(intent, Cap) else ()


def _deadlines(intent: Drain | Rollout) -> tuple[Field, ...]:
    times = sorted({*DEADLINES_S, intent.deadline_s})
    return (
        _choice("DEADLINE", "deadline_s", tuple((seconds, age_text(seconds)) for seconds in times), intent.deadline_s),
        _choice("THEN", "on_deadline", AT_DEADLINE, intent.on_deadline),
    )


def _caps(intent: Cap, fleet: Fleet) -> tuple[Field, ...]:
    row = fleet.roster.node_row.get(intent.target)
    site = fleet.roster.nodes[row].site if row is not None else ""
    targets = ((intent.target, f"each GPU of {clean(intent.target)}"), *(((site, f"all GPUs of {clean(site)} together"),) if site else ()))
    watts = Editor("" if intent.watts is None else f"{intent.watts:g}")
    return _choice("CAP", "target", targets, intent.target), Typed("WATTS", "watts", watts, "nothing: as before the first cap", _watts)


def _choice(name: str, field: str, options: tuple[tuple[Any, str], ...], value: Any) -> Choice:
    return Choice(name, field, options, next((place for place, (known, _) in enumerate(options) if known == value), 0))


def _words(text: str) -> str:
    return clean(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= COUNT_MOST:
        raise ValueError(f"{text or 'nothing'!r} is no count: type a number from 1 to {COUNT_MOST}")
    return int(text)


def _gpus(text: str) -> tuple[int, ...]:
    parts = text.replace(" ", "").split(",") if text else []
    if not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise ValueError(f"{text!r} are no GPU numbers: type 0 or 0,1")
    return tuple(int(part) for part in parts)


def _checkpoint(text: str) -> str:
    if not text:
        raise ValueError("type the checkpoint that the new workers shall serve")
    return clean(text, 400)


def _watts(text: str) -> float | None:
    if not text:
        return None
    try:
        watts = float(text)
    except ValueError:
        watts = 0.0
    if not 0 < watts < float("inf"):
        raise ValueError(f"{text!r} are no watts: type a number above 0, or nothing to take the cap off")
    return watts
