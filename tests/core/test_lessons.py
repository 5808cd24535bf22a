"""From tables to lessons, by hand."""

import numpy as np
import pytest

from opsconsole.core import lessons

NAN = np.nan


def test_what_came_in_is_what_was_served_and_what_piled_up():
    # 10 requests/s of 200 tokens; the queue grows by 30 in 10 s, then shrinks by 30
    asked = lessons.asked_for(np.full(3, 2000.0), np.full(3, 10.0), np.array([0.0, 30.0, 0.0]), 10.0)
    assert asked.tolist() == [2000.0, 2600.0, 1400.0]
    assert np.isnan(lessons.asked_for(np.array([NAN]), np.array([NAN]), np.array([NAN]), 10.0)).all()


def test_the_routers_wait_is_littles_law():
    waits = lessons.router_wait_ms(np.array([12.0, 5.0, NAN, 7.0]), np.array([0.0, 5.0, 0.0, NAN]), np.array([4.0, 4.0, 4.0, 7.0]))
    assert waits.tolist() == [3000.0, 0.0, 0.0, 1000.0]


def test_steps_that_nobody_recorded_are_gaps():
    times, values = lessons.in_steps(np.array([100.0, 110.0, 140.0]), np.array([[1.0, 2.0, 3.0]]), 10.0)
    assert times.tolist() == [100, 110, 120, 130, 140] and values[0, [0, 1, 4]].tolist() == [1, 2, 3] and np.isnan(values[0, 2:4]).all()


def test_sums_are_unknown_only_where_nobody_was_heard():
    found = lessons.summed(["a", "a", None], np.array([[1.0, NAN, NAN], [2.0, 5.0, NAN], [9.0, 9.0, 9.0]]))
    assert list(found) == ["a"] and found["a"][:2].tolist() == [3.0, 5.0] and np.isnan(found["a"][2])


def test_joules_are_all_that_was_drawn_over_all_that_was_given():
    energy = lessons.energies([("m", "H100")], [2], np.array([[100.0, 0.0, 300.0]]), np.array([[800.0, 700.0, 1200.0]]))["m", "H100"]
    assert (energy.joules_per_token, energy.watts_per_gpu, energy.samples) == (2000 / 400, 2000 / 4, 2)


def test_tokens_of_today_and_the_days_peak():
    times = 1_700_006_400.0 + 600.0 * np.arange(144)
    assert lessons.tokens_since(times, np.full(144, 10.0), times[72]) == pytest.approx(72 * 600 * 10)
    wave = {"m": 100 * (1 + 0.25 * np.cos(2 * np.pi * times / 86400))}
    assert lessons.peak_over_mean(times, wave) == pytest.approx(1.25, abs=0.01)
    assert lessons.peak_over_mean(times[:100], {"m": wave["m"][:100]}) is None
