"""A confirmed plan carried out: orders go out once, answers become progress, silence is unsure and never a success."""

import asyncio
import random
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from opsconsole.control.perform import Performer, withheld_by
from opsconsole.core import advance
from opsconsole.core.events import Answered, Linked
from opsconsole.core.fleet import Model, Policy
from opsconsole.core.ingest import Answer
from opsconsole.core.plan import make_plan
from opsconsole.core.run import Run, StepRun
from opsconsole.core.steps import Drain, Launch, Progress, Step
from opsconsole.history.audit import AuditError
from opsconsole.history.journal import Journal, JournalError
from tests.telemetry import fleet_of, worker_fields


class Rows:
    """An audit in memory, which fails at the kinds of row named in `fails`."""

    id = "audit-1"

    def __init__(self):
        self.rows, self.fails = [], ()

    def append(self, at, kind, run, actor, body):
        time.sleep(random.choice((0, 0.002)))  # as disks are
        if kind in self.fails:
            raise AuditError("the audit cannot be written: disk full")
        self.rows.append((kind, run, actor, body))
        return SimpleNamespace(seq=len(self.rows), hash=f"hash {len(self.rows)}")


class Node:
    """Keeps the orders that a performer sends."""

    def __init__(self, journal, fleet=None, **given):
        self.orders, self.notes, self.connected = [], [], True
        self.audit, self.journal = Rows(), journal
        self.performer = Performer(self.send, lambda *note: self.notes.append(note), self.audit, journal, **given)
        self.performer.saw(fleet or FLEET)

    def send(self, node, order):
        if self.connected:
            self.orders.append((node, order))
        return self.connected

    def answer(self, order, ok, done, text, **detail):
        self.performer.heard(Answered("n1", Answer(order["id"], ok, done, text, detail)))

    @property
    def states(self):
        return [(run["state"], [one["state"] for one in run["steps"]]) for run in self.journal.runs()]


PAIR = [worker_fields("demo-1", generation=4), worker_fields("demo-2", gpus=[1])]
FLEET = fleet_of({"n1": PAIR}, models=(), policy=Policy(max_unavailable=2))
DRAIN = make_plan(FLEET, Drain(("demo-1",), actor="ana", reason="fan"))


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path / "runs.db")
    yield made
    made.close()


@pytest.fixture
def node(journal):
    return Node(journal)


async def collected(news):
    return [one async for one in news if isinstance(one, Progress)]


async def settled(true):
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("did not come true")


async def started(node, plan):
    task = asyncio.create_task(collected(node.performer.perform(plan)))
    await settled(lambda: len(node.orders) == len(plan.steps))
    return task


async def test_answers_become_progress_until_done(node):
    task = await started(node, DRAIN)
    name, order = node.orders[0]
    assert (name, order["op"], order["worker"]) == ("n1", "drain", "demo-1")
    assert node.performer.withheld == {"demo-1"} and list(node.performer.under_way.values()) == list(DRAIN.steps)
    node.answer(order, True, False, "3 in flight")
    node.answer(order, True, True, "stopped", in_flight_at_start=3)
    assert [(one.text, one.done) for one in await task] == [("3 in flight", False), ("stopped", True)]
    assert not node.performer.under_way and node.notes == [
        ("action", "demo-1", "drain demo-1 on n1, then stop it: fan", "ana"), ("receipt", "demo-1", "stopped", "ana")]


async def test_steps_run_side_by_side(node):
    plan = make_plan(FLEET, Drain(("n1",)))
    node.performer.saw(replace(FLEET, roster=replace(FLEET.roster, policy=Policy(max_unavailable=2))))
    steps = tuple(replace(step, after=(), order={**step.order, "keep_ready": 0}) for step in plan.steps)
    task = await started(node, replace(plan, steps=steps))
    for _, order in reversed(node.orders):
        node.answer(order, True, True, order["worker"])
    assert [one.text for one in await task] == ["demo-2", "demo-1"]
    receipts = [body["worker"] for kind, _, _, body in node.audit.rows if kind == "receipt"]
    assert receipts == ["demo-2", "demo-1"], "the audit's order is not the order of what happened"


async def test_a_node_out_of_reach_gets_nothing_and_its_worker_keeps_its_routes(node):
    node.connected = False
    (last,) = await collected(node.performer.perform(DRAIN))
    assert (last.ok, last.done) == (False, True) and "nothing was sent" in last.text and not node.performer.withheld


async def test_silence_is_unsure_and_the_same_order_is_asked_again(node, monkeypatch):
    monkeypatch.setattr(advance, "ANSWER_LIMIT_S", -1.0)
    task = await started(node, DRAIN)
    node.performer.saw(FLEET)
    await settled(lambda: node.states == [("OPEN", ["UNSURE"])])
    node.performer.saw(FLEET)
    await settled(lambda: len(node.orders) == 2)
    assert node.orders[0][1]["id"] == node.orders[1][1]["id"] and node.audit.rows[-1][3]["op"] == "drain"
    node.answer(node.orders[0][1], True, True, "stopped")
    assert [(one.ok, one.done) for one in await task] == [(False, False), (True, True)]


@pytest.mark.parametrize("detail, kept", [({"held": True}, True), ({}, False)])
async def test_a_drain_that_is_held_keeps_new_requests_away(node, detail, kept):
    task = await started(node, DRAIN)
    node.answer(node.orders[0][1], False, True, "deadline", **detail)
    await task
    assert ("demo-1" in node.performer.withheld) == kept


async def test_a_worker_that_a_rival_drains_gets_no_request_until_its_node_was_heard_again(node):
    task = await started(node, DRAIN)
    node.answer(node.orders[0][1], False, True, "another order was faster", conflict=True)
    await task
    assert "demo-1" in node.performer.withheld
    node.performer.saw(node.performer._fleet)
    assert "demo-1" in node.performer.withheld, "what its node told before says READY"
    node.performer.saw(replace(node.performer._fleet, at=time.time() + 60.0))
    assert "demo-1" not in node.performer.withheld


async def test_a_launch_under_an_old_name_may_be_routed_again(journal):
    node = Node(journal, fleet_of(models=(Model("m"),)))
    plan = make_plan(node.performer._fleet, Launch("m", node="n1", gpus=(0,)))
    drained = Run("r0", DRAIN, 1.0, (StepRun(Step("", "n1", "m-1", {"op": "drain"}), "o", "DONE", began_at=1.0),))
    launched = Run("r1", plan, 2.0, (StepRun(plan.steps[0], "p", "SENT", began_at=2.0),))
    fleet = node.performer._fleet
    assert withheld_by([drained], fleet) == {"m-1"} and not withheld_by([launched, drained], fleet)
    failed = replace(launched, steps=(replace(launched.steps[0], state="FAILED"),))
    assert withheld_by([drained, failed], fleet) == {"m-1"}
    task = await started(node, plan)
    assert not node.performer.withheld
    node.answer(node.orders[0][1], True, True, "ready")
    await task


async def test_answers_to_unknown_orders_are_ignored(node):
    node.performer.heard(Answered("n1", Answer("who", True, True, "", {})))


async def test_an_answer_from_another_node_is_ignored(node):
    task = await started(node, DRAIN)
    node.performer.heard(Answered("n2", Answer(node.orders[0][1]["id"], True, True, "stopped, says a liar", {})))
    node.answer(node.orders[0][1], True, True, "stopped")
    assert [one.text for one in await task] == ["stopped"]


async def test_the_audit_has_the_plan_and_the_order_before_the_node_and_the_receipt_after(node):
    task = await started(node, DRAIN)
    assert [row[0] for row in node.audit.rows] == ["begin", "order"]
    order = node.orders[0][1]
    node.answer(order, True, True, "stopped", finished=2)
    await task
    (_, run, actor, begun), (_, _, _, ordered), (kind, same_run, _, receipt) = node.audit.rows
    assert (actor, begun["reason"], begun["steps"][0]["worker"]) == ("ana", "fan", "demo-1")
    assert ordered["id"] == order["id"] and ordered["op"] == "drain" and kind == "receipt" and run == same_run
    assert (order["actor"], order["generation"], order["anchor"]) == ("ana", 4, {"audit": "audit-1", "seq": 2, "hash": "hash 2"})
    assert receipt["detail"] == {"finished": 2} and receipt["ok"]


@pytest.mark.parametrize("fails", ["begin", "order"])
async def test_without_an_audit_nothing_is_sent(node, fails):
    node.audit.fails = (fails,)
    (one,) = await collected(node.performer.perform(DRAIN))
    assert one.done and not one.ok and one.text == "nothing was sent: the audit cannot be written: disk full"
    await settled(lambda: not node.performer.is_open)
    assert not node.orders and not node.performer.under_way and not node.performer.withheld


async def test_an_end_that_could_not_be_written_down_says_so(node):
    node.audit.fails = ("receipt",)
    task = await started(node, DRAIN)
    node.answer(node.orders[0][1], True, True, "stopped")
    assert (await task)[-1].text == "stopped; AUDIT AT RISK: the audit cannot be written: disk full"


class Unwritable:
    """A journal that takes `takes` runs and then no more."""

    def __init__(self, takes):
        self.left = takes

    def put(self, run):
        self.left -= 1
        if self.left < 0:
            raise JournalError("the run journal cannot be used: disk full")

    def runs(self):
        return []


@pytest.mark.parametrize("takes", [0, 1, 2])
async def test_without_a_journal_nothing_is_sent(takes):
    node = Node(Unwritable(takes))
    (one,) = await collected(node.performer.perform(DRAIN))
    assert one.done and not one.ok and one.text == "nothing was sent: the run journal cannot be used: disk full" and not node.orders


async def test_the_journal_knows_of_an_order_before_it_leaves(node):
    seen = []
    node.performer._hands = node.performer._hands._replace(send=lambda *order: seen.append(node.states) or node.send(*order))
    task = await started(node, DRAIN)
    assert seen == [[("OPEN", ["SENT"])]]
    node.answer(node.orders[0][1], True, True, "stopped")
    await task
    assert node.states == [("DONE", ["DONE"])] and not node.performer.is_open


async def test_a_router_that_does_not_confirm_keeps_the_node_from_hearing_of_it(journal):
    async def refuses(worker):
        return f"{worker} has 3 in flight there"

    node = Node(journal, confirm_out=refuses)
    (one,) = await collected(node.performer.perform(DRAIN))
    assert one.text.endswith("the router does not take it out: demo-1 has 3 in flight there") and not node.orders
    assert not node.performer.withheld


async def test_a_node_that_is_linked_again_is_asked_at_once(node):
    task = await started(node, DRAIN)
    node.performer.heard(Linked("n1", 1.0, None))
    await settled(lambda: len(node.orders) == 2)
    node.answer(node.orders[1][1], True, True, "stopped")
    assert (await task)[-1].ok


async def test_what_a_collector_left_open_is_found_interrupted_and_resumed_with_the_same_order(node):
    first = await started(node, DRAIN)
    await node.performer.close()
    first.cancel()
    again = Node(node.journal)
    await again.performer.recover()
    (run,) = again.performer.runs()
    assert (run.state, run.steps[0].state) == ("INTERRUPTED", "UNSURE") and again.performer.withheld == {"demo-1"}
    assert not again.performer.is_open and not again.orders and not again.performer.under_way
    with pytest.raises(ValueError, match="there is no run"):
        await again.performer.tell("who", "resume")
    await again.performer.tell(run.id[:6], "resume", "eve")
    task = asyncio.create_task(collected(again.performer.watch(run.id)))
    await settled(lambda: again.orders)
    assert again.orders[0][1]["id"] == node.orders[0][1]["id"] and again.orders[0][1]["generation"] == 4
    assert [(row[0], row[2]) for row in again.audit.rows] == [("told", "eve"), ("order", "ana")]
    again.answer(again.orders[0][1], True, True, "stopped")
    assert (await task)[-1].ok and again.states == [("DONE", ["DONE"])]
    with pytest.raises(ValueError, match="has ended"):
        await again.performer.tell(run.id, "resume")


async def test_letting_go_and_taking_back(node):
    task = await started(node, DRAIN)
    (run,) = node.performer.runs()
    await node.performer.tell(run.id, "let go")
    await task
    assert node.states == [("INTERRUPTED", ["UNSURE"])] and not node.performer.is_open
    await node.performer.tell(run.id, "cancel")
    await settled(lambda: len(node.orders) == 2)
    assert node.orders[1][1]["op"] == "undrain" and node.orders[1][1]["generation"] == 5, "a drain that somebody else began is not ours"
    node.answer(node.orders[1][1], True, True, "admits requests again")
    await settled(lambda: node.states == [("FAILED", ["FAILED"])] and not node.performer.withheld)


async def test_many_may_listen_and_come_late(node):
    first = await started(node, DRAIN)
    node.answer(node.orders[0][1], True, False, "3 in flight")
    (run,) = node.performer.runs()
    await settled(lambda: node.performer.runs()[0].steps[0].text == "3 in flight")
    late = node.performer.watch(run.id)
    assert (await anext(late)).steps[0].text == "3 in flight"
    node.answer(node.orders[0][1], True, True, "stopped")
    progress, end = [news async for news in late]
    assert progress == (await first)[-1] and end.state == "DONE"
    assert [news.state async for news in node.performer.watch(run.id)] == ["DONE"]


async def test_a_defect_leaves_an_interrupted_run_not_one_that_seems_to_go_on(node, monkeypatch):
    task = await started(node, DRAIN)
    monkeypatch.setattr("opsconsole.control.carry.advance", lambda run, event: 1 / 0)
    node.performer.saw(FLEET)
    await task
    assert node.states == [("INTERRUPTED", ["UNSURE"])] and "ZeroDivisionError" in node.performer.runs()[0].text
