"""Forecasts against series whose future is known: a day's wave, a straight line, noise; and the band held against what then came."""

import numpy as np
import pytest

from opsconsole.core.forecast import DAY_S, forecast

BEGIN = 1_700_006_400.0


def wave(days, step_s, noise=0.02, seed=1):
    times = BEGIN + np.arange(0, days * DAY_S, step_s)
    wobble = np.random.default_rng(seed).normal(0, noise, len(times))
    return times, 1000 * (1 + 0.25 * np.cos(2 * np.pi * (times - 15 * 3600) / DAY_S)) * (1 + wobble)


def split(times, values, steps):
    return times[:-steps], values[:-steps], times[-steps:], values[-steps:]


def test_a_wave_of_a_day_is_foreseen_with_its_season():
    times, values, later, truth = split(*wave(6, 1800), 48)
    ahead = forecast(times, values, 48)
    assert ahead.way == "season" and ahead.times == pytest.approx(later)
    assert np.abs(ahead.mean - truth).sum() / truth.sum() < 0.03
    assert ahead.error_pct < 4 and 65 <= ahead.covered_pct <= 100
    assert ((truth >= ahead.low) & (truth <= ahead.high)).mean() > 0.6


def test_the_error_that_is_shown_is_the_error_that_comes():
    told, came = [], []
    for seed in range(8):
        times, values, _, truth = split(*wave(5, 3600, 0.05, seed), 24)
        ahead = forecast(times, values, 24)
        told.append(ahead.error_pct)
        came.append(100 * np.abs(ahead.mean - truth).sum() / truth.sum())
    assert np.mean(came) == pytest.approx(np.mean(told), rel=0.35)


def test_weeks_have_a_season_too():
    times, values = wave(28, 7200, 0.01)
    values = values * (1 + 0.3 * np.cos(2 * np.pi * times / (7 * DAY_S)))
    times, values, _, truth = split(times, values, 24)
    ahead = forecast(times, values, 24)
    assert np.abs(ahead.mean - truth).sum() / truth.sum() < 0.08


def test_an_hour_has_no_season_and_a_rise_is_followed_and_damped():
    times = BEGIN + np.arange(0, 600, 10.0)
    ahead = forecast(times, 100 + 0.5 * (times - BEGIN), 30)
    assert ahead.way == "trend"
    assert ahead.mean[0] == pytest.approx(100 + 0.5 * 600, rel=0.01)
    assert ahead.mean[-1] - ahead.mean[-2] < 0.25 * (ahead.mean[1] - ahead.mean[0])  # no trend goes on for ever


def test_noise_stays_where_it_is():
    times = BEGIN + np.arange(0, 600, 10.0)
    ahead = forecast(times, 50 + np.random.default_rng(2).normal(0, 1, 60), 20)
    assert ahead.mean == pytest.approx(np.full(20, 50.0), abs=3)
    assert (ahead.low <= ahead.mean).all() and (ahead.high >= ahead.mean).all()


def test_gaps_are_bridged_and_too_little_is_said_to_be_too_little():
    times, values = wave(4, 3600)
    values[30:40] = np.nan
    assert forecast(times, values, 12).samples == len(values) - 10
    assert forecast(times[:7], values[:7], 12) is None
    assert forecast(times, np.full(len(times), np.nan), 12) is None


def test_when_a_limit_is_reached():
    times = BEGIN + np.arange(0, 600, 10.0)
    ahead = forecast(times, 100 + 0.5 * (times - BEGIN), 30)
    reached = ahead.first_above(ahead.mean[4])
    assert reached == ahead.times[4] and ahead.first_above(1e9) is None
    assert ahead.first_above(ahead.mean[4], "high") <= reached
