"""What an operator can do about an alarm: plans that the console can make, the most helpful first, each as a key's intent and a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from opsconsole.core.alarm import Alarm
from opsconsole.core.command import command_of
from opsconsole.core.fleet import Fleet
from opsconsole.core.power import W_PER_KW, allowed_w, pue_of
from opsconsole.core.steps import Cap, Cordon, Drain, Intent, Launch, Rebalance


class Mend(NamedTuple):
    """action: id of the screen's action; intent: what its plan is made of, None: nothing that the console plans."""

    action: str
    intent: Intent | None
    command: str


def mends(fleet: Fleet, alarm: Alarm) -> tuple[Mend, ...]:
    """() where only a person with a screwdriver, or time, can help."""
    return tuple(_MENDS.get(alarm.kind, _nothing)(fleet, alarm))


def _mend(action: str, intent: Intent) -> Mend:
    return Mend(action, intent, f"{command_of(intent)} --plan")


def _why(alarm: Alarm) -> str:
    return " ".join(alarm.text.split())


def _more(fleet: Fleet, alarm: Alarm) -> list[Mend]:
    if alarm.subject not in {model.name for model in fleet.roster.models}:
        return []
    launch = _mend("launch", Launch(alarm.subject, reason=_why(alarm)))
    return [launch] if alarm.kind == "ready" else [launch, _mend("rebalance", Rebalance(alarm.subject, reason=_why(alarm)))]


def _out(fleet: Fleet, alarm: Alarm) -> list[Mend]:
    """Take work off what is broken."""
    nodes = alarm.nodes
    return [_mend("drain", Drain(nodes, reason=_why(alarm))), _mend("cordon", Cordon(nodes, reason=_why(alarm)))] if nodes else []


def _worker_out(fleet: Fleet, alarm: Alarm) -> list[Mend]:
    names = alarm.members or (alarm.subject,)
    models = {worker.model for worker in fleet.workers if worker.name in names}
    mended = [_mend("drain", Drain(names, reason=_why(alarm)))]
    configured = sorted(models & {model.name for model in fleet.roster.models})
    return mended + [_mend("launch", Launch(model, reason=_why(alarm))) for model in configured[:1]]


def _no_more(fleet: Fleet, alarm: Alarm) -> list[Mend]:
    return [_mend("cordon", Cordon(alarm.nodes, reason=_why(alarm)))] if alarm.nodes else []


def _less_power(fleet: Fleet, alarm: Alarm) -> list[Mend]:
    site = next((site for site in fleet.roster.sites if site.name == alarm.subject), None)
    allowed = allowed_w(fleet, site) if site is not None else None
    rebalance = _mend("rebalance", Rebalance("", "power", reason=_why(alarm)))
    if allowed is None:
        return [rebalance]
    watts = float(int(min(allowed, site.power_budget_kw * W_PER_KW) / pue_of(site)))
    return [rebalance, _mend("cap", Cap(site.name, watts, reason=_why(alarm)))]


def _use(fleet: Fleet, alarm: Alarm) -> list[Mend]:
    """Put what is idle to work for the model that waits most."""
    waiting = [(queue, model.name) for model in fleet.roster.models if (queue := fleet.queue_of_model(model.name) or 0.0) > 0]
    return [_mend("launch", Launch(max(waiting)[1], reason=_why(alarm)))] if waiting else []


def _reach(fleet: Fleet, alarm: Alarm) -> list[Mend]:
    return [Mend("", None, f"opsconsole doctor {alarm.node}")] if alarm.node else []


def _audit(fleet: Fleet, alarm: Alarm) -> list[Mend]:
    return [Mend("", None, "opsconsole audit --verify")]


def _config(fleet: Fleet, alarm: Alarm) -> list[Mend]:
    return [Mend("", None, "opsconsole config check")]


def _nothing(fleet: Fleet, alarm: Alarm) -> list[Mend]:
    return []


_MENDS: dict[str, Callable[[Fleet, Alarm], list[Mend]]] = {
    "ttft": _more, "itl": _more, "queue": _more, "saturation": _more, "ready": _more, "stranded": _use,
    "throttle": _out, "temperature": _out, "gpu": _out, "xid": _out, "ecc": _out, "disk": _no_more,
    "worker": _worker_out, "crash-loop": _worker_out, "imbalance": _worker_out, "power": _less_power,
    "reach": _reach, "audit": _audit, "notify": _config, "router": _config,
}
