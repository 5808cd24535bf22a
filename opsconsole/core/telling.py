"""Who is told of which alarms when: news are gathered for some seconds, told as one message, and never more than so many an hour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from opsconsole.core.alarm import CRITICAL, WARNING, Alarm
from opsconsole.core.fleet import Fleet
from opsconsole.core.mends import mends

RAISED, CLEARED = "raised", "cleared"
LINES_MOST = 12
WAITING_MOST = 1000
HOUR_S = 3600.0


class News(NamedTuple):
    """word: RAISED (also: heard again after a silence, or graver than it was) or CLEARED. command: what plans the mend, "" for none."""

    word: str
    alarm: Alarm
    command: str = ""


class Message(NamedTuple):
    """What one notification says. severity: of the worst alarm that was raised, 0 where all are cleared."""

    title: str
    body: str
    severity: int


def news(before: Fleet, fleet: Fleet) -> list[News]:
    """What has changed since `before` that a person may want to be told of, silenced alarms left out."""
    if before.alarms is fleet.alarms:
        return []
    old, new = {alarm.id: alarm for alarm in before.alarms}, {alarm.id for alarm in fleet.alarms}
    was_covered, is_covered = covered(before), covered(fleet)
    found = [
        News(RAISED, alarm, next((mend.command for mend in mends(fleet, alarm)), ""))
        for alarm in fleet.alarms
        if not alarm.silenced_by and _is_new(alarm, old.get(alarm.id)) and (alarm.kind, alarm.subject) not in was_covered
    ]
    gone = [alarm for alarm in before.alarms if alarm.id not in new and (alarm.kind, alarm.subject) not in is_covered]
    return found + [News(CLEARED, alarm) for alarm in gone]


def covered(fleet: Fleet) -> set[tuple[str, str]]:
    """(kind, subject) of what is wrong and not told by itself: one for a whole place has taken it in, or its node cannot be heard.

    It is not cleared by that, nor raised when it is told by itself again.
    """
    shown = {(alarm.kind, alarm.subject) for alarm in fleet.alarms}
    taken_in = {(alarm.kind, member) for alarm in fleet.alarms for member in alarm.members}
    return taken_in | {key for key, track in fleet.alarm_memory.tracks.items() if track.raised_at is not None and key not in shown}


def _is_new(alarm: Alarm, known: Alarm | None) -> bool:
    return known is None or bool(known.silenced_by) or alarm.severity > known.severity


def first_news(before: Fleet, fleet: Fleet) -> list[News]:
    """`news` without what stood already when the collector before this one ended: nobody is paged for a restart."""
    known = fleet.alarm_memory.known_since
    return [one for one in news(before, fleet) if one.word == CLEARED or one.alarm.id not in known]


@dataclass(frozen=True, slots=True)
class Outbox:
    """What waits to be told to one receiver. wait_s: how long news are gathered; per_hour: messages at most."""

    severity: int = WARNING
    wait_s: float = 10.0
    per_hour: int = 20
    waiting: tuple[News, ...] = ()
    since: float = 0.0
    """When the first of what waits came."""
    sent_at: tuple[float, ...] = ()
    told: frozenset[str] = frozenset()
    """Ids of alarms that were told to be raised, and stand."""
    dropped: int = 0
    """News that no room was left for."""

    def taken(self, fresh: Iterable[News], at: float) -> Outbox:
        """With these news. What was raised and cleared again before it was told is forgotten."""
        waiting = {one.alarm.id: one for one in self.waiting}
        for one in fresh:
            before = waiting.pop(one.alarm.id, None)
            is_worth = one.alarm.severity >= self.severity if one.word == RAISED else one.alarm.id in self.told
            if is_worth and not (one.word == CLEARED and before is not None and before.word == RAISED and one.alarm.id not in self.told):
                waiting[one.alarm.id] = one
        kept = tuple(waiting.values())[-WAITING_MOST:]
        since = at if kept and not self.waiting else self.since
        return replace(self, waiting=kept, since=since, dropped=self.dropped + len(waiting) - len(kept))

    def due(self, fleet_name: str, at: float) -> tuple[Outbox, Message | None]:
        """The message that is to be sent now, if any, and the outbox without it."""
        lately = tuple(sent for sent in self.sent_at if at - sent < HOUR_S)
        if not self.waiting or at - self.since < self.wait_s or len(lately) >= self.per_hour:
            return (self if len(lately) == len(self.sent_at) else replace(self, sent_at=lately)), None
        raised = frozenset(one.alarm.id for one in self.waiting if one.word == RAISED)
        told = (self.told | raised) - {one.alarm.id for one in self.waiting if one.word == CLEARED}
        is_last = len(lately) + 1 == self.per_hour
        message = _message(fleet_name, self.waiting, self.dropped, f"this is message {self.per_hour} of {self.per_hour} this hour: "
                           "what follows is gathered until the hour is over" if is_last else "")
        return replace(self, waiting=(), since=0.0, sent_at=(*lately, at), told=told, dropped=0), message


def _message(fleet_name: str, waiting: Sequence[News], dropped: int, note: str) -> Message:
    raised = sorted((one for one in waiting if one.word == RAISED), key=lambda one: -one.alarm.severity)
    cleared = [one for one in waiting if one.word == CLEARED]
    critical = sum(one.alarm.severity == CRITICAL for one in raised)
    counts = ((critical, "CRITICAL"), (len(raised) - critical, "WARNING"), (len(cleared), "cleared"))
    title = f"{fleet_name or 'fleet'}: " + ", ".join(f"{count} {word}" for count, word in counts if count)
    lines = [line for one in (*raised, *cleared)[:LINES_MOST] for line in _lines(one)]
    hidden = len(raised) + len(cleared) - LINES_MOST + dropped
    lines += [f"and {hidden} more: opsconsole alarms"] if hidden > 0 else []
    return Message(title, "\n".join([*lines, *filter(None, (note,))]), raised[0].alarm.severity if raised else 0)


def _lines(one: News) -> list[str]:
    alarm = one.alarm
    if one.word == CLEARED:
        return [f"cleared [{alarm.id}] {alarm.text}"]
    word = "CRITICAL" if alarm.severity == CRITICAL else "WARNING"
    lines = [f"{word} [{alarm.id}] {alarm.text}" + (f" ({alarm.detail})" if alarm.detail else "")]
    lines += [f"  likely: {alarm.cause}"] if alarm.cause else []
    return lines + ([f"  mend: {one.command}"] if one.command else [])
