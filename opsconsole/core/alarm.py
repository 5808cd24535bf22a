"""An alarm as a front is told it: what is wrong since when, its likely cause, who has seen it, and until when it is silenced."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import NamedTuple

CRITICAL, WARNING = 2, 1
ID_LENGTH = 5


class Note(NamedTuple):
    """What somebody wrote down for whoever comes next. at: epoch seconds."""

    at: float
    actor: str
    text: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """A fact that deserves a person. severity: 2 critical, 1 warning."""

    severity: int
    kind: str
    """The rule that raised it."""
    subject: str
    """The node, worker, model, site, rack, jump host or fleet it is about."""
    text: str
    detail: str = ""
    since: float = 0.0
    node: str = ""
    """The node to go to, "" when it is about none in particular."""
    id: str = ""
    """The same for the same kind and subject, today and tomorrow: see `id_of`."""
    members: tuple[str, ...] = ()
    """Nodes, or workers, that this one alarm stands for; () when it stands for its subject only."""
    size: int = 1
    """How many GPUs, nodes or workers it is about."""
    cause: str = ""
    """What is likely behind it, "" where nothing near points anywhere."""
    is_over: bool = False
    """What raised it is gone; it is cleared once it has stayed so for the rule's time."""
    acked_by: str = ""
    """Who has taken it, "" while nobody has."""
    acked_at: float | None = None
    silenced_by: str = ""
    """Who wants to hear nothing of it, "" while it is heard."""
    silenced_until: float | None = None
    silence_reason: str = ""
    notes: tuple[Note, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it still waits for a person: neither taken nor silenced."""
        return not self.acked_by and not self.silenced_by

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes it is about."""
        return self.members if self.node in self.members else tuple(filter(None, (self.node,)))


def id_of(kind: str, subject: str) -> str:
    """Five letters and digits that are typed and said easily; 33 million of them, so that two of a few hundred seldom meet."""
    digest = hashlib.blake2s(f"{kind}\0{subject}".encode(), digest_size=5).digest()
    return base64.b32encode(digest).decode().lower()[:ID_LENGTH]
