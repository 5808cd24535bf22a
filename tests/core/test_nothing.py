"""What the panel of a model says in each case."""

from opsconsole.core.burn import Burn
from opsconsole.core.capacity import Capacity
from opsconsole.core.fleet import Model, Site
from opsconsole.core.learned import Learned
from opsconsole.core.nothing import if_nothing_is_done
from opsconsole.core.rates import Rate
from opsconsole.core.saturation import saturation
from tests.telemetry import fleet_of, worker_fields

RATES = {("demo", "H100"): Rate(0.01, 0.0, 0.05, 50, 8.0), ("other", "H100"): Rate(0.01, 0.0, 0.05, 50, 8.0)}
MODELS = (Model("demo", slots=4, ttft_p95_ms=100.0), Model("other", slots=4))


def said(workers, burns=(), model="demo"):
    fleet = fleet_of({"n1": workers}, models=MODELS, sites=(Site("ams1"),))
    learned = Learned(rates=RATES, burns={"demo": burns} if burns else {})
    capacity = Capacity(fleet, learned)
    return [(line.act, line.text, line.severity) for line in if_nothing_is_done(capacity, saturation(fleet, learned, capacity), model)]


def worker(name, model, running, gpu, **more):
    rates = {"tokens_per_s": 100.0 * running, "requests_per_s": float(running)}
    return worker_fields(name, model=model, running=running, gpus=[gpu], **rates, **more)


def test_a_full_model_is_told_what_helps():
    busy = [worker("d", "demo", 4, 0, queue_depth=6), *(worker(f"o{n}", "other", 1, n + 1) for n in range(3))]
    burns = (Burn(300.0, 300.0, 0.05), Burn(86400.0, 0.0, 0.0))
    # 400 served and 6 requests of 100 tokens wait: 410 asked for; at 85 % that takes 482, one worker of 400 more: 410 / 800
    first, *others = said(busy, burns)
    assert first == ("", "error budget empty at 05:04, burn 5.0 x", 2)  # a day / 5 from 00:16:40
    assert others == [
        ("", "workers full now (slots)", 2), ("launch", "+1 workers: 102 % to 51 % full", 0), ("rebalance", "other can spare 2", 0),
    ]


def test_a_calm_model_needs_nothing():
    assert said([worker("d", "demo", 1, 0)]) == [
        ("", "error budget: not known yet, nothing recorded", 0), ("", "25 % full; no history yet to tell when it is full", 0),
    ]
    assert said([worker("d", "demo", 1, 0)], (Burn(300.0, 300.0, 0.0), Burn(86400.0, 86400.0, 0.002)))[0] == (
        "", "error budget 80 % left, burn 0.0 x", 0)


def test_what_is_not_known_is_said():
    assert said([], model="ghost") == [("", "ghost is not in the fleet file: nothing is foreseen for it", 0)]
    assert said([worker("o", "other", 1, 0)], model="other")[0][1] == "no TTFT objective: no error budget to keep"
    assert ("", "the day's error budget is used up, burn 3.0 x", 2) in said(
        [worker("d", "demo", 1, 0)], (Burn(300.0, 300.0, 0.03), Burn(86400.0, 86400.0, 0.02)))
