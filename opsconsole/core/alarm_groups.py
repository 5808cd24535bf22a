"""One alarm where one thing is wrong: what strikes a whole rack, jump host, site, model or fleet is told once, with its members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from opsconsole.core.alarm import Alarm, id_of
from opsconsole.core.alarm_memory import Found, Track
from opsconsole.core.fleet import Fleet, Roster

LEAST = 3
"""Fewer are told one by one: two nodes of a rack may be chance."""
SHARE = 0.8
"""Of the nodes of a place: fewer are not the place's fault."""
SHARE_OF_WHOLE = 0.95
MANY = 10
"""So many with the same trouble are one alarm wherever they are: nobody reads forty lines at night."""
STAYS = 2
"""A group that stands is told as one until fewer are left, so that a place that comes back node by node raises nothing anew."""
WHOLE, ANYWHERE = "the fleet", "all models"


def grouped(fleet: Fleet, raised: Sequence[Track], before: frozenset[tuple[str, str]]) -> tuple[list[Alarm], frozenset[tuple[str, str]]]:
    """The alarms of what was raised, and the groups among them. before: those that stood."""
    alarms: list[Alarm] = []
    groups: set[tuple[str, str]] = set()
    by_rule: dict[str, list[Track]] = {}
    for track in raised:
        by_rule.setdefault(track.found.rule, []).append(track)
    for rule, tracks in by_rule.items():
        for place, members in _places(fleet.roster, rule, tracks, before):
            groups.add((rule, place))
            alarms.append(_of_group(rule, place, members, fleet.roster))
            taken = {member.found.subject for member in members}
            tracks = [track for track in tracks if track.found.subject not in taken]
        alarms += [_of_one(track) for track in tracks]
    return alarms, frozenset(groups)


def _places(
    roster: Roster, rule: str, tracks: list[Track], before: frozenset[tuple[str, str]]
) -> Iterator[tuple[str, list[Track]]]:
    """Places whose members are told together, the largest first; no member is in two."""
    if len(tracks) < STAYS:
        return
    sizes = place_sizes(roster)
    by_place: dict[str, dict[str, Track]] = {}
    for track in tracks:
        for place in _places_of(roster, track.found):
            by_place.setdefault(place, {})[track.found.subject] = track
    taken: set[str] = set()
    def first_asked(place: str) -> tuple[bool, int, str]:
        """Those that are struck as a whole or stand already, the widest first; then what says less than the places in it."""
        plain = (rule, place) in before or _is_struck(place, len(by_place[place]), sizes)
        return not plain, -sizes.get(place, 0), place

    for place in sorted(by_place, key=first_asked):
        members = [track for subject, track in by_place[place].items() if subject not in taken]
        stays = (rule, place) in before and len(members) >= STAYS
        is_many = place in (WHOLE, ANYWHERE) and len(members) >= MANY
        if stays or is_many or _is_struck(place, len(members), sizes):
            taken |= {track.found.subject for track in members}
            yield place, members


def _is_struck(place: str, count: int, sizes: dict[str, int]) -> bool:
    share = SHARE_OF_WHOLE if place == WHOLE else SHARE
    return place != ANYWHERE and count >= max(LEAST, share * sizes.get(place, count))


def _places_of(roster: Roster, found: Found) -> tuple[str, ...]:
    row = roster.node_row.get(found.node)
    if found.groups:
        return (*found.groups, ANYWHERE)
    if row is None:
        return ()
    return node_places(roster)[row]


@lru_cache(maxsize=4)
def node_places(roster: Roster) -> tuple[tuple[str, ...], ...]:
    """What each node belongs to: rack, jump host, site, and the fleet."""
    found = []
    for node in roster.nodes:
        rack = f"rack {node.rack}" + (f" at {node.site}" if node.site else "") if node.rack else ""
        parts = (rack, f"jump host {node.jump}" if node.jump else "", f"site {node.site}" if node.site else "", WHOLE)
        found.append(tuple(filter(None, parts)))
    return tuple(found)


@lru_cache(maxsize=4)
def place_sizes(roster: Roster) -> dict[str, int]:
    """Nodes of each place."""
    return Counter(place for places in node_places(roster) for place in places)


def _of_one(track: Track) -> Alarm:
    found = track.found
    return Alarm(
        found.severity, found.rule, found.subject, found.text, found.detail, track.raised_at or 0.0, found.node,
        id_of(found.rule, found.subject), size=found.size, is_over=not track.is_found,
    )


def _of_group(rule: str, place: str, members: list[Track], roster: Roster) -> Alarm:
    names = tuple(track.found.subject for track in members)
    are_nodes = members[0].found.subject == members[0].found.node
    briefs = Counter(track.found.brief for track in members)
    word = briefs.most_common(1)[0][0] if len(briefs) == 1 else ", ".join(f"{count} {brief}" for brief, count in briefs.most_common(3))
    total = place_sizes(roster).get(place) if are_nodes else None
    counted = f"{len(names)} of {total} nodes" if total else f"{len(names)} {'nodes' if are_nodes else 'workers'}"
    details = Counter(filter(None, (track.found.detail for track in members)))
    return Alarm(
        max(track.found.severity for track in members), rule, place, f"{place}  {counted} {word}",
        details.most_common(1)[0][0] if details else "", min(track.raised_at or 0.0 for track in members), members[0].found.node,
        id_of(rule, place), names, len(names), is_over=not any(track.is_found for track in members),
    )


def without_what_follows(alarms: list[Alarm], raised: Sequence[Track]) -> list[Alarm]:
    """Models that lack only workers on nodes which one alarm already tells to be lost are told there: they may well serve."""
    lost = next((alarm for alarm in alarms if alarm.kind == "reach" and alarm.members), None)
    if lost is None:
        return alarms
    groups = [set(alarm.members) for alarm in alarms if alarm.kind == "reach" and alarm.members]
    follows = {track.found.subject: set(track.found.because) for track in raised if track.found.rule == "ready" and track.found.because}
    gone = {model for model, because in follows.items() if any(because <= members for members in groups)}
    kept = [alarm for alarm in alarms if not (alarm.kind == "ready" and alarm.subject in gone)]
    if not gone:
        return kept
    words = f"not heard of {', '.join(sorted(gone)[:4])}" + (f" and {len(gone) - 4} more models" if len(gone) > 4 else "")
    return [replace(alarm, detail="; ".join(filter(None, (alarm.detail, words)))) if alarm is lost else alarm for alarm in kept]
