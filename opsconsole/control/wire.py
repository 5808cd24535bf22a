"""The frames between a collector and its fronts: length-prefixed MessagePack, telemetry as blocks of bytes.

A message is a 4-byte big-endian length and one MessagePack map with the key "k". A front sends hello, subscribe, fleet, plan, act, runs,
watch, tell, anchors, history and alarm; a collector sends welcome, roster, fleet, plan, progress, run, anchors, said, end, series and
error. A roster is sent before the first fleet that refers to it and again only when it has changed, so that a second of 10,000 nodes is a
few large copies, not objects. Workers and processes are MessagePack within MessagePack, so that a front makes them at once as what they
are.
"""

from __future__ import annotations

import operator
import struct
from dataclasses import fields
from typing import Any

import msgspec
import numpy as np

from opsconsole.core.alarm import Alarm, Note
from opsconsole.core.alarm_book import Book, Said
from opsconsole.core.declared import Price
from opsconsole.core.fleet import Cordoned, Fleet, Model, NodeFacts, Policy, Process, Rack, Roster, Site, Worker
from opsconsole.core.run import Run, StepRun
from opsconsole.core.steps import (
    Cap,
    Change,
    Cordon,
    Drain,
    Intent,
    Launch,
    Plan,
    Progress,
    Rebalance,
    Rollout,
    Step,
    Stop,
    Uncordon,
    Undo,
    Undrain,
)

MESSAGE_LIMIT_BYTES = 512 * 1024 * 1024
REQUEST_LIMIT_BYTES = 1024 * 1024
"""What a front may send at once."""
LENGTH = struct.Struct(">I")
SERIES_FIELDS = ("series", "unit", "times", "values")

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()
_workers_decoder = msgspec.msgpack.Decoder(tuple[Worker, ...])
_processes_decoder = msgspec.msgpack.Decoder(dict[int, tuple[Process, ...]])
_book_decoder = msgspec.msgpack.Decoder(Book)
_cordons_decoder = msgspec.msgpack.Decoder(dict[int, Cordoned])

_FLEET_ARRAYS = ("reach", "sampled_mono", "clock_offset_s", "node_values", "gpu_values", "trend")
_FLEET_PLAIN = ("at", "mono", "cause", "gpu_errors", "router_queue", "router_cause", "history_cause", "own_causes")
_ROSTER_ARRAYS = ("gpu_start", "gpu_index", "gpu_facts")
_ROSTER_PLAIN = ("fleet_name", "environment", "gpu_uuid", "gpu_name")


def _row_of(kind: type) -> operator.attrgetter:
    return operator.attrgetter(*(field.name for field in fields(kind)))


_alarm_row = _row_of(Alarm)
_node_row, _site_row, _rack_row, _model_row, _policy_row = (_row_of(kind) for kind in (NodeFacts, Site, Rack, Model, Policy))


def pack(message: dict[str, Any]) -> bytes:
    """One message with its length in front."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body


def unpack(body: bytes) -> dict[str, Any]:
    """A message's body as a dict. Raises ValueError when it is none."""
    try:
        message = _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a message: {error}") from None
    if not isinstance(message, dict) or "k" not in message:
        raise ValueError("not a message: it has no kind")
    return message


def _array_out(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes()


def _array_in(packed: list[Any]) -> np.ndarray:
    dtype, shape, data = packed
    return np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape)


def roster_message(roster: Roster, number: int) -> dict[str, Any]:
    message: dict[str, Any] = {"k": "roster", "number": number}
    message.update((name, getattr(roster, name)) for name in _ROSTER_PLAIN)
    message.update((name, _array_out(getattr(roster, name))) for name in _ROSTER_ARRAYS)
    message["nodes"] = [_node_row(node) for node in roster.nodes]
    message["sites"] = [_site_row(site) for site in roster.sites]
    message["racks"] = [_rack_row(rack) for rack in roster.racks]
    message["models"] = [_model_row(model) for model in roster.models]
    message["policy"] = _policy_row(roster.policy)
    return message


def roster_of(message: dict[str, Any]) -> Roster:
    return Roster(
        **{name: _tupled(message[name]) for name in _ROSTER_PLAIN},
        **{name: _array_in(message[name]) for name in _ROSTER_ARRAYS},
        nodes=tuple(NodeFacts(*row) for row in message["nodes"]),
        sites=tuple(_site_in(row) for row in message["sites"]),
        racks=tuple(Rack(*row) for row in message["racks"]),
        models=tuple(Model(*row) for row in message["models"]),
        policy=Policy(*message["policy"]),
    )


def _site_in(row: list[Any]) -> Site:
    site = dict(zip((field.name for field in fields(Site)), row, strict=True))
    return Site(**{**site, "prices": tuple(Price(*price) for price in site["prices"])})


def fleet_message(fleet: Fleet, number: int) -> dict[str, Any]:
    """number: that of the roster which the fleet belongs to."""
    message: dict[str, Any] = {"k": "fleet", "roster": number}
    message.update((name, getattr(fleet, name)) for name in _FLEET_PLAIN)
    message.update((name, _array_out(getattr(fleet, name))) for name in _FLEET_ARRAYS)
    message["workers"] = _encoder.encode(fleet.workers)
    message["alarm_book"] = _encoder.encode(fleet.alarm_book)
    message["alarms"] = [_alarm_row(alarm) for alarm in fleet.alarms]
    message["processes"] = _encoder.encode(fleet.processes)
    message["cordons"] = _encoder.encode(fleet.cordons)
    message["model_queue_trend"] = {name: _array_out(trend) for name, trend in fleet.model_queue_trend.items()}
    return message


def fleet_of(message: dict[str, Any], roster: Roster) -> Fleet:
    return Fleet(
        roster=roster,
        **{name: _tupled(message[name]) for name in _FLEET_PLAIN},
        **{name: _array_in(message[name]) for name in _FLEET_ARRAYS},
        workers=_workers_decoder.decode(message["workers"]),
        alarms=tuple(_alarm(row) for row in message["alarms"]),
        alarm_book=_book_decoder.decode(message["alarm_book"]),
        processes=_processes_decoder.decode(message["processes"]),
        cordons=_cordons_decoder.decode(message["cordons"]),
        model_queue_trend={name: _array_in(trend) for name, trend in message["model_queue_trend"].items()},
    )


def _alarm(row: list[Any]) -> Alarm:
    *plain, notes = map(_tupled, row)
    return Alarm(*plain, tuple(Note(*note) for note in notes))


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_INTENTS = {kind.__name__.lower(): kind for kind in (Launch, Drain, Undrain, Stop, Cordon, Uncordon, Rebalance, Rollout, Cap, Undo)}


def intent_out(intent: Intent) -> dict[str, Any]:
    kind = next(name for name, intent_type in _INTENTS.items() if isinstance(intent, intent_type))
    return {"kind": kind} | {field.name: getattr(intent, field.name) for field in fields(intent)}


def intent_in(packed: dict[str, Any]) -> Intent:
    """Raises ValueError for what is no intent."""
    try:
        return msgspec.convert({key: value for key, value in packed.items() if key != "kind"}, _INTENTS[packed["kind"]])
    except (KeyError, msgspec.ValidationError) as error:
        raise ValueError(f"not an intent: {error}") from None


def said_out(said: Said) -> dict[str, Any]:
    return {field.name: getattr(said, field.name) for field in fields(Said)}


def said_in(packed: dict[str, Any]) -> Said:
    """Raises ValueError for what nobody can say of an alarm."""
    try:
        return msgspec.convert(packed, Said)
    except msgspec.ValidationError as error:
        raise ValueError(f"not a word about an alarm: {error}") from None


def plan_out(plan: Plan) -> dict[str, Any]:
    return {
        "intent": intent_out(plan.intent), "title": plan.title, "checks": plan.checks, "warnings": plan.warnings,
        "changes": plan.changes, "refusal": plan.refusal, "conflict": plan.conflict, "run": plan.run,
        "steps": [(step.text, step.node, step.worker, step.order, step.after) for step in plan.steps],
    }


def plan_in(packed: dict[str, Any]) -> Plan:
    return Plan(
        intent_in(packed["intent"]), packed["title"], tuple(_step(*step) for step in packed["steps"]), tuple(packed["checks"]),
        tuple(packed["warnings"]), tuple(Change(*change) for change in packed["changes"]), packed["refusal"], packed["conflict"],
        packed["run"],
    )


def _step(text: str, node: str, worker: str, order: dict[str, Any], after: list[int]) -> Step:
    return Step(text, node, worker, order, tuple(after))


def progress_out(progress: Progress) -> dict[str, Any]:
    return {field.name: getattr(progress, field.name) for field in fields(Progress)}


def progress_in(packed: dict[str, Any]) -> Progress:
    return Progress(**packed)


def run_out(run: Run) -> dict[str, Any]:
    """As plain values: for a front, and for the journal."""
    own = {field.name: getattr(run, field.name) for field in fields(Run) if field.name not in ("plan", "steps")}
    steps = [{field.name: getattr(one, field.name) for field in fields(StepRun) if field.name != "step"} for one in run.steps]
    return {**own, "plan": plan_out(run.plan), "steps": steps}


def run_in(packed: dict[str, Any]) -> Run:
    """Raises ValueError for what is no run."""
    try:
        plan = plan_in(packed["plan"])
        steps = tuple(StepRun(step, **one) for step, one in zip(plan.steps, packed["steps"], strict=True))
        return Run(**{**packed, "plan": plan, "steps": steps})
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a run: {error}") from None


def series_out(series: Any) -> dict[str, Any]:
    return {"series": series.series, "unit": series.unit, "times": _array_out(series.times), "values": _array_out(series.values)}


def series_in(packed: dict[str, Any]) -> dict[str, Any]:
    """The fields of history's Series, for whoever builds it."""
    return {"series": packed["series"], "unit": packed["unit"], "times": _array_in(packed["times"]), "values": _array_in(packed["values"])}
