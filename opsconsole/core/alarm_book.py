"""What people say about alarms: who has taken one, what is silenced until when and why, and notes for whoever comes next.

What is said is checked against the fleet (`check`), then written (`written`); both are pure, the collector keeps the book on disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from opsconsole.core.alarm import Alarm, Note
from opsconsole.core.text import clean

if TYPE_CHECKING:
    from opsconsole.core.fleet import Roster

NOTES_KEPT = 200
NOTES_OF_ONE = 20
NOTE_KEPT_S = 7 * 86400.0
ACK_KEPT_S = 7 * 86400.0
SILENCES_MOST = 200
SILENCE_MOST_S = 30 * 86400.0
TEXT_LIMIT = 300
SHIFT = "shift"
"""What a note is about that concerns no single alarm."""


class Ack(NamedTuple):
    """Somebody has taken an alarm. It lapses when the alarm becomes graver, or twice as large, for that nobody has seen yet."""

    at: float
    actor: str
    severity: int
    size: int

    def holds(self, alarm: Alarm) -> bool:
        return alarm.severity <= self.severity and alarm.size < 2 * max(self.size, 1)


class Silence(NamedTuple):
    """Alarms that match `what` are not heard until then. what: an id, a kind, or the name of a subject, node, rack, jump host or site."""

    what: str
    until: float
    reason: str
    actor: str
    at: float


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that somebody says. word: ack, unack, silence, unsilence or note; what: an alarm's id, or what is silenced."""

    word: str
    what: str
    actor: str
    at: float
    text: str = ""
    """The reason of a silence, the words of a note, or of one that comes with an ack."""
    until: float | None = None
    severity: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Book:
    acks: dict[str, Ack] = field(default_factory=dict)
    """By alarm id."""
    silences: tuple[Silence, ...] = ()
    notes: tuple[tuple[str, Note], ...] = ()
    """(alarm id or SHIFT, note), oldest first."""

    def notes_of(self, what: str) -> tuple[Note, ...]:
        return tuple(note for about, note in self.notes if about == what)


class BookError(ValueError):
    """Something that cannot be said now; the text is one sentence."""


def find_one(alarms: Iterable[Alarm], name: str) -> Alarm:
    """The alarm with this id, the beginning of one, or "kind:subject". Raises BookError."""
    alarms = list(alarms)
    found = [alarm for alarm in alarms if name in (alarm.id, f"{alarm.kind}:{alarm.subject}")]
    found = found or [alarm for alarm in alarms if len(name) > 1 and alarm.id.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise BookError(f"{clean(name, 60)!r} may be one of {len(found)} alarms: {', '.join(alarm.id for alarm in found[:5])}")
    raise BookError(f"no alarm {clean(name, 60)!r} stands now; `opsconsole alarms` lists those that do")


def check(said: Said, alarms: Iterable[Alarm], roster: Roster, book: Book) -> Said:
    """It with all that is to be remembered of it. Raises BookError for one that makes no sense now."""
    text = clean(said.text.strip(), TEXT_LIMIT)
    if said.word in ("ack", "unack"):
        alarm = find_one(alarms, said.what)
        if said.word == "unack" and alarm.id not in book.acks:
            raise BookError(f"nobody has taken {alarm.id} ({alarm.text})")
        return replace(said, what=alarm.id, text=text, severity=alarm.severity, size=alarm.size)
    if said.word == "note":
        if not text:
            raise BookError("a note needs words")
        return replace(said, what=SHIFT if said.what == SHIFT else find_one(alarms, said.what).id, text=text)
    if said.word == "silence":
        return _silence(replace(said, text=text), alarms, roster, book)
    if said.word == "unsilence":
        if not any(silence.what == said.what for silence in book.silences):
            known = ", ".join(sorted({silence.what for silence in book.silences})) or "nothing"
            raise BookError(f"{clean(said.what, 60)!r} is not silenced; silenced is {known}")
        return replace(said, text=text)
    raise BookError(f"an alarm cannot be told {clean(said.word, 30)!r}")


def _silence(said: Said, alarms: Iterable[Alarm], roster: Roster, book: Book) -> Said:
    if said.until is None or not said.at < said.until <= said.at + SILENCE_MOST_S:
        raise BookError(f"a silence ends: give it a time above 0 and up to {SILENCE_MOST_S / 86400:.0f} days")
    if not said.text:
        raise BookError("a silence needs a reason: whoever comes next asks why nothing is heard")
    if len(book.silences) >= SILENCES_MOST:
        raise BookError(f"{SILENCES_MOST} silences stand already; end some first")
    alarms = list(alarms)
    if said.what not in _names(alarms, roster):
        kinds = "rule, alarm, node, rack, jump host, site, model or worker"
        raise BookError(f"{clean(said.what, 60)!r} is no {kinds}; `opsconsole alarms` lists what stands")
    return said


def _names(alarms: Iterable[Alarm], roster: Roster) -> set[str]:
    names = {rule.name for rule in roster.alarm_rules} | {site.name for site in roster.sites} | {model.name for model in roster.models}
    names |= {name for node in roster.nodes for name in (node.name, node.rack, node.site, node.jump) if name}
    return names | {name for alarm in alarms for name in (alarm.id, alarm.subject, *alarm.members)}


def written(book: Book, said: Said) -> Book:
    """The book with it, once it is checked."""
    if said.word == "ack":
        taken = replace(book, acks={**book.acks, said.what: Ack(said.at, said.actor, said.severity, said.size)})
        return written(taken, replace(said, word="note")) if said.text else taken
    if said.word == "unack":
        return replace(book, acks={name: ack for name, ack in book.acks.items() if name != said.what})
    if said.word == "note":
        note = said.what, Note(said.at, said.actor, said.text)
        is_full = len(book.notes_of(said.what)) >= NOTES_OF_ONE
        kept = _without_oldest(book.notes, said.what) if is_full else book.notes
        return replace(book, notes=(*kept, note)[-NOTES_KEPT:])
    others = tuple(silence for silence in book.silences if silence.what != said.what)
    if said.word == "unsilence":
        return replace(book, silences=others)
    return replace(book, silences=(*others, Silence(said.what, said.until or said.at, said.text, said.actor, said.at)))


def _without_oldest(notes: tuple[tuple[str, Note], ...], what: str) -> tuple[tuple[str, Note], ...]:
    oldest = next(place for place, (about, _) in enumerate(notes) if about == what)
    return (*notes[:oldest], *notes[oldest + 1:])


def aged(book: Book, cleared: Iterable[str], at: float) -> Book:
    """The book without what is over: silences that have ended, what was said of alarms that were just cleared, old notes."""
    gone = set(cleared)
    acks = {name: ack for name, ack in book.acks.items() if name not in gone and at - ack.at < ACK_KEPT_S}
    silences = tuple(silence for silence in book.silences if silence.until > at)
    notes = tuple((about, note) for about, note in book.notes if at - note.at < NOTE_KEPT_S)
    same = len(acks) == len(book.acks) and len(silences) == len(book.silences) and len(notes) == len(book.notes)
    return book if same else Book(acks, silences, notes)


def marked(alarm: Alarm, book: Book, roster: Roster) -> Alarm:
    """The alarm with what people said of it."""
    ack = book.acks.get(alarm.id)
    silence = next((silence for silence in book.silences if _is_about(silence.what, alarm, roster)), None) if book.silences else None
    notes = book.notes_of(alarm.id) if book.notes else ()
    if ack is None and silence is None and not notes:
        return alarm
    if ack is not None and ack.holds(alarm):
        alarm = replace(alarm, acked_by=ack.actor or "somebody", acked_at=ack.at)
    if silence is not None:
        alarm = replace(
            alarm, silenced_by=silence.actor or "somebody", silenced_until=silence.until, silence_reason=silence.reason,
        )
    return replace(alarm, notes=notes)


def _is_about(what: str, alarm: Alarm, roster: Roster) -> bool:
    """Whether a silence of `what` hides this alarm: of one that stands for several, only when it is about all of them."""
    if what in (alarm.id, alarm.kind, alarm.subject):
        return True
    members = alarm.members or tuple(filter(None, (alarm.node,)))
    return bool(members) and all(what in _places(name, roster) for name in members)


def _places(name: str, roster: Roster) -> tuple[str, ...]:
    row = roster.node_row.get(name)
    if row is None:
        return (name,)
    node = roster.nodes[row]
    return node.name, node.rack, node.site, node.jump
