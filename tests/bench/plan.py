"""How long planning takes: 10,000 GPUs x 50 models, on one core.

Run: python tests/bench/plan.py [--gpus 10000] [--models 50] [--no-racks]
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from opsconsole.core.fleet import GPU_FACT_COLUMNS, LIVE, Fleet, Model, NodeFacts, Rack, Roster, Site, Worker
from opsconsole.core.plan import make_plan
from opsconsole.core.steps import Drain, Intent, Launch, Rebalance, Rollout
from opsconsole.protocol import GPU_COLUMNS, NODE_COLUMNS

GPUS_PER_NODE, SITES, RACK_NODES = 8, 10, 10
CHIPS = ("H100", "H200", "A100", "L40S", "B200")
RACK_KW = (30.0, *(34.0, 60.0) * 10)
PRICES = {"H100": 2.1, "H200": 2.9, "A100": 1.2, "L40S": 0.8, "B200": 4.0}


def a_fleet(gpus: int, models: int, with_racks: bool = True, seed: int = 1) -> Fleet:
    """Sites of mixed chips, nearly full; a fifth of the models have more requests than they can serve. Of the racks every other one can
    take a few workers more, and the rest many; one in twenty draws more than it may."""
    drawn, count = random.Random(seed), gpus // GPUS_PER_NODE
    per_site = -(-count // SITES)
    nodes = tuple(NodeFacts(f"gpu{row:05}", f"site{row // per_site}", f"rack{row // RACK_NODES}", CHIPS[row // RACK_NODES % len(CHIPS)])
                  for row in range(count))
    served = tuple(Model(f"model-{number:02}", gpus=(1, 1, 1, 2, 4, 8)[number % 6], slots=16, min_ready=1) for number in range(models))
    sites = tuple(Site(f"site{number}", power_budget_kw=per_site * GPUS_PER_NODE * 0.75, pue=1.2, price_per_gpu_hour=PRICES)
                  for number in range(SITES))
    places = sorted({(node.site, node.rack) for node in nodes}) if with_racks else []
    racks = tuple(Rack(name, site, RACK_KW[number % len(RACK_KW)]) for number, (site, name) in enumerate(places))
    values = np.full((len(GPU_COLUMNS), count * GPUS_PER_NODE), 0.0)
    for column, value in (("power_w", 350.0), ("power_limit_w", 600.0), ("mem_used_mib", 500.0), ("util_pct", 60.0)):
        values[GPU_COLUMNS.index(column)] = value
    facts = np.full((len(GPU_FACT_COLUMNS), count * GPUS_PER_NODE), 80000.0)
    total = count * GPUS_PER_NODE
    roster = Roster(
        nodes=nodes, sites=sites, racks=racks, models=served, gpu_start=np.arange(count + 1, dtype=np.int64) * GPUS_PER_NODE,
        gpu_uuid=tuple(map(str, range(total))), gpu_name=("",) * total, gpu_index=np.tile(np.arange(GPUS_PER_NODE), count), gpu_facts=facts,
    )
    workers = tuple(worker for node in nodes for worker in _workers(node, served, drawn))
    return Fleet(at=1.0, mono=1.0, roster=roster, reach=np.full(count, LIVE, np.int8), cause=("",) * count, sampled_mono=np.ones(count),
                 clock_offset_s=np.zeros(count), node_values=np.zeros((len(NODE_COLUMNS), count)), gpu_values=values, workers=workers)


def _workers(node: NodeFacts, models: tuple[Model, ...], drawn: random.Random):
    """Workers of one node, one GPU in ten left free."""
    free = 0
    while free < GPUS_PER_NODE:
        number = drawn.randrange(len(models))
        model = models[number]
        if drawn.random() < 0.1 or free + model.gpus > GPUS_PER_NODE:
            free += 1
            continue
        full = number % 5 == 0
        running, queue = (16.0, float(drawn.randrange(40))) if full else (float(drawn.randrange(6)), 0.0)
        yield Worker(
            f"{model.name}-{node.name}-{free}", node.name, model.name, "jax", tuple(range(free, free + model.gpus)), state="READY",
            slots=16, queue_depth=queue, running=running, tokens_per_s=running * drawn.uniform(30, 50) + 1,
            requests_per_s=running * 0.2 + 0.01, ttft_p95_ms=80.0, checkpoint="v1",
        )
        free += model.gpus


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--gpus", type=int, default=10_000)
    options.add_argument("--models", type=int, default=50)
    options.add_argument("--no-racks", action="store_true", help="no rack has a budget")
    asked = options.parse_args()
    fleet = a_fleet(asked.gpus, asked.models, not asked.no_racks)
    print(f"{len(fleet.roster.gpu_uuid)} GPUs on {len(fleet.roster.nodes)} nodes, {len(fleet.roster.racks)} racks with a budget, "
          f"{len(fleet.workers)} workers of {asked.models} models")
    first = fleet.workers[0]
    intents: tuple[Intent, ...] = (
        Launch("model-00"), Launch("model-00", count=100), Launch("model-03", count=20), Drain((first.node,)), Rebalance(),
        Rebalance(objective="power"), Rebalance(objective="cost"), Rollout(first.model, "v2"),
    )
    make_plan(fleet, Rebalance())  # the solver's import is paid once by a collector
    for intent in intents:
        began = time.process_time()
        plan = make_plan(fleet, intent)
        took_s = time.process_time() - began
        told = plan.refusal or next(iter(plan.checks), "")
        print(f"{took_s:7.3f} s CPU  {len(plan.steps):4} steps  {plan.title}  {told[:70]}")


if __name__ == "__main__":
    main()
