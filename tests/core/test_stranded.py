"""Idle GPUs that no worker may take: each reason, its mend and its price."""

from dataclasses import replace

import numpy as np

from opsconsole.core.declared import Price
from opsconsole.core.fleet import Cordoned, Model, NodeFacts, Site, opening
from opsconsole.core.fold import fold
from opsconsole.core.learned import Learned
from opsconsole.core.rates import Rate
from opsconsole.core.stranded import stranded
from tests.telemetry import fleet_of, linked, roster, sampled, tick, worker_fields

PRICED = (Site("ams1", prices=(Price("H100", "on-demand", 2.0),)),)
ONE, FOUR = Model("small", gpus=1), Model("large", gpus=4)


def told(fleet, learned=None):
    found = stranded(fleet, learned) if learned else stranded(fleet)
    return {(one.reason, one.node, one.gpus) for one in found}


def fleet_with(models=(ONE,), sites=PRICED, chip="H100", **lines):
    nodes = tuple(NodeFacts(name, "ams1", "r1", chip) for name in ("n1", "n2"))
    events = [linked("n1"), linked("n2"), sampled("n1", **lines), sampled("n2")]
    return fold(opening(replace(roster(("n1", "n2")), nodes=nodes, models=models, sites=sites)), [*events, tick()])


def test_free_gpus_are_not_stranded():
    assert told(fleet_with()) == set()


def test_a_cordon_strands_what_is_idle_behind_it():
    fleet = replace(fleet_with(workers=[worker_fields("w", gpus=[0], model="small")]), cordons={0: Cordoned("fan", "ann", 1.0)})
    (one,) = stranded(fleet)
    assert (one.reason, one.gpus, one.usd_per_h) == ("cordoned", 3, 6.0)
    assert one.text == "cordoned by ann: fan" and one.mend == "opsconsole uncordon n1"


def test_a_strangers_memory_strands_and_is_named():
    fleet = fleet_with(gpu={1: {"mem_used_mib": 40960}}, procs=[[1, 4711, "train.py", 40960]])
    (one,) = stranded(fleet)
    assert one.reason == "memory" and "40.0 GiB of GPU 1 are in use by train.py (pid 4711)" in one.text and "end train.py" in one.mend


def test_what_is_left_beside_a_worker_may_be_too_little_for_any_model():
    fleet = fleet_with(models=(FOUR,), workers=[worker_fields("w", gpus=[0], model="odd")])
    assert told(fleet) == {("too few", "n1", 3)}


def test_a_broken_gpu_is_said_to_be_broken():
    assert told(fleet_with(gpu_errors={"2": "GPU is lost"})) == {("broken", "n1", 1)}


def test_the_wrong_generation():
    assert told(fleet_with(chip="odd")) == {("chip", "n1", 4), ("chip", "n2", 4)}
    slow = Rate(0.1, 0.0, 0.0, 9, 4.0, itl_ms=(100.0, 1.0))
    strict = (Model("small", slots=4, itl_p95_ms=50.0),)
    learned = Learned(rates={("small", "H100"): slow})
    assert told(fleet_with(models=strict), learned) == {("chip", "n1", 4), ("chip", "n2", 4)}
    assert told(fleet_with(models=(Model("small", slots=4),)), learned) == set()


def test_a_site_without_watts_strands_what_it_cannot_feed():
    # 8 GPUs of 700 W at 400 W: 3.2 kW drawn; 10 % of 4.5 kW stay free, so 0.85 kW are left: two GPUs may rise by 300 W each, six not
    site = Site("ams1", power_budget_kw=4.5, price_per_gpu_hour={"H100": 2.0})
    (one,) = stranded(fleet_with(sites=(site,)))
    assert (one.reason, one.gpus, one.usd_per_h) == ("power", 6, 12.0)
    assert one.text == "8 free GPUs may rise by 2.4 kW, ams1 has 0.8 kW left of 4.5 kW"
    assert one.mend == "opsconsole cap ams1 --watts 4050 --plan"


def test_silent_nodes_strand_nothing_because_nothing_is_known_of_them():
    fleet = fleet_of()
    assert stranded(replace(fleet, reach=np.full(3, 3, np.int8))) == ()
