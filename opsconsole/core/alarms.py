"""What deserves a person: what the rules find now, raised once it has lasted, cleared once it is gone for good, told once for many.

`alarmed` is a fold of its own: the fleet of this second and what is remembered of those before give the alarms and the new memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

from opsconsole.core import node_troubles, service_troubles
from opsconsole.core.alarm import Alarm
from opsconsole.core.alarm_book import aged, marked
from opsconsole.core.alarm_causes import likely_cause
from opsconsole.core.alarm_groups import grouped, without_what_follows
from opsconsole.core.alarm_memory import DAMPING_S, RAISES_KEPT, Demand, Found, Memory, Track
from opsconsole.core.alarm_rules import Rule
from opsconsole.core.burning import WINDOWS_S, burned, burns_now
from opsconsole.core.fleet import Fleet
from opsconsole.core.own_rules import find_own_figures

JUMP_S = 5.0
"""The clock of a collector that watches moves by a second: more, and it slept, was stopped or was set."""
HOLD_S = 10.0
"""So long after waking, links come back and samples arrive that were taken before."""
KNOWN_FOR_S = 120.0
"""An alarm that stood when the last collector ended and is found again so soon keeps its age, and is no news."""
CRASH_WINDOW_S = 600.0
DEMAND_TAU_S = 15.0
SLOPE_TAU_S = 60.0

Finder = Callable[[Fleet, Rule, set[str]], Iterator[Found]]
FINDERS: dict[str, Finder] = {
    "reach": node_troubles.find_reach, "gpu": node_troubles.find_gpus, "xid": node_troubles.find_xids, "ecc": node_troubles.find_ecc,
    "throttle": node_troubles.find_throttled, "temperature": node_troubles.find_hot, "disk": node_troubles.find_full_disks,
    "clock": node_troubles.find_clocks, "worker": service_troubles.find_workers, "crash-loop": service_troubles.find_crash_loops,
    "ready": service_troubles.find_short_models, "ttft": service_troubles.find_latencies, "itl": service_troubles.find_latencies,
    "queue": service_troubles.find_queues, "saturation": service_troubles.find_saturation,
    "imbalance": service_troubles.find_imbalance, "stranded": service_troubles.find_stranded, "power": service_troubles.find_power,
    "router": service_troubles.find_router, "history": service_troubles.find_history, "audit": service_troubles.find_own,
    "notify": service_troubles.find_own,
}
LASTING = ("temperature", "imbalance", "stranded", "saturation", "crash-loop")
"""Rules that need more than one moment to say anything: a single fleet raises none of them."""

_RECKONED = frozenset(name for name, value in vars(Fleet).items() if isinstance(value, cached_property))


def find_alarms(fleet: Fleet) -> tuple[Alarm, ...]:
    """The alarms of a single moment, as if it had lasted: for a fleet of which nothing before is known."""
    memory = Memory(burns={key: (rate,) * len(WINDOWS_S) for key, rate in burns_now(fleet).items()})
    fleet = replace(fleet, alarm_memory=memory)
    tracks = {found.key: Track(found, raised_at=fleet.at) for found in _find(fleet) if found.rule not in LASTING}
    return _told(replace(fleet, alarm_memory=replace(memory, tracks=tracks)))[0]


def alarmed(before: Fleet, fleet: Fleet, jump_s: float = JUMP_S) -> Fleet:
    """The fleet with its alarms; `before` it was so. Nothing but the two decides, so a past can be gone through as the present is.

    jump_s: from how long between the two on the console slept.
    """
    fleet = _with(fleet, alarm_memory=_remembered(before, fleet, jump_s))
    found = {one.key: one for one in _find(fleet)}
    tracks = _followed(fleet, found, fleet.alarm_memory.passed_s - before.alarm_memory.passed_s)
    fleet = _with(fleet, alarm_memory=replace(fleet.alarm_memory, tracks=tracks))
    alarms, groups = _told(fleet)
    shown = {alarm.id for alarm in alarms}
    cleared = [alarm.id for alarm in before.alarms if alarm.id not in shown]
    book = aged(fleet.alarm_book, cleared, fleet.at)
    if book is not fleet.alarm_book:
        alarms = _in_order(marked(_unmarked(alarm), book, fleet.roster) for alarm in alarms)
    return _with(fleet, alarms=alarms, alarm_book=book, alarm_memory=replace(fleet.alarm_memory, groups=groups))


def _with(fleet: Fleet, **changes: Any) -> Fleet:
    """The fleet with other alarms; what was reckoned of its nodes and workers is not reckoned again."""
    changed = replace(fleet, **changes)
    changed.__dict__.update((name, value) for name, value in fleet.__dict__.items() if name in _RECKONED)
    return changed


def _find(fleet: Fleet) -> Iterator[Found]:
    stands: dict[str, set[str]] = {}
    for (rule, subject), track in fleet.alarm_memory.tracks.items():
        if track.raised_at is not None:
            stands.setdefault(rule, set()).add(subject)
    slow: set[str] = set()
    for rule in fleet.roster.alarm_rules:
        if not rule.is_on:
            continue
        standing = stands.get(rule.name, set())
        for found in (FINDERS.get(rule.name) or find_own_figures)(fleet, rule, standing):
            # what workers are too slow for themselves, and what is late already, has its alarm
            if found.subject in slow and (rule.name == "queue" or (rule.name == "saturation" and found.subject not in standing)):
                continue
            if rule.name in ("ttft", "queue"):
                slow.add(found.subject)
            yield found


def _remembered(before: Fleet, fleet: Fleet, jump_s: float) -> Memory:
    """What is known of the seconds before, with this one in it."""
    memory = fleet.alarm_memory
    dt_s, is_first = fleet.mono - before.mono, before.at == 0.0 and before.mono == 0.0
    jumped = not is_first and (dt_s > jump_s or abs(fleet.at - before.at - dt_s) > jump_s)
    step_s = 0.0 if is_first or jumped else max(dt_s, 0.0)
    passed_s = memory.passed_s + step_s
    if jumped:
        return replace(memory, held_until_s=passed_s + HOLD_S)
    if not step_s:
        return memory
    restarts, restarted = _restarts(fleet, passed_s)
    known = memory.known_since
    if known and passed_s >= KNOWN_FOR_S:
        stands = {alarm.id for alarm in before.alarms}
        known = {name: since for name, since in known.items() if name in stands}
    return replace(
        memory, passed_s=passed_s, burns=burned(memory.burns, burns_now(fleet), step_s), demands=_demands(fleet, step_s),
        restarts=restarts, restarted=restarted, known_since=known,
    )


def _demands(fleet: Fleet, dt_s: float) -> dict[str, Demand]:
    """Level and slope of the requests in flight and waiting of each model (Holt's linear smoothing, with time constants)."""
    demands = {}
    part, slope_part = min(1.0, dt_s / DEMAND_TAU_S), min(1.0, dt_s / SLOPE_TAU_S)
    for model in fleet.roster.models:
        running = [worker.running for worker in fleet.heard_workers_of_model.get(model.name, ()) if worker.running is not None]
        before = fleet.alarm_memory.demands.get(model.name)
        if not running:
            continue
        now = sum(running) + (fleet.queue_of_model(model.name) or 0.0)
        if before is None:
            demands[model.name] = Demand(now, 0.0, now)
            continue
        level = before.level + (now - before.level) * part
        slope = before.slope_per_s + ((level - before.level) / dt_s - before.slope_per_s) * slope_part
        demands[model.name] = Demand(level, slope, now, before.seen_s + dt_s)
    return demands


def _restarts(fleet: Fleet, passed_s: float) -> tuple[dict[str, int], dict[str, tuple[float, ...]]]:
    """Starts of each worker by its node, as last told, and when they grew within CRASH_WINDOW_S."""
    memory = fleet.alarm_memory
    lately = {name: tuple(at for at in times if passed_s - at < CRASH_WINDOW_S) for name, times in memory.restarted.items()}
    restarted = {name: times for name, times in lately.items() if times}
    restarts = {}
    for worker in fleet.workers:
        if worker.restarts:
            restarts[worker.name] = worker.restarts
            grown = worker.restarts - memory.restarts.get(worker.name, worker.restarts if memory.passed_s == 0 else 0)
            if grown > 0:
                restarted[worker.name] = (*restarted.get(worker.name, ()), *(passed_s,) * min(grown, 10))[-10:]
    return restarts, restarted


def _followed(fleet: Fleet, found: dict[tuple[str, str], Found], dt_s: float) -> dict[tuple[str, str], Track]:
    """What is wrong and what lately was. While judgement is held nothing is raised, cleared or counted."""
    memory = fleet.alarm_memory
    rules = {rule.name: rule for rule in fleet.roster.alarm_rules if rule.is_on}
    tracks: dict[tuple[str, str], Track] = {}
    for key, track in memory.tracks.items():
        if key[0] not in rules:
            continue
        if key not in found and (memory.is_held or _is_unknown(fleet, track)):
            tracks[key] = track
            continue
        followed = _judged(fleet, track.followed(found.get(key), 0.0 if memory.is_held else dt_s), rules[key[0]])
        if followed is not None:
            tracks[key] = followed
    for key, one in found.items():
        if key not in memory.tracks:
            tracks[key] = _judged(fleet, Track(one), rules[key[0]]) or Track(one)
    return tracks


def _judged(fleet: Fleet, track: Track, rule: Rule) -> Track | None:
    """Raised, cleared or as it was; None once nothing needs to be remembered of it."""
    memory = fleet.alarm_memory
    raises = tuple(at for at in track.raises if memory.passed_s - at < DAMPING_S)[-RAISES_KEPT:] if track.raises else ()
    track = track._replace(raises=raises)
    if track.raised_at is not None:
        is_cleared = not track.is_found and track.over_s >= track.clear_s(rule) and not memory.is_held
        return track._replace(raised_at=None) if is_cleared and raises else None if is_cleared else track
    if not track.is_found:
        return track if raises else None
    if memory.is_held or not (track.found.at_once or track.pending_s >= rule.for_s):
        return track
    return track._replace(raised_at=fleet.at, raises=(*raises, memory.passed_s))


def _is_unknown(fleet: Fleet, track: Track) -> bool:
    """Whether its node cannot be heard, so that nobody can say that it is over."""
    row = fleet.roster.node_row.get(track.found.node)
    return row is not None and track.found.rule != "reach" and not fleet.answering[row]


def _told(fleet: Fleet) -> tuple[tuple[Alarm, ...], frozenset[tuple[str, str]]]:
    """The alarms of what was raised, as a person is told them, and the groups among them."""
    memory = fleet.alarm_memory
    # what is wrong on a node that cannot be heard is kept, not told: one node that is gone is one alarm
    raised = [track for track in memory.tracks.values() if track.raised_at is not None and not _is_unknown(fleet, track)]
    alarms, groups = grouped(fleet, raised, memory.groups)
    alarms = without_what_follows(alarms, raised)
    by_id = {alarm.id: alarm for alarm in alarms}
    flapping = {track.found.key: len(track.raises) for track in raised if len(track.raises) > 1}
    told = []
    for alarm in by_id.values():
        since = min(alarm.since, memory.known_since.get(alarm.id, alarm.since))
        times = flapping.get((alarm.kind, alarm.subject))
        cause = likely_cause(fleet, alarm, alarms) or (f"comes and goes: {times} times in half an hour" if times else "")
        told.append(marked(replace(alarm, since=since, cause=cause), fleet.alarm_book, fleet.roster))
    return _in_order(told), groups


def _unmarked(alarm: Alarm) -> Alarm:
    return replace(alarm, acked_by="", acked_at=None, silenced_by="", silenced_until=None, silence_reason="", notes=())


def _in_order(alarms: Iterable[Alarm]) -> tuple[Alarm, ...]:
    def place(alarm: Alarm) -> tuple[Any, ...]:
        return bool(alarm.silenced_by), bool(alarm.acked_by), -alarm.severity, alarm.since, alarm.subject, alarm.kind

    return tuple(sorted(alarms, key=place))

