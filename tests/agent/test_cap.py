"""Power limits: set and read back, remembered and put back, refused in words where the driver or the GPU does not allow them."""

import os

import pytest

from tests.agent.agent_process import gpu
from tests.agent.ordering import ask, launch

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="NVML lets only root set power limits")


@needs_root
def test_a_cap_is_read_back_remembered_and_taken_off(start, nvml_state, tmp_path):
    nvml_state("count 3", "gpu 1 limit_mw 650000")
    agent = start("nvml")
    agent.facts(lambda facts: facts["gpus"]["uuid"] and facts["gpus"]["power_min_w"][2])
    answer = ask(agent, "cap", gpus=[0, 1], watts=400)
    assert answer["ok"] and answer["detail"] == {"gpus": [0, 1], "limits_w": [400.0, 400.0], "before_w": [700.0, 650.0]}
    sample = agent.sample(lambda sample: gpu(sample, 1)["power_limit_w"] == 400)
    assert gpu(sample, 2)["power_limit_w"] == 700
    assert ask(agent, "cap", gpus=[0, 1], watts=300)["detail"]["before_w"] == [400.0, 400.0]
    answer = ask(agent, "cap", gpus=[0, 1], watts=None)
    assert answer["ok"] and answer["detail"]["limits_w"] == [700.0, 650.0]
    assert not (tmp_path / "work" / "power-limits.json").exists()
    assert "as they were" in ask(agent, "cap", gpus=[0], watts=None)["text"]


@needs_root
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("fail nvmlDeviceSetPowerManagementLimit 4 1", "lets only root set power limits"),
        ("fail nvmlDeviceSetPowerManagementLimit 3 1", "Not Supported"),
        ("gpu 1 limit_stuck 1", "was given 400 W, and its driver says 700 W"),
    ],
)
def test_a_cap_that_fails_half_way_leaves_nothing(start, nvml_state, fault, why):
    nvml_state("count 2", fault)
    agent = start("nvml")
    agent.facts(lambda facts: facts["gpus"]["uuid"] and facts["gpus"]["power_min_w"][1])
    answer = ask(agent, "cap", gpus=[0, 1], watts=400)
    assert not answer["ok"] and "GPU 1" in answer["text"] and why in answer["text"] and not answer["detail"]
    assert gpu(agent.sample(), 0)["power_limit_w"] == 700


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ({"gpus": [], "watts": 400}, "rows"), ({"gpus": [5], "watts": 400}, "rows"), ({"gpus": [0, 0], "watts": 400}, "rows"),
        ({"gpus": [0], "watts": 100}, "GPU 0 takes 210 to 700 W, not 100 W"), ({"gpus": [0], "watts": "low"}, "watts must be"),
    ],
)
def test_what_no_gpu_takes_is_refused(start, gpu_file, order, why):
    answer = ask(start(f"sim:{gpu_file.path}"), "cap", **order)
    assert not answer["ok"] and why in answer["text"]


def test_a_capped_simulated_gpu_slows_down_and_stays_capped_for_the_next_agent(start, gpu_file):
    gpu_file(chip="H100", count=2, background_load={"0": 1.0, "1": 1.0})
    agent = start(f"sim:{gpu_file.path}")
    agent.sample(lambda sample: gpu(sample, 0)["util_pct"] > 90)
    assert ask(agent, "cap", gpus=[0], watts=350)["ok"]
    another = start(f"sim:{gpu_file.path}")
    for each in (agent, another):
        sample = each.sample(lambda sample: gpu(sample, 0)["power_limit_w"] == 350 and gpu(sample, 0)["throttle"] & 0x4)
        assert gpu(sample, 0)["power_w"] <= 350 < gpu(sample, 1)["power_w"]
        assert gpu(sample, 0)["sm_clock_mhz"] < gpu(sample, 1)["sm_clock_mhz"]
    assert ask(another, "cap", gpus=[0], watts=None)["detail"]["limits_w"] == [700.0]
    assert launch(agent, gpus=[0])["ok"]
