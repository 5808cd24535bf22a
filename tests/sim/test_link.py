"""A simulated link tells the same events, from the same lines, as a link over SSH."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from opsconsole.core.events import Answered, Linked, Lost, Sampled
from opsconsole.core.fleet import HUNG, UNREACHABLE, Model
from opsconsole.sim.link import SimLink
from opsconsole.sim.world import World


@pytest.fixture
async def fleet(tmp_path):
    """(world, links by name, events), the links running."""
    specs = [SimpleNamespace(name=f"n{row}", chip="H100", gpus="sim:2", work_dir=str(tmp_path)) for row in range(3)]
    world = World(specs, [Model("small", slots=8)], seed=2)
    events = []
    links = {spec.name: SimLink(spec, world) for spec in specs}
    tasks = [asyncio.create_task(link.run(events.append)) for link in links.values()]
    yield world, links, events
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition, limit_s=10.0):
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.01)


def of(events, kind, node):
    return [event for event in events if isinstance(event, kind) and getattr(event, "node", "") == node]


async def test_first_the_facts_then_a_sample_each_second(fleet):
    _, _, events = fleet
    await until(lambda: len(of(events, Sampled, "n2")) >= 2)
    mine = [event for event in events if event.node == "n2"]
    assert isinstance(mine[0], Linked) and len(mine[0].facts.gpu_uuid) == 2
    first, second = of(events, Sampled, "n2")[:2]
    assert second.sample.seq == first.sample.seq + 1
    assert 0.5 < second.mono - first.mono < 1.5


async def test_an_order_is_answered(fleet):
    world, links, events = fleet
    assert not SimLink(world.specs[0], world).send({"op": "drain"})
    await until(lambda: of(events, Sampled, "n0"))
    assert links["n0"].send({"op": "ping"})
    assert links["n0"].send({"op": "drain", "id": "d1", "worker": "nobody", "deadline_s": 1})
    await until(lambda: of(events, Answered, "n0"))
    assert of(events, Answered, "n0")[0].answer.id == "d1"


async def test_a_cut_node_is_lost_and_comes_back(fleet, tmp_path):
    _, links, events = fleet
    await until(lambda: of(events, Sampled, "n1"))
    (tmp_path / "faults.json").write_text(json.dumps({"cut": ["n1"]}))
    await until(lambda: of(events, Lost, "n1"))
    assert of(events, Lost, "n1")[0].reach == UNREACHABLE
    assert not links["n1"].send({"op": "drain"})
    (tmp_path / "faults.json").write_text("{}")
    await until(lambda: len(of(events, Linked, "n1")) == 2)
    assert len(of(events, Lost, "n1")) == 1 and not of(events, Lost, "n0")


async def test_a_silent_node_hangs(fleet):
    world, _, events = fleet
    await until(lambda: of(events, Sampled, "n1"))
    world.fault("silent", "n1")
    await until(lambda: of(events, Lost, "n1"))
    assert of(events, Lost, "n1")[0].reach == HUNG
