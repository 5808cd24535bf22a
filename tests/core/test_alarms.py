"""What deserves a person: one situation each, and calm when there is none."""

import numpy as np
import pytest

from opsconsole.core.alarms import find_alarms
from opsconsole.core.events import Lost, Recorded, Routed
from opsconsole.core.fleet import AUTH_FAILED, UNREACHABLE, Model, Rack, Site
from opsconsole.core.fold import fold
from tests.telemetry import fleet_of, linked, sampled, tick, worker_fields

SERVING = {"n1": [worker_fields("w1")]}


def test_a_calm_fleet_alarms_nobody():
    assert fleet_of(SERVING).alarms == ()


@pytest.mark.parametrize("event, severity, words", [
    (Lost("n2", 105.0, UNREACHABLE, "no answer"), 2, "n2  UNREACHABLE"),
    (Lost("n2", 105.0, AUTH_FAILED, "no key fits"), 2, "AUTH_FAILED"),
    (sampled("n2", gpu_errors={"3": "LOST: GPU is lost"}), 2, "GPU3 LOST"),
    (sampled("n2", gpu={1: {"xid": 79}}), 2, "XID 79: fell off the bus"),
    (sampled("n2", gpu={0: {"throttle": 0x40, "temp_c": 91}, 1: {"throttle": 0x40}}), 1, "HW thermal slowdown on 2 GPUs"),
    (sampled("n2", gpu={2: {"ecc_uncorrected": 4}}), 1, "GPU2 4 uncorrected memory errors"),
    (sampled("n2", workers=[worker_fields("w2", state="FAILED", reason="out of memory")]), 2, "w2  FAILED"),
    (sampled("n2", workers=[worker_fields("w2", ttft_p95_ms=900)]), 1, "TTFT p95 900 ms, objective 100 ms"),
    (sampled("n1", workers=[]), 2, "0 of 1 workers ready"),
    (sampled("n1", workers=[worker_fields("w1", state="STARTING")]), 1, "0 of 1 workers ready"),
    (sampled("n2", wall=5000.0), 1, "clock is +4000 s off"),
    (linked("n2", gpus=4, gpu_error="Driver Not Loaded"), None, ""),
    (Routed({}, "connection refused"), 1, "router  does not answer"),
    (Routed({"demo": 0.0}, "disk full"), 1, "router  keeps old routes"),
    (Routed({"demo": 30.0}), 1, "demo  30 queued, a wait of 15 s"),
    (Routed({"demo": 3.0}), None, ""),
    (Recorded("disk full"), 1, "history  pauses"),
], ids=range(17))
def test_each_trouble_has_its_alarm(event, severity, words):
    alarms = find_alarms(fold(fleet_of(SERVING), [event, tick(101.0)]))
    assert [(alarm.severity, words in alarm.text) for alarm in alarms] == ([(severity, True)] if severity else [])


def test_a_power_cap_by_software_is_no_alarm():
    assert find_alarms(fold(fleet_of(SERVING), [sampled("n2", gpu={0: {"throttle": 0x4}})])) == ()


def test_power_over_the_budget_of_a_site_counts_its_pue():
    site = Site("ams1", power_budget_kw=5.0, pue=1.25)  # 12 GPUs x 400 W x 1.25 = 6 kW
    (alarm,) = find_alarms(fleet_of(SERVING, sites=(site,)))
    assert alarm.text == "ams1  6.0 kW drawn, budget 5.0 kW"


def test_power_over_the_budget_of_a_rack_counts_no_pue():
    racks = (Rack("r01", "ams1", 4.7), Rack("r02", "ams1", 0.1))  # all 12 GPUs x 400 W are in r01
    (alarm,) = find_alarms(fleet_of(SERVING, sites=(Site("ams1", pue=1.25),), racks=racks))
    assert (alarm.kind, alarm.subject, alarm.text) == ("power", "rack r01 of ams1", "rack r01 of ams1  4.8 kW drawn, budget 4.7 kW")


def test_an_alarm_keeps_the_time_since_when_it_stands():
    first = fold(fleet_of(SERVING), [Lost("n2", 101.0, UNREACHABLE, "no answer"), tick(101.0)])
    later = fold(first, [sampled("n1", 160.0, workers=SERVING["n1"]), sampled("n3", 160.0), tick(160.0)])
    assert later.alarms[0].since == first.alarms[0].since < later.at


def test_worst_first_then_oldest():
    fleet = fold(fleet_of(SERVING), [sampled("n3", gpu={0: {"ecc_uncorrected": 2}}), tick(101.0)])
    fleet = fold(fleet, [Lost("n2", 102.0, UNREACHABLE, "no answer"), tick(102.0)])
    assert [alarm.severity for alarm in fleet.alarms] == [2, 1]


def test_models_without_objective_or_minimum_never_alarm():
    assert fleet_of(models=(Model("demo"),)).alarms == ()


def test_a_node_that_is_gone_raises_one_alarm_not_many():
    hot = fold(fleet_of(SERVING), [sampled("n2", gpu={0: {"ecc_uncorrected": 2, "xid": 79}})])
    assert [alarm.kind for alarm in hot.alarms] == ["xid", "ecc"]
    gone = fold(hot, [Lost("n2", 105.0, UNREACHABLE, "no answer"), tick(102.0)])
    assert [alarm.kind for alarm in gone.alarms if alarm.node == "n2"] == ["reach"]
    assert not np.isnan(gone.gpu("temp_c")[4])


def test_a_slow_token_counts_against_its_own_objective():
    (alarm,) = find_alarms(fleet_of({"n1": [worker_fields("w1", itl_p95_ms=80)]}, models=(Model("demo", itl_p95_ms=50.0),)))
    assert alarm.text == "demo  ITL p95 80 ms, objective 50 ms"
