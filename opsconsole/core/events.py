"""What can happen to a fleet: the events that links and the clock put into the inbox and `fold` turns into the next Fleet."""

from __future__ import annotations

from dataclasses import dataclass

from opsconsole.core.alarm_book import Book, Said
from opsconsole.core.ingest import Answer, Facts, Sample


@dataclass(frozen=True, slots=True)
class Linked:
    """A node's agent has started and told its facts (again, when they changed)."""

    node: str
    mono: float
    facts: Facts


@dataclass(frozen=True, slots=True)
class Sampled:
    """A node's sample arrived. at: wall, mono: monotonic clock of the console when it came."""

    node: str
    at: float
    mono: float
    sample: Sample


@dataclass(frozen=True, slots=True)
class Answered:
    """A node answered an order."""

    node: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Lost:
    """A node cannot be heard. reach: a constant of core.fleet; cause: one sentence, with the mend where there is one."""

    node: str
    mono: float
    reach: int
    cause: str


@dataclass(frozen=True, slots=True)
class Troubled:
    """Something about a node that a person should read, while it goes on. cause "" takes it back."""

    node: str
    cause: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """The clock moved: ages, alarms and trends are due."""

    at: float
    mono: float


@dataclass(frozen=True, slots=True)
class Routed:
    """The router told how many requests of each model wait there; cause: why it could not be asked, "" when it was."""

    queue: dict[str, float]
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """How the history fares. cause: why it pauses, "" while it records."""

    cause: str


@dataclass(frozen=True, slots=True)
class Hampered:
    """What the console itself cannot do. rule: "audit" or "notify"; cause: why, "" when it can again."""

    rule: str
    cause: str


@dataclass(frozen=True, slots=True)
class Acted:
    """Something was done to a node or worker: alarms soon after may come from it. at: epoch seconds."""

    at: float
    subject: str
    text: str
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Booked:
    """Somebody has said something about an alarm, and it was checked."""

    said: Said


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the collector before this one knew of alarms. since: of those that stood, by id, epoch seconds."""

    book: Book
    since: dict[str, float]


Event = Linked | Sampled | Answered | Lost | Troubled | Ticked | Routed | Recorded | Hampered | Acted | Booked | Remembered
