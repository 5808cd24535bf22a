"""What stops a step of a confirmed plan when the fleet is no longer what it was when the plan was made."""

from dataclasses import replace

from opsconsole.core.events import Lost
from opsconsole.core.fleet import UNREACHABLE, Cordoned, Model
from opsconsole.core.guards import step_refusal
from opsconsole.core.plan import make_plan
from opsconsole.core.steps import Cap, Drain, Launch, Rollout, Stop
from tests.telemetry import fleet_of, worker_fields

LOOSE = (Model("demo", checkpoint="v1", min_ready=0),)


def step_of(fleet, intent, number=0):
    plan = make_plan(fleet, intent)
    assert not plan.refusal
    return plan.steps[number]


def test_a_launch_needs_its_gpu_its_node_and_no_cordon():
    step = step_of(fleet_of(), Launch("demo"))
    assert step_refusal(fleet_of(), step) == ""
    taken = fleet_of({"n1": [worker_fields("x", gpus=[0])]})
    assert step_refusal(taken, step) == "GPU 0 of n1 is no longer free; free: 1,2,3"
    assert "n1 is UNREACHABLE" in step_refusal(fleet_of(more=(Lost("n1", 101.0, UNREACHABLE, "no route"),)), step)
    cordoned = replace(fleet_of(), cordons={0: Cordoned("fan", "ann", 1.0)})
    assert "cordoned by ann: fan" in step_refusal(cordoned, step)
    other = replace(step, worker="demo-9")
    assert "no longer free" in step_refusal(fleet_of(), step, [other])
    assert "no longer in the fleet file" in step_refusal(fleet_of(nodes=("n2",)), step)


def test_no_minimum_leans_on_a_node_that_is_silent():
    three = {"n1": [worker_fields("w1")], "n2": [worker_fields("w2")], "n3": [worker_fields("w3")]}
    step = step_of(fleet_of(three, models=(Model("demo", min_ready=2),)), Drain(("w1",)))
    two_heard = fleet_of(three, models=(Model("demo", min_ready=2),), more=(Lost("n3", 101.0, UNREACHABLE, "no route"),))
    assert "would have 1 ready workers" in step_refusal(two_heard, step)
    launched = replace(step_of(fleet_of(), Launch("demo")), node="n3", worker="w4")
    assert "would have 1 ready workers" in step_refusal(two_heard, step, ended=(launched,))


def test_a_drain_keeps_the_minimum_and_what_the_plan_promised():
    three = {"n1": [worker_fields("w1")], "n2": [worker_fields("w2")], "n3": [worker_fields("w3")]}
    step = step_of(fleet_of(three), Drain(("w1",)))
    assert step_refusal(fleet_of(three), step) == ""
    alone = fleet_of({"n1": three["n1"]})
    assert "its minimum is 1" in step_refusal(alone, step)
    loose = step_of(fleet_of(three, models=LOOSE), Drain(("w1",)))
    assert "the plan was to keep 1" in step_refusal(fleet_of({"n1": three["n1"]}, models=LOOSE), loose)
    out = fleet_of({**three, "n2": [worker_fields("w2", "NOT_READY")]})
    assert "2 workers of demo would be out at once" in step_refusal(out, step)
    other = step_of(fleet_of(three), Drain(("w2",)))
    assert "max_unavailable is 1" in step_refusal(fleet_of(three), step, [other])


def test_the_last_worker_may_go_when_the_plan_said_so():
    alone = fleet_of({"n1": [worker_fields("w1")]}, models=LOOSE)
    assert step_refusal(alone, step_of(alone, Drain(("w1",)))) == ""


def test_an_old_worker_stays_when_the_new_one_has_not_come():
    before = fleet_of({"n1": [worker_fields("demo-1", checkpoint="v1")]}, models=LOOSE)
    launch, drain = make_plan(before, Rollout("demo", "v2")).steps
    assert step_refusal(before, drain, ended=[launch]) == ""  # proven ready, the next sample has not come yet
    assert "the plan was to keep 1" in step_refusal(before, drain)
    failed = fleet_of({"n1": [worker_fields("demo-1"), worker_fields(launch.worker, "FAILED", gpus=[1])]}, models=LOOSE)
    assert "the plan was to keep 1" in step_refusal(failed, drain, ended=[launch])


def test_a_gpu_whose_worker_was_proven_gone_is_free_before_the_next_sample():
    full = {"n1": [worker_fields(f"w{gpu}", gpus=[gpu], checkpoint="v1") for gpu in range(4)]}
    fleet = fleet_of(full, nodes=("n1",), models=LOOSE)
    drain, launch = make_plan(fleet, Rollout("demo", "v2")).steps[:2]
    assert "no longer free" in step_refusal(fleet, launch)
    assert step_refusal(fleet, launch, ended=[drain]) == ""


def test_a_stop_waits_for_nobody_but_kills_nothing():
    idle = {"n1": [worker_fields("w1", running=0)], "n2": [worker_fields("w2")], "n3": [worker_fields("w3")]}
    step = step_of(fleet_of(idle), Stop(("w1",)))
    assert step_refusal(fleet_of(idle), step) == ""
    busy = fleet_of({**idle, "n1": [worker_fields("w1", running=2)]})
    assert step_refusal(busy, step) == "w1 has 2 requests in flight; drain it instead"


def test_a_cap_stays_within_what_the_gpus_can():
    step = step_of(fleet_of(), Cap("n1", 300.0))
    assert step_refusal(fleet_of(), step) == ""
    assert "200 to 700 W" in step_refusal(fleet_of(), replace(step, order={**step.order, "watts": 900.0}))


def test_workers_that_share_a_gpu_may_start_side_by_side():
    shared = fleet_of(models=(Model("demo", gpu_share=0.5),))
    first, second = make_plan(shared, Launch("demo", "n1", (0, 0), 2)).steps
    assert step_refusal(shared, second, [first]) == ""
    assert "no longer free" in step_refusal(shared, second, [first, replace(first, worker="demo-9")])


def test_a_fleet_below_its_minimum_may_be_renewed_one_for_one():
    model = (Model("demo", checkpoint="v1", min_ready=2),)
    before = fleet_of({"n1": [worker_fields("demo-1", checkpoint="v1")]}, models=model)
    launch, drain = make_plan(before, Rollout("demo", "v2")).steps
    new = worker_fields(launch.worker, gpus=[1])
    after = fleet_of({"n1": [worker_fields("demo-1", checkpoint="v1")], launch.node: [new]}, models=model)
    assert step_refusal(after, drain, ended=[launch]) == ""
