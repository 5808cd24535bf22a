"""Fleets and intents drawn at random, odd telemetry included: what a property of plans must hold for."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as some

from opsconsole.core.events import Lost, Routed
from opsconsole.core.fleet import HUNG, Fleet, Model, NodeFacts, Policy, Rack, Site, opening
from opsconsole.core.fold import fold
from opsconsole.core.steps import Cap, Cordon, Drain, Launch, Rebalance, Rollout, Step, Stop, Uncordon, Undrain
from tests.telemetry import linked, roster, sampled, tick, worker_fields

NODES, MODELS = ("n1", "n2", "n3", "n4"), ("a", "b", "c")
STATES = ("READY",) * 6 + ("STARTING", "NOT_READY", "DRAINING", "DRAINED", "STOPPED", "FAILED")
LOADS = (
    {"running": 4, "queue_depth": 30, "tokens_per_s": 120.0, "requests_per_s": 2.0, "slots": 4},
    {"running": 0, "queue_depth": 0, "tokens_per_s": 0.0, "requests_per_s": 0.0, "slots": 4},
    {"running": 1, "queue_depth": 0, "tokens_per_s": 40.0, "requests_per_s": 1.0, "slots": 4},
    {"running": None, "queue_depth": None, "tokens_per_s": None, "requests_per_s": None, "slots": None},
    {"running": 1e6, "queue_depth": 1e6, "tokens_per_s": 2000.0, "requests_per_s": 0.0, "slots": 0},
)
PRICES = {"H100": 2.0, "L40S": 0.5}

models = some.tuples(*(
    some.builds(
        Model, some.just(name), some.sampled_from(("jax",) * 7 + ("vllm",)), some.just("v1"), gpus=some.sampled_from((1, 1, 2, 4)),
        min_ready=some.sampled_from((0, 0, 1, 2)),
    ) for name in MODELS[:2]
), some.builds(Model, some.just("c"), gpu_share=some.sampled_from((0.3, 0.5, 1.0)), min_ready=some.integers(0, 1)))
sites = some.sampled_from((
    (), (Site("s1"), Site("s2")), (Site("s1", power_budget_kw=0.0), Site("s2", power_budget_kw=5.0, pue=1.3)),
    (Site("s1", power_budget_kw=8.0, price_per_gpu_hour=PRICES), Site("s2", price_per_gpu_hour={"H100": 9.0})),
    (Site("s1", price_per_gpu_hour=PRICES), Site("s2", price_per_gpu_hour={"H100": 9.0, "L40S": 9.0})),
    (Site("s1", power_budget_kw=3.0), Site("s2", power_budget_kw=8.0)),
    (Site("s1", power_budget_kw=9.0, node_overhead_w=700.0), Site("s2", pue=1.3, node_overhead_w=200.0)),
))
racks = some.sampled_from((
    (), (), (Rack("x", "s1", 2.0),), (Rack("x", "s1", 0.0), Rack("y", "s2", 5.0)), (Rack("x", "", 1.5), Rack("y", "s1", 4.0)),
    (Rack("x", "s1", 4.0), Rack("y", "s1", 2.5), Rack("x", "s2", 3.0), Rack("y", "s2", 1e6)),
))
worker = some.fixed_dictionaries({
    "model": some.sampled_from((*MODELS, "stranger")), "state": some.sampled_from(STATES),
    "gpus": some.sampled_from(("own",) * 8 + ([0, 1], [2, 3], [], [7])),
    "load": some.sampled_from((0, 0, 0, 1, 1, 1, 2, 2, 3, 4)),
    "ttft_p95_ms": some.sampled_from((None, 40.0)),
    "checkpoint": some.sampled_from(("", "v1", "v2")),
})
node = some.fixed_dictionaries({
    "workers": some.lists(worker, max_size=4), "gpus": some.sampled_from((4, 4, 4, 4, 1, 0)),
    "lost": some.sampled_from((False,) * 11 + (True,)),
    "cordon": some.sampled_from((False,) * 7 + (True,)), "used": some.sampled_from((500, 500, 500, 500, None, 9e4)),
    "power_w": some.sampled_from((300, 300, 300, 650, 90, 0, None)), "power_limit_w": some.sampled_from((700, 700, 350, None, 0)),
    "site": some.sampled_from(("s1", "s1", "s2", "")), "chip": some.sampled_from(("H100", "L40S", "odd", "")),
    "rack": some.sampled_from("xy"),
    "errors": some.sampled_from(({}, {}, {}, {"0": "GPU is lost"})),
})


@some.composite
def fleets(draw) -> Fleet:
    drawn = {name: draw(node) for name in NODES}
    facts = tuple(NodeFacts(name, one["site"], one["rack"], one["chip"]) for name, one in drawn.items())
    policy = Policy(draw(some.sampled_from((0, 1, 1, 1, 2, 2))), draw(some.sampled_from((0.0, 10.0))))
    parts = replace(roster(NODES), nodes=facts, sites=draw(sites), racks=draw(racks), models=draw(models), policy=policy)
    events = [event for name, one in drawn.items() for event in _events(name, one)]
    if draw(some.booleans()):
        events.append(Routed({name: draw(some.sampled_from((0.0, 5.0, 400.0))) for name in MODELS}))
    return fold(opening(parts), [*events, tick(101.0)])


def _events(name, one):
    values = {"power_w": one["power_w"], "power_limit_w": one["power_limit_w"], "mem_used_mib": one["used"]}
    gpu = dict.fromkeys(range(one["gpus"]), values)
    workers = [_worker(name, number, **fields) for number, fields in enumerate(one["workers"])]
    cordon = {"reason": "fan", "actor": "ann", "at": 1.0} if one["cordon"] else None
    yield linked(name, gpus=one["gpus"])
    yield sampled(name, gpus=one["gpus"], gpu=gpu, workers=workers, gpu_errors=one["errors"], cordon=cordon)
    if one["lost"]:
        yield Lost(name, 101.0, HUNG, "silent")


def _worker(node, number, load, gpus, **fields):
    return worker_fields(f"{fields['model']}-{node}-{number}", gpus=[number] if gpus == "own" else gpus, **LOADS[load], **fields)


def names_in(fleet: Fleet):
    workers = [worker.name for worker in fleet.workers] or ["ghost"]
    wild = some.lists(some.sampled_from((*NODES, *workers, "ghost")), min_size=1, max_size=3).map(tuple)
    return some.one_of(some.sampled_from(workers).map(lambda name: (name,)), some.sampled_from(NODES).map(lambda name: (name,)), wild)


@some.composite
def intents(draw, fleet: Fleet):
    names, model = names_in(fleet), some.sampled_from((*MODELS * 3, "ghost"))
    at_deadline = some.sampled_from(("hold", "extend", "migrate", "abort"))
    return draw(some.one_of(
        some.builds(Launch, model, some.sampled_from(("", "", *NODES)), some.just(()), some.sampled_from((1, 2, 5, 0, 10**9))),
        some.builds(Launch, model, some.sampled_from(NODES), some.sampled_from(((0,), (0, 1), (-1,), (99,)))),
        some.builds(Drain, names, some.just(30.0), at_deadline), some.builds(Undrain, names), some.builds(Stop, names),
        some.builds(Cordon, names), some.builds(Uncordon, names),
        some.builds(Rebalance, some.sampled_from(("", "", *MODELS)), some.sampled_from(("queue", "power", "cost"))),
        some.builds(Rollout, model, some.sampled_from(("v2", "v1", ""))),
        some.builds(Cap, some.sampled_from((*NODES, "s1", "s2", "moon")), some.sampled_from((None, 0.0, 300.0, 1200.0, 5000.0, 1e9))),
    ))


@some.composite
def under_ways(draw, fleet: Fleet):
    step = some.builds(
        lambda node, name, op, gpu: Step("", node, name, {"op": op, "model": "a", "gpus": [gpu]} if op == "launch" else {"op": op}),
        some.sampled_from(NODES), some.sampled_from([*(worker.name for worker in fleet.workers), "a-1"]),
        some.sampled_from(("launch", "drain", "undrain")), some.integers(0, 3),
    )
    return draw(some.lists(step, max_size=2))
