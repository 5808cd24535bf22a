"""Two consoles, a paused one, one that asks twice: of all their orders a worker feels each at most once, and none that comes too late."""

import uuid

import pytest

from tests.agent.ordering import ask, drain, generation, launch, order


@pytest.fixture
def agent(start, gpu_file):
    return start(f"sim:{gpu_file.path}")


@pytest.fixture
def rival(start, gpu_file):
    return start(f"sim:{gpu_file.path}")


@pytest.fixture
def work_dir(tmp_path):
    return tmp_path / "work"


def test_each_order_that_is_taken_makes_a_new_generation_that_the_row_tells(agent, work_dir):
    assert launch(agent, generation=None, actor="ada")["ok"]
    row = agent.worker("w-1", lambda row: row["state"] == "READY")
    assert row["generation"] == generation(work_dir) == 1 and row["checkpoint"] == "quick" and row["restarts"] == 0
    assert ask(agent, "undrain", generation=1)["ok"]
    assert agent.worker("w-1", lambda row: row["generation"] == 2)
    assert ask(agent, "undrain")["ok"]  # an order that tells no generation is taken as ever, and counts
    assert generation(work_dir) == 3


def test_an_order_that_was_planned_for_an_older_generation_is_refused(agent, work_dir):
    launch(agent, actor="ada")
    first = ask(agent, "undrain", generation=1, actor="bob")
    assert first["ok"]
    late = drain(agent, generation=1, actor="carol")
    assert not late["ok"] and late["detail"]["conflict"] and late["detail"]["by"] == "bob" and late["detail"]["order"] == first["id"]
    assert late["detail"]["age_s"] >= 0 and "undrain by bob" in late["text"] and "(generation 2, not 1)" in late["text"]
    assert generation(work_dir) == 2
    assert agent.worker("w-1", lambda row: row["state"] == "READY")


@pytest.mark.parametrize("wrong", ["1", True, -1, 1.5])
def test_what_is_no_generation_is_refused(agent, wrong):
    launch(agent)
    answer = ask(agent, "undrain", generation=wrong)
    assert not answer["ok"] and "conflict" not in answer["detail"]


def test_a_paused_console_that_wakes_is_refused_and_a_name_that_is_free_may_be_used_again(agent, rival, work_dir):
    launch(agent, generation=None)
    assert drain(agent, generation=1)["ok"]
    assert ask(agent, "stop", generation=2)["ok"]  # its record is forgotten, its generation is not
    woken = drain(rival, generation=1)
    assert not woken["ok"]
    again = launch(agent, generation=None)
    assert again["ok"] and generation(work_dir) == 4
    woken = launch(rival, generation=None)
    assert not woken["ok"] and woken["detail"]["conflict"]
    assert drain(rival, generation=1)["detail"]["conflict"]


def test_two_agents_race_a_hundred_times_and_one_acts_each_time(agent, rival, work_dir):
    launch(agent, generation=None)
    acted = []
    for _ in range(100):
        ids, known = (uuid.uuid4().hex, uuid.uuid4().hex), generation(work_dir)
        for console, order_id in zip((agent, rival), ids, strict=True):
            console.say("undrain", id=order_id, worker="w-1", generation=known)
        answers = [agent.last_answer(ids[0]), rival.last_answer(ids[1])]
        acted.append(sum(answer["ok"] for answer in answers))
        assert generation(work_dir) == known + 1
        assert all(answer["ok"] or answer["detail"]["conflict"] for answer in answers), answers
    assert acted == [1] * 100


def test_the_same_launch_from_two_consoles_starts_one_process(agent, rival):
    wanted = order(checkpoint="slow:2", generation=None)
    agent.say("launch", **wanted)
    rival.say("launch", **wanted)
    first, second = agent.last_answer(wanted["id"]), rival.last_answer(wanted["id"])
    assert first["ok"] and first["detail"]["pid"] == second["detail"]["pid"]


def test_an_order_is_joined_after_its_agent_was_killed(agent, start, gpu_file, work_dir):
    launch(agent, checkpoint="busy:2:2.5", generation=None)
    agent.say("drain", id="d1", worker="w-1", deadline_s=20, on_deadline="hold", generation=1)
    agent.wait_for(lambda message: message["t"] == "answer" and message["text"] == "2 in flight")
    agent.process.kill()
    another = start(f"sim:{gpu_file.path}")
    another.say("drain", id="d1", worker="w-1", deadline_s=20, on_deadline="hold", generation=1)
    answer = another.last_answer("d1")
    assert answer["ok"] and generation(work_dir) == 2


def test_an_order_that_was_refused_stays_refused(agent, start, gpu_file):
    wanted = order(gpus=[7], generation=None)
    agent.say("launch", **wanted)
    first = agent.last_answer(wanted["id"])
    gpu_file(chip="H100", count=8)
    agent.facts(lambda facts: len(facts["gpus"]["uuid"]) == 8)
    another = start(f"sim:{gpu_file.path}")
    another.say("launch", **wanted)
    assert not first["ok"] and another.last_answer(wanted["id"]) == first
