"""When the public asks, as plain values."""

import json

import pytest

from opsconsole.sim.arrivals import Arrivals, BrokenPlan, Demand, parse_plan
from opsconsole.sim.tally import Tally


def arrivals_of(seed: int = 1, now_s: float = 0.0, **plan: Demand) -> Arrivals:
    arrivals = Arrivals(seed)
    arrivals.replace(plan, now_s)
    return arrivals


def test_a_plan_names_the_demand_of_each_model():
    text = '{"models": {"demo": {"requests_per_s": 6.0, "max_tokens": [16, 64], "burst": 0.3}}}'
    assert parse_plan(text) == {"demo": Demand(6.0, 16, 64, 0.3)}


@pytest.mark.parametrize("demand", [
    {"requests_per_s": -1, "max_tokens": [1, 2]},
    {"requests_per_s": 1, "max_tokens": [2, 1]},
    {"requests_per_s": 1, "max_tokens": 2},
    {"requests_per_s": 1},
    {"requests_per_s": 1, "max_tokens": [1, 2], "burst": 2},
    {"requests_per_s": 1, "max_tokens": [1, 2], "unknown": 2},
    7,
])
def test_a_broken_plan_is_refused(demand):
    with pytest.raises(BrokenPlan):
        parse_plan(json.dumps({"models": {"demo": demand}}))


@pytest.mark.parametrize("burst", [0.0, 0.3, 1.0])
def test_the_mean_rate_is_the_plans_whatever_the_burst(burst):
    arrivals = arrivals_of(demo=Demand(10.0, 16, 64, burst)).take_due(1000.0)
    assert len(arrivals) == pytest.approx(10_000, rel=0.05)
    assert {arrival.max_tokens for arrival in arrivals} == set(range(16, 65))


def test_a_seed_gives_the_same_arrivals_however_often_one_looks():
    demand = Demand(5.0, 1, 9, 0.5)
    at_once = arrivals_of(demo=demand).take_due(100.0)
    bit_by_bit = arrivals_of(demo=demand)
    assert [arrival for second in range(101) for arrival in bit_by_bit.take_due(second)] == at_once
    assert arrivals_of(seed=2, demo=demand).take_due(100.0) != at_once


def test_one_models_plan_does_not_move_anothers():
    demand = Demand(5.0, 1, 9)
    alone = arrivals_of(demo=demand).take_due(50.0)
    both = arrivals_of(demo=demand, other=Demand(50.0, 1, 9))
    both.take_due(10.0)
    both.replace({"demo": demand, "other": Demand(0.0, 1, 9)}, 10.0)
    rest = both.take_due(50.0)
    assert {arrival.model for arrival in rest} == {"demo"}
    assert len(rest) < len(alone)
    assert rest == alone[-len(rest):]


def test_a_plan_of_nothing_is_never_due():
    arrivals = arrivals_of(demo=Demand(0.0, 1, 9))
    assert arrivals.next_s() is None and arrivals.take_due(1e9) == []


def test_a_new_plan_counts_from_the_moment_it_came():
    arrivals = arrivals_of(demo=Demand(0.0, 1, 9))
    arrivals.replace({"demo": Demand(5.0, 1, 9)}, 1000.0)
    assert arrivals.next_s() > 1000.0


def test_ttft_is_unknown_until_an_answer_began_lately():
    tally = Tally()
    assert tally.ttft_p95_ms(0.0) is None
    for index in range(100):
        tally.note_ttft(0.0, index / 1000)
    assert tally.ttft_p95_ms(1.0) == 94.0
    assert tally.ttft_p95_ms(60.0) is None
