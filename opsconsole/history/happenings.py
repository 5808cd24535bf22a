"""What happened between one recorded moment and the next: alarms raised and cleared, nodes lost and found."""

from __future__ import annotations

from collections.abc import Iterable

from opsconsole.core.fleet import CONNECTING, LIVE, REACH_WORDS, Alarm, Fleet
from opsconsole.core.telling import covered

Note = tuple[float, str, int, str, str, str]
"""at, kind, severity, subject, text, actor."""


class Happenings:
    """Knows the alarms that stood and where each node was in the moment before."""

    def __init__(self, standing: Iterable[Alarm] = ()) -> None:
        """standing: those of the last moment that an earlier recorder wrote down: they are no news when they still stand."""
        self._standing = {_key(alarm): alarm for alarm in standing}
        self._reach: dict[str, int] = {}
        self._settled = False

    def follow(self, fleet: Fleet) -> list[Note]:
        """The notes of this moment. While nodes are looked for that have not been heard yet, no alarm is news: most go again."""
        notes = self._nodes(fleet)
        self._settled = self._settled or not (fleet.reach == CONNECTING).any()
        if self._settled:
            notes += self._alarms(fleet)
        return notes

    def _alarms(self, fleet: Fleet) -> list[Note]:
        before = self._standing
        # what one for a whole rack has taken in, or what a node had that is silent now, is neither cleared nor, later, raised by that
        now = {key: before[key] for key in covered(fleet) if key in before} | {_key(alarm): alarm for alarm in fleet.alarms}
        self._standing = now
        if now.keys() == before.keys():
            return []
        raised = [_note(fleet, "alarm", alarm) for key, alarm in now.items() if key not in before]
        return raised + [_note(fleet, "clear", alarm) for key, alarm in before.items() if key not in now]

    def _nodes(self, fleet: Fleet) -> list[Note]:
        reach = dict(zip((node.name for node in fleet.roster.nodes), fleet.reach.tolist(), strict=True))
        before, self._reach = self._reach, reach
        if reach == before:
            return []
        causes = dict(zip(reach, fleet.cause, strict=True))
        return [
            (fleet.at, "event", 0, name, f"{REACH_WORDS[now]}{f': {causes[name]}' if causes[name] else ''}", "")
            for name, now in reach.items() if _is_news(before.get(name, CONNECTING), now)
        ]


def _is_news(before: int, now: int) -> bool:
    """That a node answers the first time is none."""
    return before != now and now != CONNECTING and (before, now) != (CONNECTING, LIVE)


def _key(alarm: Alarm) -> tuple[str, str]:
    return alarm.kind, alarm.subject


def _note(fleet: Fleet, kind: str, alarm: Alarm) -> Note:
    text = f"{alarm.text}: {alarm.detail}" if alarm.detail and kind == "alarm" else alarm.text
    return fleet.at, kind, alarm.severity, alarm.subject, text, ""
