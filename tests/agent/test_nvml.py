"""What the agent tells of GPUs through NVML, and what it tells when they fail, hang, lie or are not there."""

import time

from opsconsole.protocol import FACTS, GPU_COLUMNS, GPU_FACTS, LINE_LIMIT_BYTES, NODE_COLUMNS
from tests.agent.agent_process import gpu


def test_facts_and_every_column(start, nvml_state):
    nvml_state("count 3", "gpu 1 util 40", "gpu 1 power_mw 350500", "gpu 1 ecc_v_corr 5", "gpu 1 ecc_v_unc 2", "gpu 1 throttle 4",
               "proc 1 1 2048")
    agent = start("nvml")
    facts = agent.facts(lambda facts: facts["gpus"]["uuid"])
    assert set(FACTS) <= set(facts)
    assert facts["driver"] == "580.95.05" and facts["gpu_error"] is None
    assert set(facts["gpus"]) == set(GPU_FACTS)
    assert facts["gpus"]["power_min_w"] == [200.0] * 3 and facts["gpus"]["mig"] == [0] * 3
    sample = agent.sample(lambda sample: sample["seq"] > 3)
    assert [len(values) for values in sample["gpu"]] == [3] * len(GPU_COLUMNS)
    assert len(sample["node"]) == len(NODE_COLUMNS) and None not in sample["node"]
    values = gpu(sample, 1)
    assert values.pop("xid") is None
    assert values.pop("energy_j") > 0
    assert values == {
        "util_pct": 40, "mem_util_pct": 20, "mem_used_mib": 2948,
        "power_w": 350.5, "power_limit_w": 700.0, "temp_c": 48, "sm_clock_mhz": 1980,
        "mem_clock_mhz": 3201, "throttle": 4, "ecc_corrected": 5, "ecc_uncorrected": 2, "pcie_rx_mib_s": 878.91, "pcie_tx_mib_s": 1171.88,
    }
    (proc,) = sample["procs"]
    assert proc[:2] == [1, 1] and isinstance(proc[2], str) and proc[3] == 2048


def test_what_is_not_supported_is_null_not_zero(start, nvml_state):
    nvml_state("count 1", "gpu 0 mig 1", "fail nvmlDeviceGetTotalEccErrors 3", "fail nvmlDeviceGetMemoryInfo 3")
    values = gpu(start("nvml").sample(), 0)
    nulls = {"util_pct", "mem_util_pct", "ecc_corrected", "ecc_uncorrected", "mem_used_mib"}
    assert all(values[column] is None for column in nulls)
    assert values["power_w"] > 0


def test_a_lost_gpu_takes_only_its_own_row(start, nvml_state):
    nvml_state("count 2", "fail nvmlDeviceGetPowerUsage 15 0", "fail nvmlDeviceGetTemperature 999 1")
    sample = start("nvml").sample()
    assert sample["gpu_errors"] == {
        "0": "LOST: GPU is lost (nvmlDeviceGetPowerUsage)", "1": "NVML_ERROR: Unknown Error (nvmlDeviceGetTemperature)",
    }
    assert set(gpu(sample, 0).values()) == {None}
    assert gpu(sample, 1)["temp_c"] is None and gpu(sample, 1)["power_w"] > 0


def test_a_hung_gpu_is_cut_out_and_comes_back(start, nvml_state):
    agent = start("nvml", interval_s=0.5)
    agent.sample(lambda sample: sample["seq"] > 2)
    begun = time.monotonic()
    nvml_state("count 2", "gpu 1 temp 77", "hang nvmlDeviceGetTemperature 6000 0")
    agent.sample(lambda sample: gpu(sample, 1)["temp_c"] == 77, within_s=3)
    sample = agent.sample(lambda sample: "0" in sample["gpu_errors"])
    assert time.monotonic() - begun < 5
    assert sample["gpu_errors"] == {"0": "PROBE_HANG: nvmlDeviceGetTemperature did not answer in 3 s"}
    assert set(gpu(sample, 0).values()) == {None} and gpu(sample, 1)["temp_c"] == 77
    nvml_state("count 2", "gpu 1 temp 78")
    agent.sample(lambda sample: gpu(sample, 1)["temp_c"] == 78, within_s=3)
    agent.sample(lambda sample: not sample["gpu_errors"] and gpu(sample, 0)["temp_c"] is not None)


def test_the_agent_ends_even_while_a_call_hangs(start, nvml_state):
    agent = start("nvml")
    agent.sample()
    nvml_state("count 2", "hang * 60000 0")
    time.sleep(0.6)
    begun = time.monotonic()
    assert agent.end() == 0
    assert time.monotonic() - begun < 2


def test_xid_is_seen(start, nvml_state):
    agent = start("nvml")
    assert gpu(agent.sample(), 1)["xid"] is None
    nvml_state("count 2", "xid 1 79")
    sample = agent.sample(lambda sample: gpu(sample, 1)["xid"] is not None, within_s=5)
    assert gpu(sample, 1)["xid"] == 79 and gpu(sample, 0)["xid"] is None


def test_init_failure_keeps_the_node_visible(start, nvml_state):
    nvml_state("fail nvmlInit 18")
    agent = start("nvml")
    facts = agent.facts(lambda facts: "nvmlInit has" not in facts["gpu_error"])
    assert "version mismatch" in facts["gpu_error"] and facts["gpus"]["uuid"] == []
    assert agent.sample()["gpu"] == [[] for _ in GPU_COLUMNS]
    nvml_state("count 1")
    assert agent.facts(lambda facts: facts["gpu_error"] is None and facts["gpus"]["uuid"])


def test_a_hanging_init_is_named(start, nvml_state):
    nvml_state("hang nvmlInit 30000")
    agent = start("nvml")
    assert "has not answered yet" in agent.facts()["gpu_error"]
    assert agent.sample()["node"]
    assert agent.facts(lambda facts: "PROBE_HANG" in facts["gpu_error"])["gpu_error"] == "PROBE_HANG: nvmlInit did not answer in 3 s"


def test_the_number_of_gpus_may_change(start, nvml_state):
    nvml_state("count 64")
    agent = start("nvml")
    assert len(agent.facts(lambda facts: facts["gpus"]["uuid"])["gpus"]["uuid"]) == 64
    nvml_state("count 0")
    assert agent.sample(lambda sample: sample["gpu"][0] == [])["gpu"][-1] == []


def test_hostile_names_and_absurd_values(start, nvml_state):
    nvml_state("count 2", "name 0 \x1b]52;c;cm0=\x07[@click=app.quit]H200\u202e", "gpu 1 util 4294967295", "gpu 1 used_mib 99999999")
    agent = start("nvml")
    name = agent.facts(lambda facts: facts["gpus"]["uuid"])["gpus"]["name"][0]
    assert name.isprintable() and "H200" in name
    assert gpu(agent.sample(), 1)["util_pct"] == 4294967295


def test_a_flood_of_processes_is_cut_to_the_line_limit(start, nvml_state):
    nvml_state("count 64", *(f"proc {row} {4000000 + index} 10" for row in range(64) for index in range(250)))
    agent = start("nvml", interval_s=1.0)
    sample = agent.sample(lambda sample: sample["procs"] and sample["seq"] > 1)
    assert len(sample["procs"]) == 512 < LINE_LIMIT_BYTES
    assert None not in sample["gpu"][GPU_COLUMNS.index("power_w")]
