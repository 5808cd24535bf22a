"""The simulated fleet: repeatable, lifelike where the console looks, and its lines pass the customs of the house."""

from types import SimpleNamespace

import numpy as np
import pytest

from opsconsole.core.fleet import Model
from opsconsole.core.ingest import Answer, Facts, ingest
from opsconsole.protocol import GPU_COLUMNS
from opsconsole.sim.world import World

MODELS = (Model("large", gpus=4, slots=16), Model("small", gpus=1, slots=8))


def node(name="n0", chip="H100", gpus="sim:8", **more):
    return SimpleNamespace(name=name, chip=chip, gpus=gpus, **more)


@pytest.fixture
def world():
    return World([node("n0"), node("n1", "L40S", "sim:4"), node("n2", "H200", "nvml")], MODELS, seed=3)


def sample(world, row=0):
    return ingest(world.sample_line(row, world.at, 5.0))


def column(world, name, row=0):
    return sample(world, row).gpu[GPU_COLUMNS.index(name)]


def run(world, seconds):
    for _ in range(seconds):
        world.advance(1.0)


def answers(world, row=0):
    return [ingest(line) for line in world.take_answers(row)]


def test_the_same_seed_gives_the_same_lines(world):
    twin = World(world.specs, MODELS, seed=3)
    other = World(world.specs, MODELS, seed=4)
    for each in (world, twin, other):
        run(each, 20)
    assert world.sample_line(0, 1.0, 1.0) == twin.sample_line(0, 1.0, 1.0) != other.sample_line(0, 1.0, 1.0)


def test_time_stands_still_until_it_is_moved(world):
    assert world.sample_line(0, 1.0, 1.0) == world.sample_line(0, 1.0, 1.0)


def test_facts_and_samples_are_what_the_protocol_says(world):
    facts = ingest(world.facts_line(1))
    assert isinstance(facts, Facts)
    assert len(facts.gpu_uuid) == 4 and "L40S" in facts.gpu_name[0]
    assert sample(world, 1).gpu.shape == (len(GPU_COLUMNS), 4)
    assert sample(world, 2).gpu.shape[1] == 8


def test_a_node_without_power_loses_its_workers_and_boots_anew(world):
    before, there = ingest(world.facts_line(0)).boot_id, [worker.name for worker in world.crew.workers if worker.node == 0]
    world.suffer({"dark": ["n0"]})
    run(world, 5)
    assert there and world.cut == {0} and not [worker for worker in world.crew.workers if worker.node == 0]
    world.suffer({})
    run(world, 5)
    assert not world.cut and not sample(world, 0).workers and ingest(world.facts_line(0)).boot_id != before


def test_physics_holds(world):
    run(world, 60)
    load, power = column(world, "util_pct"), column(world, "power_w")
    assert (power <= column(world, "power_limit_w") + 1).all()
    assert power[load > 30].min() > power[load == 0].max(initial=0)
    assert ((column(world, "temp_c") > 20) & (column(world, "temp_c") < 90)).all()


def test_energy_is_the_sum_of_power(world):
    before = column(world, "energy_j")
    run(world, 10)
    assert column(world, "energy_j") - before == pytest.approx(10 * column(world, "power_w"), rel=0.2)


def test_more_is_asked_for_than_can_be_served(world):
    run(world, 30)
    calm = world.crew.service.ttft_p95_ms.max()
    world.suffer({"surge": {"large": 3.0, "small": 3.0}})
    run(world, 30)
    service = world.crew.service
    assert service.queue_depth.max() > 10 and service.ttft_p95_ms.max() > 3 * calm
    world.suffer({"surge": {"large": 0.2, "small": 0.2}})
    run(world, 200)
    assert service.queue_depth.max() < 3


def test_a_lost_gpu_says_nothing_and_an_error(world):
    world.fault("lost", "n0", 3)
    run(world, 2)
    seen = sample(world)
    assert np.isnan(seen.gpu[GPU_COLUMNS.index("util_pct"), 3]) and not np.isnan(seen.gpu[GPU_COLUMNS.index("util_pct"), 2])
    assert seen.gpu[GPU_COLUMNS.index("xid"), 3] == 79
    assert "LOST" in seen.gpu_errors[3]
    world.fault("lost", "n0", 3, on=False)
    run(world, 1)
    assert not sample(world).gpu_errors


def test_a_hot_node_slows_down(world):
    before = column(world, "sm_clock_mhz").max()
    world.fault("hot", "n0")
    world.suffer({"gpus": {"n0": {"hot": {str(gpu): 45 for gpu in range(8)}}}, "surge": {"large": 2.0, "small": 2.0}})
    run(world, 120)
    assert column(world, "temp_c").max() > 87
    assert column(world, "sm_clock_mhz").max() < before
    assert (column(world, "throttle") > 1).any()


def launch_order(**more):
    return {"op": "launch", "id": "o1", "worker": "small-99", "model": "small", "gpus": [0], **more}


def test_a_launch_is_answered_phase_by_phase_until_ready():
    world = World([node()], (MODELS[1],), seed=1)
    free = [gpu for gpu in range(8) if gpu not in {gpu for worker in world.crew.workers for gpu in worker.gpus}]
    world.order("n0", launch_order(gpus=free[:1]))
    said = []
    for _ in range(20):
        world.advance(1.0)
        said += answers(world)
    assert all(isinstance(answer, Answer) and answer.id == "o1" and answer.ok for answer in said)
    assert [answer.detail["phase"] for answer in said[:-1]] == ["spawn", "import", "load", "compile", "warm"]
    assert said[-1].done and said[-1].text == "READY"
    worker = next(worker for worker in sample(world).workers if worker.name == "small-99")
    assert worker.state == "READY" and worker.running is not None


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (launch_order(model="unknown"), "no model"), (launch_order(gpus=[11]), "does not exist"),
        ({"op": "drain", "id": "o1", "worker": "nobody"}, "no worker"), ({"op": "dance", "id": "o1"}, "does not know"),
    ],
)
def test_what_cannot_be_done_is_refused(world, order, words):
    world.order("n0", order)
    (said,) = answers(world)
    assert said.done and not said.ok and words in said.text


def test_a_worker_is_launched_once(world):
    alive = next(worker for worker in world.crew.workers if worker.node == 0)
    world.order("n0", launch_order(worker=alive.name))
    assert "alive" in answers(world)[0].text


def test_a_drain_finishes_what_is_in_flight_then_stops(world):
    name = next(worker.name for worker in world.crew.workers if worker.node == 0)
    world.order("n0", {"op": "drain", "id": "d1", "worker": name, "deadline_s": 600, "on_deadline": "hold"})
    run(world, 8)
    last = answers(world)[-1]
    assert last.done and last.ok and last.text == "stopped"
    assert last.detail["finished"] == last.detail["in_flight_at_start"]
    assert {worker.name: worker.state for worker in sample(world).workers}[name] == "STOPPED"
    run(world, 15)
    assert name not in {worker.name for worker in sample(world).workers}


def test_a_drain_that_is_too_slow_is_held(world):
    index, name = next((index, worker.name) for index, worker in enumerate(world.crew.workers) if worker.node == 0)
    world.crew.service.backlog[index] = 1e6
    world.order("n0", {"op": "drain", "id": "d1", "worker": name, "deadline_s": 3, "on_deadline": "hold"})
    run(world, 6)
    last = answers(world)[-1]
    assert last.done and not last.ok and last.detail["held"] and last.detail["in_flight"] > 0


def test_an_undrain_takes_a_worker_back_from_its_drain(world):
    index, name = next((index, worker.name) for index, worker in enumerate(world.crew.workers) if worker.node == 0)
    world.order("n0", {"op": "undrain", "id": "u0", "worker": name})
    assert "is not draining" in answers(world)[0].text
    world.crew.service.backlog[index] = 1e6
    world.order("n0", {"op": "drain", "id": "d1", "worker": name, "deadline_s": 600, "on_deadline": "hold"})
    run(world, 2)
    answers(world)
    world.order("n0", {"op": "undrain", "id": "u1", "worker": name})
    taken, admits = answers(world)
    assert (taken.id, taken.ok, taken.done, taken.detail["taken_back"]) == ("d1", False, True, True)
    assert (admits.id, admits.ok, admits.done) == ("u1", True, True)
    run(world, 2)
    assert {worker.name: worker.state for worker in sample(world).workers}[name] == "READY" and not answers(world)
