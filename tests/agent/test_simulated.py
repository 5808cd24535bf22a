"""GPUs from a file: their physics, their faults, and that a broken file does not blind the agent."""

from opsconsole.agent.simulated import SimulatedSource
from opsconsole.protocol import GPU_COLUMNS
from tests.agent.agent_process import gpu


def test_power_follows_load_at_once_and_temperature_slowly(start, gpu_file):
    agent = start(f"sim:{gpu_file.path}")
    idle = gpu(agent.sample(), 0)
    assert idle["util_pct"] == 0 and idle["throttle"] == 1
    gpu_file(chip="H100", count=2, seed=7, background_load={"0": 0.9})
    first = agent.sample(lambda sample: gpu(sample, 0)["util_pct"] > 80)
    busy = gpu(first, 0)
    assert busy["power_w"] > 5 * idle["power_w"] and busy["temp_c"] < idle["temp_c"] + 5
    later = gpu(agent.sample(lambda sample: sample["seq"] > first["seq"] + 10), 0)
    assert later["temp_c"] > busy["temp_c"] and later["energy_j"] > busy["energy_j"]
    assert gpu(first, 1)["util_pct"] == 0


def test_a_power_cap_and_heat_throttle(start, gpu_file):
    gpu_file(chip="H100", count=3, limits_w={"0": 400}, background_load={"0": 1.0, "1": 1.0, "2": 0.5}, hot={"1": 25})
    sample = start(f"sim:{gpu_file.path}").sample(lambda sample: sample["seq"] > 2)
    capped, hot, fine = (gpu(sample, row) for row in range(3))
    assert capped["power_w"] <= 400 and capped["throttle"] & 0x4 and capped["sm_clock_mhz"] < fine["sm_clock_mhz"]
    assert hot["throttle"] & 0x60 and hot["sm_clock_mhz"] < fine["sm_clock_mhz"]
    assert fine["throttle"] == 0


def test_faults(start, gpu_file):
    gpu_file(count=4, lost=[3], hang=[2], xid={"1": 79}, driver="570.1")
    agent = start(f"sim:{gpu_file.path}")
    facts = agent.facts()
    assert facts["driver"] == "570.1" and len(set(facts["gpus"]["uuid"])) == 4
    sample = agent.sample(lambda sample: "2" in sample["gpu_errors"])
    assert sample["gpu_errors"]["3"].startswith("LOST") and sample["gpu_errors"]["2"].startswith("PROBE_HANG")
    assert gpu(sample, 3)["power_w"] is None and gpu(sample, 2)["power_w"] is None
    assert gpu(sample, 1)["xid"] == 79


def test_a_broken_file_is_named_and_the_last_good_one_kept(start, gpu_file):
    agent = start(f"sim:{gpu_file.path}")
    uuids = agent.facts()["gpus"]["uuid"]
    gpu_file.path.write_text("{")
    facts = agent.facts(lambda facts: facts["gpu_error"])
    assert facts["gpus"]["uuid"] == uuids and str(gpu_file.path) in facts["gpu_error"]


def test_tokens_load_a_gpu_where_the_file_says_what_a_full_one_gives(gpu_file):
    workers = [((0,), 0.0, 45.0, 17, "python", 1.0), ((1,), 1.0, None, 18, "python", 1.0)]
    gpu_file(count=3, full_tokens_per_s=60)
    source = SimulatedSource(str(gpu_file.path), lambda: workers)
    source.begin()
    util = [row[GPU_COLUMNS.index("util_pct")] for row in source.reading().rows]
    assert 70 <= util[0] <= 80 and util[1:] == [0, 0]
