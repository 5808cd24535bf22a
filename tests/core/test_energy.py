"""Joules and the best power limit, by hand."""

import numpy as np
import pytest

from opsconsole.core.cap_offers import cap_offers
from opsconsole.core.capacity import Capacity
from opsconsole.core.energy import CapPoint, best_cap, cap_points, energy_now, joules_per_token
from opsconsole.core.fleet import Model
from opsconsole.core.learned import Learned
from opsconsole.core.rates import Rate
from tests.telemetry import fleet_of, worker_fields

POINTS = (CapPoint(300, 600, 290, 9), CapPoint(400, 900, 390, 9), CapPoint(700, 1000, 650, 9))


def test_joules_are_watts_over_tokens():
    assert joules_per_token(2100.0, 700.0) == 3.0
    assert joules_per_token(400.0, 0.0) is None


def test_the_fleet_tells_joules_by_model_and_chip():
    workers = {"n1": [worker_fields("w1", gpus=[0, 1], tokens_per_s=200.0), worker_fields("idle", gpus=[2], tokens_per_s=0.0)],
               "n2": [worker_fields("a", gpus=[0], tokens_per_s=100.0), worker_fields("b", gpus=[0], tokens_per_s=100.0)]}
    (energy,) = energy_now(fleet_of(workers)).values()
    # two GPUs at 400 W for 200 tokens/s; those that share a GPU are left out, because whose watts they are is not known
    assert energy.joules_per_token == 4.0 and energy.watts_per_gpu == 400.0 and energy.samples == 1


def test_the_best_limit_is_where_a_joule_gives_most_of_those_that_keep_enough():
    points = POINTS
    # tokens a joule: 2.07, 2.31, 1.54
    assert best_cap(points).cap_w == 400
    assert best_cap(points, least_share=0.95).cap_w == 700
    assert best_cap(points[:1]) is None


def offers(tokens=100.0, points=POINTS):
    """One worker of a GPU at 700 W, whose capacity is 400 tokens/s."""
    fleet = fleet_of({"n1": [worker_fields("w1", gpus=[0], tokens_per_s=tokens, running=tokens / 100)]}, models=(Model("demo", slots=4),))
    learned = Learned(rates={("demo", "H100"): Rate(0.01, 0.0, 0.05, 50, 8.0)}, caps={("demo", "H100"): points})
    return cap_offers(Capacity(fleet, learned))


def test_a_better_limit_is_offered_as_a_plan_while_it_carries_what_is_asked_for():
    (offer,) = offers()
    assert (offer.watts, offer.now_w, offer.nodes) == (400, 700, ("n1",)) and offer.tokens_per_joule > offer.now_tokens_per_joule
    assert offer.mend == "opsconsole cap n1 --watts 400 --plan"
    assert offers(tokens=390.0) == ()  # 390 of 400 at 85 % need the fastest
    assert offers(points=POINTS[2:]) == ()


def test_points_are_medians_of_busy_readings_by_limit():
    caps = np.repeat([400.0, 404.0, 700.0], 10)
    running = np.tile([8.0] * 8 + [1.0, np.nan], 3)
    tokens = np.repeat([900.0, 900.0, 1000.0], 10)
    points = cap_points(caps, running, tokens, np.repeat([390.0, 390.0, 650.0], 10))
    assert [(point.cap_w, point.samples) for point in points] == [(400.0, 16), (700.0, 8)]
    assert points[0].tokens_per_joule == pytest.approx(900 / 390)
    assert cap_points(np.full(3, np.nan), np.ones(3), np.ones(3), np.ones(3)) == ()
