"""What is left and when it ends, by hand: a model's workers, the free GPUs, a site's power and its budget."""

from dataclasses import replace

import numpy as np
import pytest

from opsconsole.core.capacity import Capacity
from opsconsole.core.fleet import Model, Site
from opsconsole.core.forecast import Forecast
from opsconsole.core.learned import Learned
from opsconsole.core.money import month
from opsconsole.core.rates import Rate
from opsconsole.core.saturation import saturation
from tests.telemetry import fleet_of, worker_fields

HUNDRED_EACH = Rate(0.01, 0.0, 0.05, 50, 8.0)
"""One running request gives 100 tokens/s, whatever runs beside."""
MODELS = (Model("demo", checkpoint="v1", slots=4),)
SITES = (Site("ams1"),)


def busy(node_count=2, **more):
    return {f"n{n + 1}": [worker_fields(f"w{n}", running=2, tokens_per_s=200.0, requests_per_s=2.0, **more)] for n in range(node_count)}


def rising(fleet, to, in_s=3600.0, steps=60):
    """A straight line from what is asked for now."""
    times = fleet.at + in_s / steps * np.arange(1, steps + 1)
    now = sum(worker.tokens_per_s for worker in fleet.workers)
    mean = now + (to - now) * (times - fleet.at) / in_s
    ahead = Forecast(times, mean, 0.9 * mean, 1.1 * mean, "trend", 5.0, 80.0, 99)
    return Learned(rates={("demo", "H100"): HUNDRED_EACH}, demand={"demo": ahead})


def of(found, kind):
    return next(one for one in found if one.kind == kind)


def test_workers_fill_up_when_the_forecast_reaches_what_they_can_give():
    fleet = fleet_of(busy(), models=MODELS, sites=SITES)
    # two workers of four slots give 800 tokens/s at most, 400 are asked for; the line reaches 800 after half an hour
    one = of(saturation(fleet, rising(fleet, 1200.0)), "model")
    assert one.load == pytest.approx(0.5) and one.full_in_s == pytest.approx(1800, abs=61)
    # ten free GPUs would make it 4800, which is not foreseen
    assert one.ends == "" and one.in_s is None and one.horizon_s == pytest.approx(3600)
    assert one.text.startswith("demo: its 2 ready workers are full in 30 min (slots); asked for 400 of 800 tokens/s")
    # 1200 at the end of the hour, each worker 400 and none to be fuller than 85 %: 1200 / 0.85 - 800 = 612, two more
    assert one.mend == "opsconsole launch demo --count 2 --plan"


def test_gpus_end_when_all_that_is_free_is_taken_too():
    fleet = fleet_of(busy(), nodes=("n1", "n2"), models=MODELS, sites=SITES)  # 2 workers, 6 free GPUs: 3200 tokens/s in all
    one = of(saturation(fleet, rising(fleet, 6000.0)), "model")
    assert one.ends == "GPUs" and one.in_s == pytest.approx(1800, abs=61) and one.earliest_s < one.in_s


def test_without_history_only_what_is_full_now_is_told():
    fleet = fleet_of(busy(), models=MODELS, sites=SITES)
    one = of(saturation(fleet), "model")
    assert one.full_in_s is None and one.horizon_s == 0 and "no history yet" in one.text
    full = {"n1": [worker_fields("w", running=4, queue_depth=8, tokens_per_s=400.0, requests_per_s=4.0)]}
    one = of(saturation(fleet_of(full, models=MODELS, sites=SITES)), "model")
    assert one.full_in_s == 0 and one.load > 1 and one.mend.startswith("opsconsole launch demo --count")


def test_a_queue_that_grows_is_asked_for_too():
    fleet = replace(fleet_of(busy(1), models=MODELS, sites=SITES), model_queue_trend={"demo": np.arange(60.0) * 3})
    (model,) = Capacity(fleet).models
    # 200 tokens/s are served, 100 a request; 3 requests a second more pile up: 200 + 300
    assert model.demand.growth_per_s == pytest.approx(3.0) and model.demand_tokens_per_s == pytest.approx(500.0)
    assert of(saturation(fleet), "model").full_in_s == 0


def test_memory_ends_before_slots_do():
    fleet = fleet_of(busy(kv_used_pct=90.0), models=MODELS, sites=SITES)
    one = of(saturation(fleet, rising(fleet, 1200.0)), "model")
    assert one.full_in_s < 600 and "(KV cache)" in one.text  # at 95 / 90 of what is asked for now


def test_power_ends_before_gpus_do():
    # 12 GPUs at 400 W are 4.8 kW; 90 % of 6 kW leave 0.6 kW: two workers more, not ten
    site = Site("ams1", power_budget_kw=6.0)
    fleet = fleet_of(busy(), models=MODELS, sites=(site,))
    (model,) = Capacity(fleet).models
    assert (model.addable_workers, model.added_limit) == (2, "power")
    one = of(saturation(fleet, rising(fleet, 6000.0)), "model")
    assert one.ends == "power" and one.in_s is not None
    # the site: 12 GPUs draw 72 W idle each, so 3936 W follow demand; 5400 - 864 = 4536 W may: 1.15 times what is asked for now
    at_site = of(saturation(fleet, rising(fleet, 6000.0)), "site")
    assert at_site.ends == "power" and at_site.load == pytest.approx(3936 / 4536, abs=0.01) and "6.0 kW" in at_site.text


def test_what_is_not_a_gpu_draws_too():
    plain, heavy = (Site("ams1", power_budget_kw=6.0, node_overhead_w=watts) for watts in (None, 200.0))
    assert Capacity(fleet_of(busy(), models=MODELS, sites=(plain,))).models[0].addable_workers == 2
    assert Capacity(fleet_of(busy(), models=MODELS, sites=(heavy,))).models[0].addable_workers == 0


def test_a_budget_that_ends_this_month_is_foreseen_without_history():
    fleet = fleet_of(busy(), models=MODELS)
    begin, end = month(fleet.at)
    spent_h = (fleet.at - begin) / 3600
    site = Site("ams1", price_per_gpu_hour={"H100": 1.0}, budget_usd_per_month=12 * (spent_h + 5.01))
    one = of(saturation(fleet_of(busy(), models=MODELS, sites=(site,))), "site")
    assert one.ends == "budget" and one.in_s == pytest.approx(5.01 * 3600) and "$ a month) ends in 5 h" in one.text


def test_gpus_are_counted_once_and_add_up():
    fleet = fleet_of(busy(), models=MODELS, sites=SITES)
    counts = Capacity(fleet).gpus()
    assert (counts.total, counts.serving, counts.free, counts.stranded, counts.unheard) == (12, 2, 10, 0, 0)
    lost = replace(fleet, reach=np.array([0, 0, 3], np.int8))
    counts = Capacity(lost).gpus()
    assert (counts.serving, counts.free, counts.unheard) == (2, 6, 4) and sum((counts.serving, counts.free, counts.unheard)) == counts.total


def test_unknown_is_not_zero():
    fleet = fleet_of({"n1": [worker_fields("w", running=None, queue_depth=None, tokens_per_s=None, requests_per_s=None)]},
                     models=MODELS, sites=SITES)
    one = of(saturation(fleet), "model")
    assert one.load is None and one.full_in_s is None and "not known" in one.text
