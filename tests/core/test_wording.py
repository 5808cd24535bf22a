"""How the fleet is said: worst first with a reason, unknown never as zero, and the JSON that scripts rely on."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsconsole.core import wording
from opsconsole.core.events import Lost
from opsconsole.core.fleet import AUTH_FAILED, CONNECTING, REACH_WORDS, STALE, UNREACHABLE, Fleet, Rack, Site
from opsconsole.core.fold import fold
from tests.telemetry import fleet_of, sampled, tick, worker_fields
from tests.tui import fleets

NODE_KEYS = """name site rack chip reach state reason age_s gpus util_pct mem_used_mib mem_total_mib power_w power_limit_w temp_c
sm_clock_mhz queue_depth running tokens_per_s ttft_p95_ms itl_p95_ms kv_used_pct in_flight cpu_pct load1 disk_free_mib
driver python clock_offset_s""".split()
GPU_KEYS = """node index uuid name reach reason age_s util_pct mem_used_mib mem_total_mib power_w power_limit_w temp_c sm_clock_mhz
throttle mem_util_pct mem_clock_mhz ecc_corrected ecc_uncorrected pcie_rx_mib_s
pcie_tx_mib_s energy_j xid mig power_min_w power_max_w""".split()
WORKER_KEYS = """name node gpus model engine port reach state reason age_s queue_depth running tokens_per_s ttft_p95_ms itl_p95_ms
kv_used_pct in_flight phase""".split()
BUILDERS = (wording.nodes_json, wording.gpus_json, wording.workers_json, wording.models_json, wording.sites_json, wording.status_json)


def after(*events) -> Fleet:
    return fold(fleet_of({"n1": [worker_fields("w1")]}), [*events, tick(101.0)])


@pytest.mark.parametrize("make", [fleets.alarm, fleets.hostile, fleets.lost, fleets.empty, fleets.connecting, fleets.calm])
def test_every_fleet_is_valid_json(make):
    for build in BUILDERS:
        json.dumps(build(make()), allow_nan=False)


def test_rows_have_the_promised_fields():
    fleet = after()
    assert set(NODE_KEYS) <= wording.node_json(fleet, 0).keys()
    assert set(GPU_KEYS) <= wording.gpu_json(fleet, 0).keys()
    assert set(WORKER_KEYS) <= wording.workers_json(fleet)[0].keys()
    assert {"name", "ready", "workers", "objective"} <= wording.models_json(fleet)[0].keys()
    assert {"name", "power_w", "power_budget_w", "nodes", "gpus"} <= wording.sites_json(fleets.calm())[0].keys()


def test_a_site_tells_its_racks_that_have_a_budget():
    fleet = fleet_of(sites=(Site("ams1", pue=2.0), Site("ber1")), racks=(Rack("r01", "ams1", 4.0),))
    here, elsewhere = wording.sites_json(fleet)
    assert here["racks"] == [{"name": "r01", "power_w": 4800, "power_budget_w": 4000}] and elsewhere["racks"] == []
    assert here["reason"] == "rack r01: 4.8 kW drawn, budget 4.0 kW"
    lost = fold(fleet, [*(Lost(node, 101.0, UNREACHABLE, "no route") for node in ("n1", "n2", "n3")), tick(102.0)])
    assert wording.sites_json(lost)[0]["racks"][0]["power_w"] is None


def test_a_node_adds_up_its_gpus():
    node = wording.node_json(after(sampled("n2", 100.5, gpu={0: {"util_pct": 100, "temp_c": 80}})), 1)
    assert (node["util_pct"], node["power_w"], node["temp_c"], node["mem_used_mib"]) == (70, 1600, 80, 4000)


def test_a_silent_node_has_an_age_and_no_figures():
    node = wording.node_json(after(Lost("n2", 100.0, UNREACHABLE, "no route")), 1)
    assert (node["reach"], node["reason"], node["age_s"]) == ("UNREACHABLE", "no route", 1)
    assert {node[key] for key in ("util_pct", "power_w", "temp_c", "queue_depth", "mem_total_mib", "cpu_pct")} == {None}
    kept = wording.nodes_json(after(Lost("n2", 100.0, UNREACHABLE, "no route")), last_known=True)[1]
    assert kept["power_w"] == 1600


def test_an_unread_gpu_is_null_and_counted():
    fleet = after(sampled("n2", 100.5, gpu={1: {"power_w": None, "util_pct": None}}))
    gpu, node = wording.gpu_json(fleet, 5), wording.node_json(fleet, 1)
    assert (gpu["node"], gpu["index"], gpu["power_w"], gpu["util_pct"]) == ("n2", 1, None, None)
    assert (node["power_w"], node["gpus_unread"]) == (1200, 1)


def test_counts_stay_whole_and_figures_short():
    fleet = after(sampled("n1", 100.5, workers=[worker_fields("w1", queue_depth=3.0, running=2.0, tokens_per_s=12.34567)]))
    worker = wording.workers_json(fleet)[0]
    assert json.dumps([worker["queue_depth"], worker["in_flight"], worker["tokens_per_s"]]) == "[3, 5, 12.346]"


def test_in_flight_is_unknown_as_soon_as_one_worker_is():
    workers = [worker_fields("w1", running=2, queue_depth=0), worker_fields("w2", running=None, queue_depth=1)]
    node = wording.node_json(after(sampled("n1", 100.5, workers=workers)), 0)
    assert (node["in_flight"], node["queue_depth"]) == (None, 1)


@pytest.mark.parametrize("states, state", [
    ((), "ACTIVE"), (("READY",), "ACTIVE"), (("DRAINED", "DRAINED"), "DRAINED"), (("DRAINING", "READY"), "ACTIVE"),
    (("DRAINING", "DRAINED"), "DRAINING"), (("STARTING",), "ACTIVE"),
])
def test_the_state_of_a_node_is_that_of_its_workers(states, state):
    workers = [worker_fields(f"w{number}", state=each) for number, each in enumerate(states)]
    assert wording.node_json(after(sampled("n1", 100.5, workers=workers)), 0)["state"] == state


@pytest.mark.parametrize("event, severity, words", [
    (sampled("n2"), 0, ""),
    (Lost("n2", 100.0, STALE, ""), 1, "late"),
    (Lost("n2", 100.0, AUTH_FAILED, "no key fits"), 2, "no key fits"),
    (sampled("n2", gpu_errors={"3": "GPU is lost"}), 2, "GPU 3: GPU is lost"),
    (sampled("n2", gpu={1: {"xid": 79}}), 2, "Xid 79 (GPU has fallen off the bus)"),
    (sampled("n2", gpu={1: {"xid": 13}}), 0, "Xid 13"),
    (sampled("n2", gpu={0: {"throttle": 0x40}, 1: {"throttle": 0x44}}), 1, "HW thermal slowdown on 2 of 4 GPUs"),
    (sampled("n2", gpu={0: {"throttle": 0x4}}), 0, "throttled: SW power cap on 1 of 4 GPUs"),
    (sampled("n2", gpu={0: {"throttle": 0x1}}), 0, ""),
    (sampled("n2", workers=[worker_fields("w2", state="FAILED", reason="out of memory")]), 2, "worker w2 failed: out of memory"),
    (sampled("n2", workers=[worker_fields("w2", state="STARTING", phase="compile")]), 0, "worker w2 starting: compile"),
    (sampled("n2", workers=[worker_fields("w2", state="DRAINING", running=3, queue_depth=1)]), 0, "worker w2 draining, 4 in flight"),
    (sampled("n2", workers=[worker_fields("w2", state="DRAINING", running=None)]), 0, "unknown in flight"),
], ids=range(13))
def test_severity_and_reason_of_a_node(event, severity, words):
    fleet = after(event)
    assert wording.severity_of_node(fleet, 1) == severity
    reason = wording.reason_of_node(fleet, 1)
    assert words in reason and bool(words) == bool(reason)
    assert wording.reasons(fleet)[1] == reason


def test_worst_first_is_stable_and_complete():
    fleet = after(Lost("n3", 100.0, UNREACHABLE, "x"), sampled("n2", gpu={0: {"throttle": 0x40}}))
    assert wording.worst_first(fleet) == [2, 1, 0]
    calm = fleets.calm(50)
    assert wording.worst_first(calm) == list(range(50))


def test_the_order_agrees_with_severity():
    fleet = fleets.alarm()
    order = wording.worst_first(fleet)
    levels = wording.severities(fleet)[order].tolist()
    assert levels == sorted(levels, reverse=True) and sorted(order) == list(range(24))


def test_every_reach_has_a_severity_and_words():
    for reach, word in enumerate(REACH_WORDS):
        fleet = fleets.calm(2)
        fleet = replace(fleet, reach=np.array([reach, 0], np.int8))
        assert wording.severity_of_node(fleet, 0) == {"LIVE": 0, "CONNECTING": 0, "STALE": 1}.get(word, 2)
        assert bool(wording.reason_of_node(fleet, 0)) == (word != "LIVE")
    assert CONNECTING in range(len(REACH_WORDS))


def test_models_and_sites_that_only_nodes_know_are_listed():
    fleet = after(sampled("n2", 100.5, workers=[worker_fields("x1", model="stranger")]))
    assert "stranger" in [model["name"] for model in wording.models_json(fleet)]


def test_the_routers_queue_counts_for_the_model():
    fleet = replace(after(), router_queue={"m": 40.0})
    name = fleet.workers[0].model
    before = wording.models_json(fleet)[0]["queue_depth"] or 0
    assert wording.models_json(replace(fleet, router_queue={name: 40.0}))[0]["queue_depth"] == before + 40


def test_status_of_a_part_of_the_fleet():
    fleet = fleets.alarm()
    mask = np.array([node.site == "fra2" for node in fleet.roster.nodes])
    status = wording.status_json(fleet, mask)
    assert (status["nodes"], status["gpus"], status["power_budget_w"]) == (8, 64, 40_000)


@settings(derandomize=True, deadline=None)
@given(st.one_of(st.none(), st.floats(allow_nan=True)))
def test_numbers_of_any_kind_become_short_words(value):
    unknown = value is None or not math.isfinite(value)
    for say in (wording.age_text, wording.number_text, wording.count_text, wording.power_text, wording.mib_text):
        assert (say(value) == wording.UNKNOWN) == unknown
    if not unknown and abs(value) < 1e15:
        assert len(wording.count_text(abs(value))) <= 5


@pytest.mark.parametrize("said, expected", [
    (wording.age_text(0.4), "0 s"), (wording.age_text(64), "1 min"), (wording.age_text(7300), "2 h"), (wording.age_text(200_000), "2 d"),
    (wording.count_text(1234), "1.2k"), (wording.count_text(999.6), "1.0k"), (wording.count_text(34e6), "34M"),
    (wording.count_text(0), "0"),
    (wording.power_text(412.2), "412 W"), (wording.power_text(39_120), "39.1 kW"), (wording.mib_text(61_000), "59.6 GiB"),
    (wording.number_text(-0.001), "0"), (wording.number_text(3.14159, 2, "ms"), "3.14 ms"),
    (wording.at_text(0.5), "1970-01-01T00:00:00.500Z"),
])
def test_words(said, expected):
    assert said == expected


def test_a_site_costs_what_its_price_list_says_or_nobody_knows():
    priced = fleet_of(sites=(Site("ams1", price_per_gpu_hour={"H100": 2.5}),))
    assert wording.sites_json(priced)[0]["usd_per_h"] == 30  # 3 nodes x 4 GPUs
    assert wording.sites_json(fleet_of(sites=(Site("ams1", price_per_gpu_hour={"L40S": 1.0}),)))[0]["usd_per_h"] is None
