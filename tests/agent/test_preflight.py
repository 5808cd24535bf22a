"""What a node does not start: two workers on one GPU, one that finds no memory, port or checkpoint; each is told with numbers."""

import socket

import pytest

from tests.agent.ordering import ask, launch, order


@pytest.fixture
def agent(start, gpu_file):
    return start(f"sim:{gpu_file.path}")


def test_two_consoles_cannot_put_two_workers_on_one_gpu(agent, start, gpu_file):
    rival = start(f"sim:{gpu_file.path}")
    for number in range(5):
        orders = [order(worker=f"{who}-{number}") for who in "ab"]
        for console, wanted in zip((agent, rival), orders, strict=True):
            console.say("launch", **wanted)
        answers = [agent.last_answer(orders[0]["id"]), rival.last_answer(orders[1]["id"])]
        assert sorted(answer["ok"] for answer in answers) == [False, True], answers
        (refused,) = [answer for answer in answers if not answer["ok"]]
        winner = next(wanted["worker"] for wanted, answer in zip(orders, answers, strict=True) if answer["ok"])
        assert refused["text"] == f"GPU 0 is taken by {winner} (1.00): 0.00 of it is free, 1.00 is asked for"
        assert ask(agent, "stop", worker=winner)["ok"]


def test_shares_of_a_gpu_add_up_to_one(agent):
    assert launch(agent, gpu_share=0.5)["ok"] and launch(agent, worker="w-2", gpu_share=0.4)["ok"]
    refused = launch(agent, worker="w-3", gpu_share=0.2)
    assert "w-1 (0.50), w-2 (0.40): 0.10 of it is free, 0.20 is asked for" in refused["text"]
    assert launch(agent, worker="w-4", gpu_share=0.1)["ok"] and launch(agent, worker="w-5", gpus=[1])["ok"]


def test_memory_that_strangers_hold_is_found_before_the_load(start, nvml_state):
    nvml_state("count 2", "gpu 0 total_mib 80000", "proc 0 4242 60000", "gpu 0 used_mib 61000")
    agent = start("nvml")
    agent.facts(lambda facts: facts["gpus"]["mem_total_mib"][:1] == [80000])
    refused = launch(agent)
    assert refused["text"] == "GPU 0 has 19000 of 80000 MiB free, the worker needs 60000 (pid 4242 has 60000)"
    assert launch(agent, gpu_share=0.25)["ok"]


def test_a_port_in_use_and_a_checkpoint_that_is_not_there_are_refused(agent, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} of 127.0.0.1 is not free" in launch(agent, port=port)["text"]
    assert f"no checkpoint {tmp_path}/none" in launch(agent, checkpoint=f"{tmp_path}/none")["text"]
    agent.sample()
    assert launch(agent, checkpoint="random:tiny")["ok"]


def test_a_worker_is_ready_when_it_has_given_a_token(agent):
    wanted = order(checkpoint="slow:1")
    agent.say("launch", **wanted)
    said = []
    while not said or not said[-1]["done"]:
        said.append(agent.wait_for(lambda message: message["t"] == "answer"))
    phases = [answer["detail"]["phase"] for answer in said if "phase" in answer["detail"]]
    assert phases[0] == "preflight" and phases[-2:] == ["cache hit", "first token"] and "load" in phases
    elapsed = [answer["detail"]["elapsed_s"] for answer in said if "phase" in answer["detail"]]
    assert elapsed == sorted(elapsed) and said[-1]["detail"]["proof"] == "first token"
    refused = launch(agent, worker="w-2", gpus=[1], checkpoint="wordless")
    assert not refused["ok"] and "no first token: HTTP 500" in refused["text"]
