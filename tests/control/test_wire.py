"""What goes between a collector and its fronts comes out as it went in."""

import json
from dataclasses import fields

import msgspec
import numpy as np
import pytest

from opsconsole.control import wire
from opsconsole.control.session import Series
from opsconsole.core.alarm_book import Said
from opsconsole.core.events import Booked, Hampered, Lost, Recorded, Routed
from opsconsole.core.fleet import UNREACHABLE, Fleet, Rack, Roster
from opsconsole.core.fold import fold
from opsconsole.core.plan import make_plan
from opsconsole.core.run import Run, StepRun
from opsconsole.core.steps import Drain, Launch, Plan, Progress, Step, Undrain
from tests.telemetry import fleet_of, sampled, tick, worker_fields


def through(message):
    body = wire.pack(message)
    assert wire.LENGTH.unpack(body[: wire.LENGTH.size])[0] == len(body) - wire.LENGTH.size
    return wire.unpack(body[wire.LENGTH.size:])


def assert_same(left, right):
    if isinstance(left, np.ndarray):
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, (Fleet, Roster)):
        for field in fields(left):
            if field.name in ("alarm_memory", "alarm_rules"):
                continue  # fronts are told alarms, not what they were made of
            assert_same(getattr(left, field.name), getattr(right, field.name))
    else:
        assert left == right


def troubled_fleet():
    workers = [worker_fields("w1", gpus=[0, 1]), worker_fields("w2", state="FAILED", reason="no")]
    fleet = fleet_of({"n1": workers}, racks=(Rack("r01", "ams1", 9.5),))
    line = sampled("n3", procs=[[1, 77, "python", 512.5], [2, 78, "x", None]], gpu_errors={"3": "LOST: GPU is lost"})
    lost = Lost("n2", 103.0, UNREACHABLE, "no answer")
    fleet = fold(fleet, [lost, line, Routed({"demo": 4.0}), Recorded("disk full"), Hampered("audit", "disk full"), tick(103.0)])
    taken = [Booked(Said("ack", fleet.alarms[0].id, "anna", 1003.0, severity=2, size=1)),
             Booked(Said("note", fleet.alarms[0].id, "anna", 1003.0, "a fan is ordered")),
             Booked(Said("silence", "history", "bert", 1003.0, "the disk is being changed", until=2000.0))]
    return fold(fleet, [*taken, tick(104.0)])


def test_a_fleet_with_everything_in_it():
    fleet = troubled_fleet()
    roster = wire.roster_of(through(wire.roster_message(fleet.roster, 3)))
    assert_same(wire.fleet_of(through(wire.fleet_message(fleet, 3)), roster), fleet)


def test_an_empty_fleet():
    fleet = Fleet()
    assert_same(wire.fleet_of(through(wire.fleet_message(fleet, 1)), wire.roster_of(through(wire.roster_message(fleet.roster, 1)))), fleet)


@pytest.mark.parametrize("intent", [
    Launch("demo", "n1", (0, 3), 2, "night", "ana"), Launch("demo"),
    Drain(("w1", "n2"), 30.0, "abort"), Drain(("w1",), reason="fan", actor="bo"), Undrain(("w1",), "calm", "bo"),
])
def test_plans_and_their_intents(intent):
    plan = make_plan(troubled_fleet(), intent)
    assert wire.plan_in(through({"k": "plan", "plan": wire.plan_out(plan)})["plan"]) == plan


def test_progress_and_series():
    progress = Progress(1, "w1", "n1", True, False, "3 in flight", {"in_flight": 3})
    assert wire.progress_in(through({"k": "p", "p": wire.progress_out(progress)})["p"]) == progress
    series = Series("gpu.power_w", "W", np.arange(3.0), np.array([1.0, np.nan, 3.0]))
    assert_same(Series(**wire.series_in(through({"k": "s", "s": wire.series_out(series)})["s"]))._asdict(), series._asdict())


@pytest.mark.parametrize("packed", [
    {}, {"kind": "reboot"}, {"kind": "drain", "targets": 7}, {"kind": "launch"}, {"kind": "launch", "model": "m", "count": "x"},
])
def test_what_is_no_intent_is_refused(packed):
    with pytest.raises(ValueError):
        wire.intent_in(packed)


@pytest.mark.parametrize("body", [b"", b"\xc1", msgspec.msgpack.encode([1]), msgspec.msgpack.encode({"a": 1})])
def test_what_is_no_message_is_refused(body):
    with pytest.raises(ValueError):
        wire.unpack(body)


def test_a_run_survives_the_wire_and_json():
    steps = (Step("drain w1", "n1", "w1", {"op": "drain"}), Step("stop it", "n1", "w1", {"op": "stop"}, (0,)))
    plan = Plan(Drain(("w1",)), "drain w1", steps)
    steps = (StepRun(plan.steps[0], "a", "SENT", "3 in flight", {"in_flight": 3}, 5.0), StepRun(plan.steps[1], "b"))
    run = Run("r1", plan, 4.0, steps)
    assert wire.run_in(json.loads(json.dumps(wire.run_out(run)))) == run
    with pytest.raises(ValueError, match="not a run"):
        wire.run_in({"id": "r1"})
