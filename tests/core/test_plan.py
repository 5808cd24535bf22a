"""Plans as data: each file in plans/ is a situation, an intent, and the steps or the refusal that must come of them.

situation.nodes: {name: {"gpus": N, "workers": [worker fields], "gpu": {row: {column: value}}, "lost": true, "cordon": {...}, "site",
"rack", "chip", "facts": {column: value of each GPU}}}, 4 idle GPUs and no worker unless said; situation.sites: {name: fields of Site};
situation.racks: [fields of Rack];
situation.router_queue: the gateway answers and so many requests of each model wait there.
done: for an undo, the steps that its run has done.
expect.steps: the texts; expect.after: of each step; expect.refusal, expect.checks: words that must be in it; expect.changes: those that
must be among the plan's; expect.orders: fields that the order of each step must have; expect.warnings: as in Plan.
"""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from opsconsole.core.events import Lost, Routed
from opsconsole.core.fleet import HUNG, Model, NodeFacts, Policy, Rack, Site, opening
from opsconsole.core.fold import fold
from opsconsole.core.plan import confirmed_plan, make_plan
from opsconsole.core.steps import Cap, Cordon, Drain, Launch, Rebalance, Rollout, Step, Stop, Uncordon, Undo, Undrain
from opsconsole.core.undo import make_undo
from tests.telemetry import linked, roster, sampled, tick, worker_fields

CASES = sorted((Path(__file__).parent / "plans").glob("*.json"))
KINDS = {kind.__name__.lower(): kind for kind in (Launch, Drain, Undrain, Stop, Cordon, Uncordon, Rebalance, Rollout, Cap, Undo)}


def fleet_of_situation(situation):
    nodes = situation["nodes"]
    models = msgspec.convert(situation.get("models", [{"name": "demo"}]), tuple[Model, ...])
    events = []
    for name, node in nodes.items():
        gpus, idle = node.get("gpus", 4), {"mem_used_mib": 500}
        changes = {row: {**idle, **node.get("gpu", {}).get(str(row), node.get("gpu", {}).get("*", {}))} for row in range(gpus)}
        workers = [worker_fields(**worker) for worker in node.get("workers", ())]
        events.append(linked(name, gpus=gpus, gpu_columns={column: [value] * gpus for column, value in node.get("facts", {}).items()}))
        more = {"gpu_errors": node.get("gpu_errors", {}), "cordon": node.get("cordon")}
        events.append(sampled(name, gpus=gpus, gpu=changes, workers=workers, **more))
        if node.get("lost"):
            events.append(Lost(name, 101.0, HUNG, "silent for 5 s"))
    if "router_queue" in situation:
        events.append(Routed(situation["router_queue"]))
    return fold(opening(replace(roster(tuple(nodes), models=models), **_more(situation))), [*events, tick(101.0)])


def _more(situation):
    """What the roster has beside its usual nodes."""
    nodes = situation["nodes"].items()
    facts = tuple(NodeFacts(name, node.get("site", "ams1"), node.get("rack", "r01"), node.get("chip", "H100")) for name, node in nodes)
    more = {"policy": Policy(**situation.get("policy", {})), "nodes": facts}
    if "site" in situation:
        more["sites"] = (Site("ams1", **situation["site"]),)
    if "sites" in situation:
        more["sites"] = tuple(Site(name, **fields) for name, fields in situation["sites"].items())
    more["racks"] = tuple(Rack(**fields) for fields in situation.get("racks", ()))
    if "moves_streams" in situation:
        more["moves_streams"] = situation["moves_streams"]
    if "engines" in situation:
        more["engines"] = tuple(situation["engines"])
    return more


def plan_of_case(data):
    (kind, fields), = data["intent"].items()
    intent = msgspec.convert(fields, KINDS[kind])
    under_way = [Step("", step["node"], step["worker"], step.get("order", {})) for step in data.get("under_way", ())]
    fleet = fleet_of_situation(data["situation"])
    if "done" in data:
        done = [Step(step.get("text", ""), step["node"], step.get("worker", ""), step["order"]) for step in data["done"]]
        return make_undo(fleet, intent, "what was done", done, under_way)
    return make_plan(fleet, intent, under_way)


@pytest.mark.parametrize("case", CASES, ids=lambda file: file.stem)
def test_plan(case):
    data = json.loads(case.read_text())
    plan, expect = plan_of_case(data), data["expect"]
    assert [step.text for step in plan.steps] == expect.get("steps", [])
    assert bool(plan.refusal) == ("refusal" in expect), plan.refusal
    assert plan.conflict == expect.get("conflict", False)
    for words in expect.get("refusal", ()):
        assert words in plan.refusal
    for words in expect.get("checks", ()):
        assert any(words in check for check in plan.checks), plan.checks
    for change in expect.get("changes", ()):
        assert change in [list(change) for change in plan.changes]
    for step, order in zip(plan.steps, expect.get("orders", ()), strict="orders" in expect):
        assert order.items() <= step.order.items()
    assert [list(step.after) for step in plan.steps] == expect.get("after", [list(step.after) for step in plan.steps])
    assert list(plan.warnings) == expect.get("warnings", [])


def test_what_was_confirmed_is_done_or_nothing():
    fleet = fleet_of_situation({"nodes": {"n1": {}, "n2": {}}})
    intent = Launch("demo")
    shown = [step.text for step in make_plan(fleet, intent).steps]
    assert confirmed_plan(fleet, intent, shown) == make_plan(fleet, intent)
    moved = confirmed_plan(fleet, intent, ["start demo-1 on n2, GPU 3"])
    assert moved.conflict and moved.steps == () and "changed" in moved.refusal
    refused = confirmed_plan(fleet, Launch("llama"), [])
    assert refused.refusal and not refused.conflict


def test_there_are_cases_of_both_kinds_and_both_ends():
    ends = {(next(iter(data["intent"])), "refusal" in data["expect"]) for data in (json.loads(case.read_text()) for case in CASES)}
    assert ends == {(kind, is_refused) for kind in KINDS for is_refused in (False, True)}
