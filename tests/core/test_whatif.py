"""What-ifs and a day's target by hand: what is asked, what is there, what is short, and what it takes."""

from dataclasses import replace

import numpy as np
import pytest

from opsconsole.core.amounts import amount_of
from opsconsole.core.fleet import Model, NodeFacts, Site
from opsconsole.core.learned import Learned
from opsconsole.core.money import fleet_usd_per_h
from opsconsole.core.outlook import outlook, outlook_json
from opsconsole.core.rates import Rate
from opsconsole.core.whatif import WhatIfError, imagine
from tests.telemetry import fleet_of, worker_fields

HUNDRED_EACH = Rate(0.01, 0.0, 0.05, 50, 8.0)
LEARNED = Learned(rates={("demo", "H100"): HUNDRED_EACH})
MODEL = Model("demo", checkpoint="v1", slots=4)
SITES = (Site("ams1", "acme", price_per_gpu_hour={"H100": 2.0}), Site("fra1", "other", price_per_gpu_hour={"H100": 3.0}))
NODES = tuple(NodeFacts(name, site, rack, "H100") for name, site, rack in
              (("n1", "ams1", "r1"), ("n2", "ams1", "r2"), ("n3", "fra1", "r1")))


def fleet_with(workers=("n1", "n3"), tokens=300.0, model=MODEL, sites=SITES):
    """One worker of 400 tokens/s at most on each node named; 12 GPUs of 3 nodes."""
    told = {name: [worker_fields(f"w-{name}", running=tokens / 100, tokens_per_s=tokens, requests_per_s=3.0)] for name in workers}
    fleet = fleet_of(told, sites=sites, models=(model,))
    return replace(fleet, roster=replace(fleet.roster, nodes=NODES))


def then(what_if, fleet=None, **more):
    return outlook_json(*outlook(fleet or fleet_with(), LEARNED, what_if, **more))


@pytest.mark.parametrize(("expression", "lost"), [
    ("lose node n3", ["n3"]), ("lose rack ams1/r1", ["n1"]), ("lose site ams1", ["n1", "n2"]), ("lose provider other", ["n3"]),
])
def test_what_is_lost_answers_no_more(expression, lost):
    scene = imagine(fleet_with(), expression)
    assert [node.name for node, answers in zip(NODES, scene.fleet.answering, strict=True) if not answers] == lost


def test_a_lost_node_leaves_its_demand_to_the_others():
    told = then("lose node n3")
    before, after = told["before"]["models"][0], told["after"]["models"][0]
    assert (before["demand_tokens_per_s"], before["capacity_tokens_per_s"], before["load_pct"]) == (600, 800, 75)
    assert (after["demand_tokens_per_s"], after["capacity_tokens_per_s"], after["load_pct"]) == (600, 400, 150)
    # 600 at 85 % need 706: one more worker, for which there is room
    assert after["launches"] == 1 and told["gpus_needed"] == {"H100": 2} and told["gpus_short"] == {}
    assert told["gpus"]["unheard"] == 4 and told["saturation"][0]["full_in_s"] == 0
    assert told["usd_per_h_rented"] == 8 * 2.0 + 4 * 3.0  # what is lost is still rented


def test_a_surge_multiplies_what_is_asked_for():
    assert then("surge 50%")["models"][0]["demand_tokens_per_s"] == 900
    assert then("surge demo 50%, surge -50%")["models"][0]["demand_tokens_per_s"] == pytest.approx(450)


def test_prices_change_what_is_paid():
    assert fleet_usd_per_h(imagine(fleet_with(), "price H100 +50%").fleet) == pytest.approx(8 * 3.0 + 4 * 4.5)
    assert fleet_usd_per_h(imagine(fleet_with(), "price H100 1.5 at fra1").fleet) == pytest.approx(8 * 2.0 + 4 * 1.5)


def test_a_lowered_cap_slows_by_the_square_root_of_what_is_left():
    # 400 W drawn, 72 idle; to 700 W limits: 350 leave 278 of 628 W above idle
    told = then("cap n1 350")["after"]["models"][0]
    assert told["capacity_tokens_per_s"] == pytest.approx(400 + 400 * (278 / 628) ** 0.5, rel=1e-3)


def test_a_smaller_budget_leaves_less_room():
    sites = (replace(SITES[0], power_budget_kw=10.0), SITES[1])
    assert then("budget ams1 -50%", fleet_with(sites=sites))["after"]["models"][0]["addable_workers"] < 10
    assert imagine(fleet_with(sites=sites), "budget ams1 4 kW").fleet.roster.sites[0].power_budget_kw == 4.0


def test_nodes_that_come_bring_their_gpus():
    scene = imagine(fleet_with(), "add 2 nodes H100 at fra1")
    assert len(scene.fleet.roster.gpu_uuid) == 12 + 8 and scene.fleet.answering.all()
    told = then("add 2 nodes H100")
    assert told["after"]["models"][0]["addable_workers"] == 10 + 8 and told["gpus"]["total"] == 20
    assert np.isfinite(imagine(fleet_with(), "add 1 nodes B200 at fra1").fleet.gpu("power_limit_w")).all()


@pytest.mark.parametrize(("expression", "words"), [
    ("", "is no change"), ("lose everything", "is no change that could be imagined; write one of: lose node"),
    ("lose site moon", "no site is called 'moon'; known are ams1, fra1"), ("lose rack r1", "no rack is called 'r1'; known are ams1/r1"),
    ("surge ghost 5%", "no model is called 'ghost'"), ("surge -101%", "less than nothing"),
    ("price A100 +5%", "no site has a price for 'A100'"),
    ("price A100 +5% at ams1", "has no price for A100 that could change"), ("cap moon 400", "no node and no site"),
    ("cap ams1 10", "can be limited to 200 W at the least"), ("budget ams1 -5%", "has no power_budget_kw"),
    ("add 0 nodes H100", "1 to 10000 nodes"), ("add 1 nodes odd", "the chip 'odd' is not known here"),
    ("add 1 nodes B200", "no site has B200 yet; say where"), ("lose node n1; rm -rf", "is no change"),
])
def test_what_cannot_be_imagined_is_said_in_a_sentence(expression, words):
    with pytest.raises(WhatIfError) as refused:
        imagine(fleet_with(), expression)
    assert words in str(refused.value)


def test_a_days_target_needs_so_many_gpus():
    # 864 M a day are 10,000 tokens/s; at 85 % and 400 a GPU that is 11764.7 / 400 = 29.4, 30 GPUs: 12 are there, 18 short.
    # 18 GPUs of nodes with 4 are 5 nodes; racks hold one node here: 5 racks. 30 GPUs at 400 W are 12 kW; $: 30 * mean(2, 3) * 24
    told = then("", tokens_per_day=864e6)
    assert told["gpus_needed"] == {"H100": 30} and told["gpus_short"] == {"H100": 18} and told["racks_short"] == 5
    assert told["mw_needed"] == pytest.approx(30 * 400 / 1e6) and told["usd_per_day"] == pytest.approx(30 * 2.5 * 24)
    assert any("every hour of the day is alike" in text for text in told["assumptions"])
    assert told["models"][0]["launches"] == 10 and told["before"]["gpus_short"] == {}


def test_a_days_peak_is_reckoned_with_where_history_tells_it():
    fleet = fleet_with()
    peaked = outlook_json(*outlook(fleet, replace(LEARNED, peak_over_mean=1.5), tokens_per_day=864e6))
    assert peaked["models"][0]["demand_tokens_per_s"] == pytest.approx(15000)


def test_pue_and_the_rest_of_a_node_count_into_megawatts():
    sites = tuple(replace(site, pue=1.5, node_overhead_w=400.0) for site in SITES)
    told = then("", fleet_with(sites=sites), tokens_per_day=864e6)
    assert told["mw_needed"] == pytest.approx(30 * (400 + 400 / 4) * 1.5 / 1e6)


def test_a_model_nobody_has_seen_stays_unmet_and_that_is_said():
    fleet = fleet_with(workers=(), model=replace(MODEL, tokens_per_day=1e9))
    told = outlook_json(*outlook(fleet, tokens_per_day=864e6))
    assert told["models"][0]["unmet_tokens_per_s"] == pytest.approx(10_000) and told["gpus_needed"] == {}
    assert any("never seen at work" in text for text in told["assumptions"])


def test_amounts_as_people_write_them():
    assert (amount_of("20T"), amount_of("1.5g"), amount_of("2_000")) == (2e13, 1.5e9, 2000)
    assert amount_of("20X") is None and amount_of("-5") is None
