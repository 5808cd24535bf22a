"""Error-budget burn against the figures of the Site Reliability Workbook."""

import numpy as np
import pytest

from opsconsole.core import burn
from opsconsole.core.burn import Burn, budget_left, burns, empty_in_s

NOW = 1_700_000_000.0


def told(failed_share, seconds=86400, step=60.0):
    """One worker, failing in the last `failed_share` of the seconds, two requests a second."""
    times = NOW - np.arange(seconds, 0, -step) + step
    late = times > NOW - failed_share * seconds
    return burns(times, np.where(late, 500.0, 50.0)[None, :], np.full((1, len(times)), 2.0), 100.0, NOW)


def test_the_workbooks_example_14_4_empties_a_period_in_a_14th_of_it():
    # at 14.4 a month's budget lasts 30 d / 14.4 = 50 h, and one hour uses 2 % of it; ours is a day: 24 h / 14.4 = 100 min
    steady = (Burn(300.0, 300.0, 0.144), Burn(86400.0, 0.0, 0.0))
    assert steady[0].burn == pytest.approx(burn.PAGE_BURN)
    assert empty_in_s(steady) == pytest.approx(6000.0)
    assert 3600 * 14.4 / (30 * 86400) == pytest.approx(0.02)


def test_a_day_with_a_hundredth_of_failures_uses_the_budget_up():
    day = told(0.01)
    assert day[-1].burn == pytest.approx(1.0, rel=0.05) and budget_left(day) == pytest.approx(0.0, abs=0.05)
    assert day[0].burn == pytest.approx(100.0)  # all of the last five minutes
    assert empty_in_s(told(0.02)) == 0.0


def test_a_quiet_day_never_runs_empty_and_silence_is_not_success():
    calm = told(0.0)
    assert budget_left(calm) == 1.0 and empty_in_s(calm) is None
    nothing = burns(np.array([NOW - 60, NOW]), np.full((1, 2), np.nan), np.zeros((1, 2)), 100.0, NOW)
    assert nothing[0].burn is None and budget_left(nothing) is None and empty_in_s(nothing) is None


def test_only_what_was_seen_counts_as_used():
    hour = told(0.5, seconds=3600)  # half of one hour failed: 0.5 / 0.01 = 50 times too fast, for a 24th of the day
    assert budget_left(hour) == pytest.approx(1 - 50 / 24, rel=0.03)


def test_workers_weigh_by_what_they_serve():
    times = NOW - np.arange(300, 0, -1.0) + 1
    latency = np.stack([np.full(300, 500.0), np.full(300, 50.0)])
    requests = np.stack([np.full(300, 1.0), np.full(300, 9.0)])
    assert burns(times, latency, requests, 100.0, NOW)[0].failed_share == pytest.approx(0.1)
