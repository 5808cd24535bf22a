"""A simulated node takes orders as a real one does: once each, none that comes too late, and it remembers what a real one remembers."""

from types import SimpleNamespace

import pytest

from opsconsole.core.fleet import Model
from opsconsole.core.ingest import ingest
from opsconsole.protocol import GPU_COLUMNS
from opsconsole.sim.world import World


@pytest.fixture
def world():
    return World([SimpleNamespace(name="n0", chip="H100", gpus="sim:8")], [Model("small", gpus=1, slots=8)], seed=1)


def sample(world):
    return ingest(world.sample_line(0, world.at, 5.0))


def row(world, name):
    return next(worker for worker in sample(world).workers if worker.name == name)


def ask(world, op, id="o1", seconds=0, **fields):
    """What a node says to an order within so many seconds."""
    world.order("n0", {"op": op, "id": id, **fields})
    for _ in range(seconds):
        world.advance(1.0)
    return [ingest(line) for line in world.take_answers(0)]


def free_gpu(world):
    return min(set(range(8)) - {gpu for worker in world.crew.workers if worker.state != "STOPPED" for gpu in worker.gpus})


@pytest.fixture
def busy(world):
    """The name of a worker that will not be idle soon."""
    world.crew.service.backlog[0] = 1e6
    world.advance(1.0)
    return world.crew.workers[0].name


def drain(world, name, id="d1", seconds=0, deadline_s=600, on_deadline="hold", **fields):
    return ask(world, "drain", id, seconds, worker=name, deadline_s=deadline_s, on_deadline=on_deadline, **fields)


def test_an_order_that_comes_too_late_is_refused(world, busy):
    before = row(world, busy).generation
    assert not [said for said in drain(world, busy, generation=before, actor="ada", seconds=1) if said.done]
    (late,) = ask(world, "undrain", "u1", worker=busy, generation=before)
    assert not late.ok and late.detail["conflict"] and late.detail["by"] == "ada" and late.detail["order"] == "d1"
    world.advance(1.0)
    assert row(world, busy).generation == before + 1 and row(world, busy).state == "DRAINING"
    assert any(said.ok and said.id == "u2" for said in ask(world, "undrain", "u2", worker=busy, generation=before + 1))


def test_the_same_order_is_answered_again_and_not_done_again(world):
    name, gpu = "small-99", free_gpu(world)
    fields = {"worker": name, "model": "small", "gpus": [gpu], "checkpoint": "random:new", "generation": None}
    first = ask(world, "launch", "l1", 20, **fields)
    assert first[-1].text == "READY" and ask(world, "launch", "l1", **fields) == [first[-1]]
    assert (row(world, name).checkpoint, row(world, name).generation, row(world, name).restarts) == ("random:new", 1, 0)
    assert "alive" in ask(world, "launch", "l2", **{**fields, "generation": 1})[0].text
    assert ask(world, "launch", "l3", **fields)[0].detail["conflict"]


def test_shares_of_a_gpu_add_up_to_one(world):
    fields, gpu = {"model": "small", "checkpoint": "x"}, free_gpu(world)
    assert not ask(world, "launch", "a", worker="a", gpus=[gpu], gpu_share=0.6, **fields)
    (refused,) = ask(world, "launch", "b", worker="b", gpus=[gpu], gpu_share=0.5, **fields)
    assert "is taken by a: 0.40 of it is free, 0.50 is asked for" in refused.text
    assert not ask(world, "launch", "c", worker="c", gpus=[gpu], gpu_share=0.4, **fields)


def test_a_cancel_ends_a_launch_and_both_are_answered(world):
    ask(world, "launch", "l1", 3, worker="new", model="small", gpus=[free_gpu(world)], checkpoint="x")
    launched, cancelled = ask(world, "cancel", "c1", worker="new", generation=1)
    assert (launched.id, launched.ok, launched.detail["cancelled"]) == ("l1", False, True) and cancelled.ok
    world.advance(1.0)
    assert row(world, "new").state == "STOPPED"
    assert "drain it" in ask(world, "cancel", "c2", worker=world.crew.workers[0].name)[0].text


def test_extend_goes_on_while_it_helps_then_holds(world, busy):
    said = drain(world, busy, seconds=12, deadline_s=3, on_deadline="extend")
    assert not any(answer.done for answer in said)  # the backlog shrinks
    world.crew.service.capacity_per_s[0] = 0.0
    last = [answer for answer in ask(world, "anchors", "x", 12) if answer.id == "d1"][-1]
    assert last.done and not last.ok and last.detail["held"] and last.detail["moved"] == last.detail["aborted"] == 0


def test_a_held_drain_ends_drained_and_may_be_stopped(world, busy):
    drain(world, busy, seconds=3, deadline_s=1)
    (refused,) = ask(world, "stop", "s1", worker=busy)
    assert not refused.ok and refused.detail["in_flight"] > 0
    world.crew.service.backlog[0] = 0.0
    for _ in range(3):
        world.advance(1.0)
    assert row(world, busy).state == "DRAINED"
    assert ask(world, "stop", "s2", worker=busy)[0].ok
    world.advance(1.0)
    assert row(world, busy).state == "STOPPED"


def test_a_cordon_is_shown_and_keeps_workers_out(world):
    ask(world, "cordon", "c1", reason="fans", actor="ada")
    assert (sample(world).cordon.reason, sample(world).cordon.actor) == ("fans", "ada")
    (refused,) = ask(world, "launch", "l1", worker="new", model="small", gpus=[free_gpu(world)], checkpoint="x")
    assert "cordoned by ada" in refused.text
    assert ask(world, "uncordon", "u1")[0].text == "uncordoned" and sample(world).cordon is None


def test_a_cap_costs_speed_and_is_taken_off_again(world):
    column = {name: GPU_COLUMNS.index(name) for name in ("power_w", "power_limit_w", "sm_clock_mhz")}
    world.suffer({"surge": {"small": 3.0}})
    drain(world, "nobody", seconds=30)
    free = world.crew.service.tokens_per_s.sum()
    (capped,) = ask(world, "cap", "p1", gpus=list(range(8)), watts=350)
    assert capped.ok and capped.detail["before_w"] == [700.0] * 8
    drain(world, "nobody", "d2", seconds=30)
    assert (sample(world).gpu[column["power_w"]] <= 350).all() and world.crew.service.tokens_per_s.sum() < 0.9 * free
    assert "takes 210 to 700 W" in ask(world, "cap", "p2", gpus=[0], watts=100)[0].text
    assert ask(world, "cap", "p3", gpus=list(range(8)), watts=None)[0].detail["limits_w"] == [700.0] * 8


def test_heads_of_audits_are_kept(world):
    for number in range(60):
        ask(world, "uncordon", f"u{number}", anchor={"audit": "a", "seq": number, "hash": "ab"})
    (told,) = ask(world, "anchors", "q")
    assert [anchor["seq"] for anchor in told.detail["anchors"]] == list(range(20, 60)) and told.detail["kept"] == 60
