"""Service rates against cases worked by hand: what is fitted is what was put in, and objectives limit it where they should."""

import numpy as np
import pytest

from opsconsole.core.fleet import Model
from opsconsole.core.learned import Learned
from opsconsole.core.rates import Readings, fit_rate
from opsconsole.core.serving import Serving, rates_now
from tests.telemetry import fleet_of, worker_fields

ALPHA_S, BETA_S = 0.008, 0.0005


def readings(running, noise=0.0, **more):
    running = np.asarray(running, float)
    wobble = 1 + noise * np.random.default_rng(4).standard_normal(len(running))
    nothing = np.full(len(running), np.nan)
    given = running / (ALPHA_S + BETA_S * running) * wobble
    return Readings(running, given, more.get("itl", nothing), more.get("ttft", nothing))


def test_a_batching_worker_is_fitted_as_llm_d_has_it():
    rate = fit_rate(readings(np.tile(np.arange(1, 33), 4)))
    assert (rate.alpha_s, rate.beta_s) == pytest.approx((ALPHA_S, BETA_S), rel=5e-3)
    # by hand: 16 running make a step of 8 + 16 * 0.5 = 16 ms, so 16 / 0.016 = 1000 tokens/s; twice as many give only 4/3 of it
    assert rate.tokens_per_s(16) == pytest.approx(1000, rel=5e-3) and rate.tokens_per_s(32) == pytest.approx(32 / 0.024, rel=5e-3)
    assert rate.spread < 0.02 and rate.samples == 128


def test_the_spread_is_that_of_parts_of_the_readings():
    rate = fit_rate(readings(np.repeat(np.arange(1, 25), 40), noise=0.05))
    assert rate.spread < 0.05 and rate.tokens_per_s(16) == pytest.approx(1000, rel=0.02)
    fast, slow = (np.tile(np.arange(1.0, 17.0), 12) for _ in range(2))
    given = np.concatenate([fast / 0.010, slow / 0.012])  # one worker gives a fifth less than the other
    two = fit_rate(Readings(np.concatenate([fast, slow]), given, *[np.full(len(given), np.nan)] * 2))
    assert two.spread == pytest.approx(0.09, abs=0.02) and two.tokens_per_s(8) == pytest.approx(8 / 0.011, rel=0.02)


def test_a_worker_of_one_slot_that_is_looked_at_once_a_second_is_fitted_by_littles_law():
    # 60 % of the time it serves, at 100 tokens/s; its tokens are counted, whether it runs is only looked at
    random = np.random.default_rng(8)
    served = random.uniform(0.3, 0.9, 400)
    seen = random.binomial(5, served) / 5
    nothing = np.full(400, np.nan)
    rate = fit_rate(Readings(seen, 100.0 * served, nothing, nothing))
    assert rate.tokens_per_s(1.0) == pytest.approx(100, rel=0.1)


def test_too_few_readings_and_workers_that_stand_still_show_nothing():
    assert fit_rate(readings([8, 8])) is None
    assert fit_rate(readings([0.0, 0.0, 0.0, 0.0])) is None
    assert fit_rate(Readings(np.ones(9), np.zeros(9), np.ones(9), np.ones(9))) is None


def test_a_worker_that_got_faster_with_load_is_taken_for_one_whose_steps_are_alike():
    running = np.arange(1.0, 20.0)
    odd = Readings(running, running / (0.01 - 0.0002 * running), *[np.full(19, np.nan)] * 2)
    rate = fit_rate(odd)
    assert rate.beta_s == 0 and rate.alpha_s > 0


def test_objectives_limit_how_many_may_run():
    running = np.tile(np.arange(1.0, 33.0), 3)
    rate = fit_rate(readings(running, itl=10 + 1.0 * running, ttft=np.where(running > 24, 900.0, 80.0)))
    assert rate.running_within(32, None, None) == (32.0, "slots")
    most, limit = rate.running_within(32, 30.0, None)  # 10 + n = 30
    assert most == pytest.approx(20, rel=0.02) and limit == "ITL"
    most, limit = rate.running_within(32, None, 300.0)
    # steps of 80 ms up to 24 and 900 ms from there: (1/80 - 1/300) / (1/80 - 1/900) = 0.805 of the way between their middles
    good, late = [running for running, ms in rate.ttft_steps if ms < 300][-1], [running for running, ms in rate.ttft_steps if ms > 300][0]
    assert most == pytest.approx(good + 0.805 * (late - good), abs=0.01) and limit == "TTFT"
    assert rate.running_within(32, 5.0, None) == (0.0, "ITL")


def test_latency_that_wobbles_is_pooled_so_that_it_never_falls():
    running = np.repeat([1.0, 2.0, 3.0, 4.0], 5)
    rate = fit_rate(readings(running, ttft=np.repeat([50.0, 90.0, 70.0, 100.0], 5)))
    assert [ms for _, ms in rate.ttft_steps] == pytest.approx([50, 80, 100])  # 90 and 70 are pooled


MODELS = (Model("demo", checkpoint="v1", slots=32, itl_p95_ms=30.0),)


def test_capacity_of_a_worker_is_what_keeps_its_objective_and_other_chips_are_compared():
    running = np.tile(np.arange(1.0, 33.0), 3)
    learned = Learned(rates={("demo", "H100"): fit_rate(readings(running, itl=10 + 1.0 * running))})
    serving = Serving(fleet_of(models=MODELS), learned)
    h100, h200 = serving.of(MODELS[0], "H100"), serving.of(MODELS[0], "H200")
    assert h100.tokens_per_s == pytest.approx(20 / (ALPHA_S + 20 * BETA_S), rel=0.02) and h100.limit == "ITL" and h100.samples == 96
    # an H200 reads memory 4800 / 3350 times as fast, so 10 + n becomes less and it may run more than 20, each faster
    assert h200.tokens_per_s > 4800 / 3350 * h100.tokens_per_s and h200.samples == 0
    assert any("H200: not measured, H100 times 1.43" in text for text in serving.assumptions)
    assert serving.of(Model("other"), "H100") is None


def test_without_history_the_workers_of_now_tell():
    workers = [worker_fields(f"w{n}", gpus=[n], running=n + 1, slots=4, tokens_per_s=100.0 * (n + 1)) for n in range(4)]
    fleet = fleet_of({"n1": workers})
    assert rates_now(fleet)["demo", "H100"].tokens_per_s(4) == pytest.approx(400)
    serving = Serving(fleet)
    assert serving.of_worker(fleet.workers[0]).tokens_per_s == pytest.approx(400)
    assert any("in this moment only" in text for text in serving.assumptions)
