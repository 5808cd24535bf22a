"""Plans as data: each file in plans/ is a situation, an intent, and the steps or the refusal that must come of them.

situation.nodes: {name: {"gpus": N, "workers": [worker fields], "gpu": {row: {column: value}}, "lost": true}},
4 idle GPUs and no worker unless said; situation.router_queue: the gateway answers and so many requests of each model wait there.
expect.steps: the texts; expect.refusal: words that must be in it; expect.changes, expect.warnings: as in Plan.
"""

import json
from pathlib import Path

import msgspec
import pytest

from opsconsole.core.events import Lost, Routed
from opsconsole.core.fleet import HUNG, Model, Policy, Site, opening
from opsconsole.core.fold import fold
from opsconsole.core.plan import confirmed_plan, make_plan
from opsconsole.core.steps import Drain, Launch, Step, Undrain
from tests.telemetry import linked, roster, sampled, tick, worker_fields

CASES = sorted((Path(__file__).parent / "plans").glob("*.json"))


def fleet_of_situation(situation):
    nodes = situation["nodes"]
    models = msgspec.convert(situation.get("models", [{"name": "demo"}]), tuple[Model, ...])
    events = []
    for name, node in nodes.items():
        gpus, idle = node.get("gpus", 4), {"mem_used_mib": 500}
        changes = {row: {**idle, **node.get("gpu", {}).get(str(row), {})} for row in range(gpus)}
        workers = [worker_fields(**worker) for worker in node.get("workers", ())]
        events += [linked(name, gpus=gpus), sampled(name, gpus=gpus, gpu=changes, workers=workers, gpu_errors=node.get("gpu_errors", {}))]
        if node.get("lost"):
            events.append(Lost(name, 101.0, HUNG, "silent for 5 s"))
    more = {"policy": Policy(**situation.get("policy", {}))}
    if "site" in situation:
        more["sites"] = (Site("ams1", **situation["site"]),)
    if "router_queue" in situation:
        events.append(Routed(situation["router_queue"]))
    return fold(opening(roster(tuple(nodes), models=models, **more)), [*events, tick(101.0)])


@pytest.mark.parametrize("case", CASES, ids=lambda file: file.stem)
def test_plan(case):
    data = json.loads(case.read_text())
    (kind, fields), = data["intent"].items()
    intent = msgspec.convert(fields, {"launch": Launch, "drain": Drain, "undrain": Undrain}[kind])
    under_way = [Step("", step["node"], step["worker"], step.get("order", {})) for step in data.get("under_way", ())]
    plan = make_plan(fleet_of_situation(data["situation"]), intent, under_way)
    expect = data["expect"]
    assert [step.text for step in plan.steps] == expect.get("steps", [])
    assert bool(plan.refusal) == ("refusal" in expect)
    assert plan.conflict == expect.get("conflict", False)
    for words in expect.get("refusal", ()):
        assert words in plan.refusal
    if "changes" in expect:
        assert [list(change) for change in plan.changes] == expect["changes"]
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
    assert ends == {(kind, is_refused) for kind in ("launch", "drain", "undrain") for is_refused in (False, True)}
