"""What is likely behind an alarm: what was done just before, and what else is wrong near it. A guess, and told as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opsconsole.core.alarm import Alarm
from opsconsole.core.alarm_groups import SHARE, place_sizes
from opsconsole.core.alarm_memory import Act
from opsconsole.core.fleet import Fleet
from opsconsole.core.wording import age_text

ACT_BEFORE_S = 600.0
ACT_AFTER_S = 30.0
NAMED = 3
STARTS = "start "
"""How the step of a launch begins."""
OF_HEAT = ("throttle", "temperature")
OF_MODELS = ("ttft", "itl", "queue", "saturation", "ready", "stranded")
_NODE_TROUBLES = ("reach", "gpu", "xid", "throttle", "disk")


def likely_cause(fleet: Fleet, alarm: Alarm, alarms: Sequence[Alarm]) -> str:
    """One sentence, "" where nothing near points anywhere. alarms: all that stand."""
    parts = [_of_acts(fleet, alarm)]
    if alarm.kind in OF_MODELS:
        parts.append(_of_model(fleet, alarm.subject, alarms))
    elif alarm.kind == "power":
        parts.append(_of_site(fleet, alarm.subject))
    elif alarm.kind == "reach" and alarm.members:
        parts.append(_of_lost_place(fleet, alarm))
    elif alarm.kind in OF_HEAT and not alarm.members:
        parts.append(_of_rack(fleet, alarm, alarms))
    elif alarm.node and alarm.subject != alarm.node and not alarm.members:
        parts.append(_of_node(alarm, alarms))
    return "; ".join(filter(None, parts))


def _of_acts(fleet: Fleet, alarm: Alarm) -> str:
    """What was done to it, or to a worker or node of it, in the minutes before it was raised."""
    if not fleet.alarm_memory.acts:
        return ""
    names = {alarm.subject, *alarm.members, *filter(None, (alarm.node,))}
    names |= {worker.name for worker in fleet.workers_of_model.get(alarm.subject, ())}
    near = [act for act in fleet.alarm_memory.acts if -ACT_AFTER_S < alarm.since - act.at < ACT_BEFORE_S and _is_about(act, names, alarm)]
    if not near:
        return ""
    act = near[-1]
    who = f" by {act.actor}" if act.actor else ""
    more = f", and {len(near) - 1} more" if len(near) > 1 else ""
    return f"{age_text(max(0.0, alarm.since - act.at))} before: {act.text}{who}{more}"


def _is_about(act: Act, names: set[str], alarm: Alarm) -> bool:
    if alarm.kind in OF_MODELS and act.text.startswith(STARTS):
        return False  # more workers are never why a model is short of them
    # a worker that was stopped is no longer there to be named by its model: its name begins with it
    return act.subject in names or (alarm.kind in OF_MODELS and act.subject.startswith(f"{alarm.subject}-"))


def _of_model(fleet: Fleet, model: str, alarms: Sequence[Alarm]) -> str:
    workers = fleet.workers_of_model.get(model, ())
    nodes = {worker.node for worker in workers}
    troubles = [alarm.text.replace("  ", " ") for alarm in alarms if alarm.kind in _NODE_TROUBLES and nodes & set(alarm.nodes)]
    failed = [f"{worker.name} {worker.state}" for worker in fleet.heard_workers_of_model.get(model, ())
              if worker.state in ("FAILED", "NOT_READY")]
    slow = [alarm.subject + " slower than its peers" for alarm in alarms if alarm.kind == "imbalance" and alarm.detail == f"of {model}"]
    found = [*troubles, *failed, *slow]
    if found:
        return _some(found)
    leaving = sum(worker.state in ("DRAINING", "DRAINED") for worker in workers)
    if leaving:
        return f"{leaving} of its {len(workers)} workers take no requests: they drain"
    return "its workers are all well: more is asked of them than they can do" if workers and _is_full(fleet, model) else ""


def _is_full(fleet: Fleet, model: str) -> bool:
    ready = [worker for worker in fleet.heard_workers_of_model.get(model, ()) if worker.state == "READY"]
    slots = sum(worker.slots or 1 for worker in ready)
    return bool(ready) and sum(worker.running or 0 for worker in ready) >= 0.8 * slots


def _of_site(fleet: Fleet, site: str) -> str:
    starting = [worker.name for worker in fleet.heard_workers
                if worker.state in ("PENDING", "STARTING") and fleet.roster.nodes[fleet.roster.node_row[worker.node]].site == site]
    return f"{len(starting)} workers start there: {_some(starting)}" if starting else ""


def _of_lost_place(fleet: Fleet, alarm: Alarm) -> str:
    size = place_sizes(fleet.roster).get(alarm.subject, 0)
    if len(alarm.members) < SHARE * size:
        return ""
    if size == len(fleet.roster.nodes):
        return "all at once: rather this console's own network than the nodes"
    return f"{alarm.subject} as a whole: its network, power or jump host rather than each node"


def _of_rack(fleet: Fleet, alarm: Alarm, alarms: Sequence[Alarm]) -> str:
    row = fleet.roster.node_row.get(alarm.node)
    rack = (fleet.roster.nodes[row].site, fleet.roster.nodes[row].rack) if row is not None else ("", "")
    if not rack[1]:
        return ""
    others = sorted({other.node for other in alarms if other.kind in OF_HEAT and other.node not in ("", alarm.node) and rack == (
        fleet.roster.nodes[fleet.roster.node_row[other.node]].site, fleet.roster.nodes[fleet.roster.node_row[other.node]].rack)})
    return f"{_some(others)} of the same rack too: its air or water" if others else "alone in its rack: its own fans, dust or airflow"


def _of_node(alarm: Alarm, alarms: Sequence[Alarm]) -> str:
    return _some([other.text.replace("  ", " ") for other in alarms
                  if other is not alarm and other.kind in _NODE_TROUBLES and alarm.node in other.nodes])


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
