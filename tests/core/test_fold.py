"""What is so: batches of events against the fleet they give."""

import numpy as np
import pytest

from opsconsole.core.events import Lost, Routed, Troubled
from opsconsole.core.fleet import CONNECTING, HUNG, LIVE, NO_DRIVER, STALE, TREND_LENGTH, UNREACHABLE, opening
from opsconsole.core.fold import fold
from tests.telemetry import fleet_of, linked, roster, sampled, tick, worker_fields


def test_nothing_is_known_before_a_node_answers():
    fleet = fold(opening(roster()), [tick()])
    assert (fleet.reach == CONNECTING).all() and np.isnan(fleet.age_s).all() and fleet.gpu("util_pct").size == 0


def test_facts_and_samples_make_a_node_live():
    fleet = fleet_of({"n2": [worker_fields("w1")]})
    assert (fleet.reach == LIVE).all() and fleet.roster.gpu_start.tolist() == [0, 4, 8, 12]
    assert fleet.gpu("power_w").tolist() == [400] * 12 and fleet.workers[0].node == "n2"


def test_arrays_are_read_only():
    fleet = fleet_of()
    with pytest.raises(ValueError):
        fleet.gpu_values[0, 0] = 1


def test_folding_leaves_the_fleet_before_as_it_was():
    before = fleet_of()
    fold(before, [sampled("n1", gpu={0: {"power_w": 1}}), Lost("n2", 101.0, UNREACHABLE, "gone")])
    assert before.gpu("power_w")[0] == 400 and before.reach[1] == LIVE


def test_a_silent_node_ages_while_the_others_do_not():
    fleet = fold(fleet_of(), [sampled("n1", 103.6), sampled("n3", 103.8), tick(104.0)])
    assert fleet.reach.tolist() == [LIVE, STALE, LIVE] and fleet.age_s[1] == pytest.approx(4.0) and fleet.cause[1]
    assert fold(fleet, [sampled("n1", 110.0), tick(110.0)]).reach[1] == HUNG


def test_a_lost_node_keeps_its_last_values_with_cause_and_comes_back():
    lost = fold(fleet_of({"n1": [worker_fields("w1")]}), [Lost("n1", 105.0, UNREACHABLE, "no answer from 10.0.0.1:22"), tick(105.0)])
    assert lost.reach[0] == UNREACHABLE and lost.gpu("power_w")[0] == 400 and lost.workers[0].name == "w1" and lost.age_s[0] == 5.0
    back = fold(lost, [sampled("n1", 106.0), tick(106.0)])
    assert back.reach[0] == LIVE and back.cause[0] == "" and not back.workers


def test_another_number_of_gpus_relays_the_rows_of_that_node_only():
    fleet = fold(fleet_of(), [linked("n2", gpus=8), sampled("n2", gpus=8, gpu={7: {"power_w": 77}}), tick(101.0)])
    assert fleet.roster.gpu_start.tolist() == [0, 4, 12, 16] and fleet.gpu("power_w")[11] == 77 and fleet.gpu("power_w")[12] == 400


def test_a_sample_that_does_not_fit_its_facts_keeps_the_last_good_values():
    fleet = fold(fleet_of(), [sampled("n1", gpus=3, gpu={0: {"power_w": 1}})])
    assert fleet.gpu("power_w")[0] == 400 and "number of GPUs" in fleet.cause[0]


def test_errors_of_single_gpus_follow_their_rows():
    hurt = fold(fleet_of(), [sampled("n3", gpu_errors={"1": "LOST: GPU is lost", "60": "no such GPU"})])
    assert hurt.gpu_errors == {9: "LOST: GPU is lost"}
    moved = fold(hurt, [linked("n1", gpus=2)])
    assert moved.gpu_errors == {7: "LOST: GPU is lost"}
    assert fold(moved, [sampled("n3")]).gpu_errors == {}


def test_no_driver_is_a_reach_of_a_node_that_answers():
    fleet = fold(fleet_of(), [linked("n1", gpus=0, gpu_error="Driver/library version mismatch"), sampled("n1", gpus=0), tick(101.0)])
    assert fleet.reach[0] == NO_DRIVER and fleet.cause[0] == "Driver/library version mismatch" and fleet.answering[0]


def test_trends_grow_by_the_second_and_end_somewhere():
    fleet = fleet_of({"n1": [worker_fields("w1", queue_depth=3)]})
    for second in range(TREND_LENGTH + 5):
        fleet = fold(fleet, [tick(101.0 + second), tick(101.3 + second)])
    assert fleet.trend.shape == (6, TREND_LENGTH) and fleet.model_queue_trend["demo"].size == TREND_LENGTH


def test_the_queue_is_that_of_router_and_workers():
    fleet = fold(fleet_of({"n1": [worker_fields("w1", queue_depth=3)]}), [Routed({"demo": 7.0}), tick(101.0)])
    assert fleet.queue_of_model("demo") == 10 and fleet.trend[1, -1] == 10
    assert fleet.queue_of_model("other") is None


def test_strangers_and_troubles():
    fleet = fold(fleet_of(), [Lost("nobody", 1.0, UNREACHABLE, "x"), sampled("nobody"), Troubled("n1", "login shell is slow")])
    assert (fleet.reach == LIVE).all() and fleet.cause[0] == "login shell is slow"
