"""A confirmed plan carried out: orders go out once, answers become progress, silence is unsure and never a success."""

import asyncio
import random
import time

import pytest

from opsconsole.control import perform
from opsconsole.control.perform import Performer
from opsconsole.core.events import Answered
from opsconsole.core.fleet import Model
from opsconsole.core.ingest import Answer
from opsconsole.core.plan import make_plan
from opsconsole.core.steps import Drain, Launch
from opsconsole.history.audit import AuditError
from tests.telemetry import fleet_of, worker_fields


class Rows:
    """An audit in memory, which fails at the kinds of row named in `fails`."""

    def __init__(self):
        self.rows, self.fails = [], ()

    def append(self, at, kind, run, actor, body):
        time.sleep(random.choice((0, 0.002)))  # as disks are
        if kind in self.fails:
            raise AuditError("the audit cannot be written: disk full")
        self.rows.append((kind, run, actor, body))


class Node:
    """Keeps the orders that a performer sends."""

    def __init__(self):
        self.orders, self.notes, self.connected = [], [], True
        self.audit = Rows()
        self.performer = Performer(self.send, lambda *note: self.notes.append(note), self.audit)

    def send(self, node, order):
        if self.connected:
            self.orders.append((node, order))
        return self.connected

    def answer(self, order, ok, done, text, **detail):
        self.performer.answered(Answered("n1", Answer(order["id"], ok, done, text, detail)))


FLEET = fleet_of({"n1": [worker_fields("demo-1"), worker_fields("demo-2", gpus=[1])]}, models=())
DRAIN = make_plan(FLEET, Drain(("demo-1",), actor="ana", reason="fan"))


async def collected(progress):
    return [one async for one in progress]


async def started(node, plan):
    task = asyncio.create_task(collected(node.performer.perform(plan)))
    while len(node.orders) < len(plan.steps):
        await asyncio.sleep(0.001)
    return task


async def test_answers_become_progress_until_done():
    node = Node()
    task = await started(node, DRAIN)
    name, order = node.orders[0]
    assert (name, order["op"], order["worker"]) == ("n1", "drain", "demo-1")
    assert node.performer.withheld == {"demo-1"} and list(node.performer.under_way.values()) == list(DRAIN.steps)
    node.answer(order, True, False, "3 in flight")
    node.answer(order, True, True, "stopped", in_flight_at_start=3)
    assert [(one.text, one.done) for one in await task] == [("3 in flight", False), ("stopped", True)]
    assert not node.performer.under_way and node.notes == [
        ("action", "demo-1", "drain demo-1 on n1, then stop it: fan", "ana"), ("receipt", "demo-1", "stopped", "ana")]


async def test_steps_run_side_by_side():
    node = Node()
    task = await started(node, make_plan(FLEET, Drain(("n1",))))
    for _, order in reversed(node.orders):
        node.answer(order, True, True, order["worker"])
    assert [one.text for one in await task] == ["demo-2", "demo-1"]
    receipts = [body["worker"] for kind, _, _, body in node.audit.rows if kind == "receipt"]
    assert receipts == ["demo-2", "demo-1"], "the audit's order is not the order of what happened"


async def test_a_node_out_of_reach_gets_nothing_and_its_worker_keeps_its_routes():
    node = Node()
    node.connected = False
    (last,) = await collected(node.performer.perform(DRAIN))
    assert (last.ok, last.done) == (False, True) and "nothing was sent" in last.text and not node.performer.withheld


async def test_silence_is_unsure(monkeypatch):
    monkeypatch.setattr(perform, "ANSWER_LIMIT_S", 0.01)
    node = Node()
    (last,) = await collected(node.performer.perform(DRAIN))
    assert not last.ok and last.text.startswith("UNSURE")


@pytest.mark.parametrize("detail, kept", [({"held": True}, True), ({}, False)])
async def test_a_drain_that_is_held_keeps_new_requests_away(detail, kept):
    node = Node()
    task = await started(node, DRAIN)
    node.answer(node.orders[0][1], False, True, "deadline", **detail)
    await task
    assert ("demo-1" in node.performer.withheld) == kept


async def test_a_launch_under_an_old_name_may_be_routed_again():
    node = Node()
    node.performer.withheld.add("m-1")
    fleet = fleet_of(models=(Model("m"),))
    plan = make_plan(fleet, Launch("m", node="n1", gpus=(0,)))
    if plan.refusal:
        pytest.fail(plan.refusal)
    task = await started(node, plan)
    assert not node.performer.withheld
    node.answer(node.orders[0][1], True, True, "ready")
    await task


async def test_answers_to_unknown_orders_are_ignored():
    Node().performer.answered(Answered("n1", Answer("who", True, True, "", {})))


async def test_the_audit_has_the_plan_and_the_order_before_the_node_and_the_receipt_after():
    node = Node()
    task = await started(node, DRAIN)
    assert [row[0] for row in node.audit.rows] == ["begin", "order"]
    order = node.orders[0][1]
    node.answer(order, True, True, "stopped", finished=2)
    await task
    (_, run, actor, begun), (_, _, _, ordered), (kind, same_run, _, receipt) = node.audit.rows
    assert (actor, begun["reason"], begun["steps"][0]["worker"]) == ("ana", "fan", "demo-1")
    assert ordered["id"] == order["id"] and ordered["op"] == "drain" and kind == "receipt" and run == same_run
    assert receipt["detail"] == {"finished": 2} and receipt["ok"]


@pytest.mark.parametrize("fails", ["begin", "order"])
async def test_without_an_audit_nothing_is_sent(fails):
    node = Node()
    node.audit.fails = (fails,)
    (one,) = await collected(node.performer.perform(DRAIN))
    assert one.done and not one.ok and one.text == "nothing was sent: the audit cannot be written: disk full"
    assert not node.orders and not node.performer.under_way and not node.performer.withheld


async def test_an_end_that_could_not_be_written_down_says_so():
    node = Node()
    node.audit.fails = ("receipt",)
    task = await started(node, DRAIN)
    node.answer(node.orders[0][1], True, True, "stopped")
    assert (await task)[-1].text == "stopped; AUDIT AT RISK: the audit cannot be written: disk full"
