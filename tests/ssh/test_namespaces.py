"""Real nodes that hang, vanish and come back: what the console says of them, when, and that the others never notice."""

import asyncio
import time

import pytest

from opsconsole.core.events import Linked, Lost, Sampled
from opsconsole.core.fleet import HUNG, UNREACHABLE
from opsconsole.ssh.link import Shared, SshLink
from tests import nvml_library
from tests.ssh.namespaces import Fleet, why_not
from tests.ssh.sshd import running, settings

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
NODES = 4
SEEN_WITHIN_S = 5.0
BACK_WITHIN_S = 12.0


@pytest.fixture
def fleet(tmp_path):
    environment = {}
    if nvml_library.HAS_COMPILER:
        (tmp_path / "lib").mkdir()
        nvml_library.write_state(tmp_path / "gpus.txt")
        environment = nvml_library.environment(nvml_library.build(tmp_path / "lib"), tmp_path / "gpus.txt")
    made = Fleet(tmp_path / "fleet", NODES, environment).up()
    yield made
    made.down()


def links_to(fleet, shared):
    return [SshLink(fleet.node(number), shared) for number in range(1, NODES + 1)]


def is_of(name):
    return lambda event: event.node == name


def longest_gap_s(heard, name, since_mono):
    """Between samples of a node, up to now."""
    times = [since_mono, *(event.mono for event in heard.events if isinstance(event, Sampled) and event.node == name), time.monotonic()]
    times = [moment for moment in times if moment >= since_mono]
    return max(after - before for before, after in zip(times, times[1:], strict=False))


async def everyone_samples(heard):
    for number in range(1, NODES + 1):
        await heard.first(Sampled, 20.0, where=is_of(f"n{number}"))


async def test_hung_and_parted_nodes_are_named_while_others_go_on(fleet):
    shared = Shared.from_config(settings(fleet.known_hosts))
    async with running(shared, *links_to(fleet, shared)) as heard:
        await everyone_samples(heard)
        linked = heard.count(Linked)
        since_mono, before = time.monotonic(), len(heard.events)
        fleet.hang(1)
        fleet.part(2)
        hung = await heard.first(Lost, 8.0, before, is_of("n1"))
        parted = await heard.first(Lost, 8.0, before, is_of("n2"))
        assert (hung.reach, parted.reach) == (HUNG, UNREACHABLE), (hung.cause, parted.cause)
        assert hung.mono - since_mono <= SEEN_WITHIN_S and parted.mono - since_mono <= SEEN_WITHIN_S
        assert "accepts connections but its agent has been silent for 4." in hung.cause and "no answer" in parted.cause
        fleet.unhang(1)
        await heard.first(Sampled, 3.0, heard.events.index(hung), is_of("n1"))
        assert heard.count(Linked) == linked, "a short stall needs no new connection"
        fleet.heal(2)
        await heard.first(Sampled, BACK_WITHIN_S, heard.events.index(parted), is_of("n2"))
        for name in ("n3", "n4"):
            assert longest_gap_s(heard, name, since_mono) < 2.5
            assert not [event for event in heard.events if isinstance(event, Lost) and event.node == name]


async def test_a_node_that_hangs_for_long_is_connected_anew(fleet):
    shared = Shared.from_config(settings(fleet.known_hosts))
    async with running(shared, *links_to(fleet, shared)) as heard:
        await everyone_samples(heard)
        linked = heard.count(Linked)
        fleet.hang(1)
        await asyncio.sleep(13.0)
        before = len(heard.events)
        fleet.unhang(1)
        await heard.first(Sampled, BACK_WITHIN_S, before, is_of("n1"))
        assert heard.count(Linked) == linked + 1
        assert all(event.reach == HUNG for event in heard.events if isinstance(event, Lost))


async def test_sessions_outlive_their_listener(fleet):
    shared = Shared.from_config(settings(fleet.known_hosts))
    async with running(shared, *links_to(fleet, shared)) as heard:
        await everyone_samples(heard)
        fleet.kill_sshd(1)
        before = len(heard.events)
        for _ in range(2):
            await heard.first(Sampled, 3.0, before, is_of("n1"))
            before = len(heard.events)
        assert heard.count(Lost) == 0


async def test_a_jump_host_that_vanishes_is_the_one_cause_for_all_behind_it(fleet):
    door, *others = (fleet.node(number) for number in range(1, NODES + 1))
    for told in others[:2]:
        told.jump = "n1"
    given = settings(fleet.known_hosts)
    given.nodes = (door, *others)
    shared = Shared.from_config(given)
    async with running(shared, *(SshLink(told, shared) for told in others)) as heard:
        for told in others:
            await heard.first(Sampled, 20.0, where=is_of(told.name))
        since_mono, before = time.monotonic(), len(heard.events)
        fleet.part(1)
        for told in others[:2]:
            lost = await heard.first(Lost, 8.0, before, is_of(told.name))
            assert lost.cause.startswith("jump n1: ") and lost.mono - since_mono <= SEEN_WITHIN_S
        fleet.heal(1)
        for told in others[:2]:
            await heard.first(Sampled, BACK_WITHIN_S, len(heard.events), is_of(told.name))
        assert longest_gap_s(heard, others[2].name, since_mono) < 2.5
