"""The router is kept at what the fleet says, and says itself that a worker is out: against a real gateway, and one that fails."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from opsconsole.control import router as router_module
from opsconsole.control.router import AbsentRouter, Keeper, wishes_of
from opsconsole.control.routes import GatewayRouter
from opsconsole.core.events import Lost
from opsconsole.core.fleet import HUNG, UNREACHABLE, opening
from opsconsole.core.fold import fold
from opsconsole.gateway.server import Settings, open_gateway
from opsconsole.hooks import DOWN, DRAINING, READY, Backend, RouterError, Unusable
from tests.telemetry import fleet_of, linked, roster, sampled, tick, worker_fields

FLEET = fleet_of({
    "n1": [worker_fields("w1"), worker_fields("w2", state="DRAINING", gpus=[1])],
    "n2": [worker_fields("w3", port=4003)],
    "n3": [worker_fields("w4", port=None), worker_fields("w5", state="STOPPED")],
})
PATIENCE_S = 20.0


def taking(wishes):
    return [wish.worker for wish in wishes.values() if wish.takes]


def test_only_ready_workers_that_are_not_on_their_way_out_take_requests():
    wishes = wishes_of(FLEET, (), {"n2": "10.0.0.2"})
    assert list(wishes) == ["w1", "w2", "w3"] and taking(wishes) == ["w1", "w3"]
    assert wishes["w3"] == ("w3", "demo", "10.0.0.2", 4003, 4, True, "", True)
    assert taking(wishes_of(FLEET, {"w1"}, {})) == ["w3"]


def test_a_hung_node_keeps_its_routes_and_an_unreachable_one_does_not():
    hung = fold(FLEET, [Lost("n1", 105.0, HUNG, ""), Lost("n2", 105.0, UNREACHABLE, ""), tick(101.0)])
    assert taking(wishes_of(hung, (), {})) == ["w1"]


class Table:
    """A router in memory. failing: a verb that raises; hanging: one that never answers; deaf: it does not do what it is told."""

    def __init__(self):
        self.rows, self.said, self.failing, self.hanging, self.deaf, self.unusable = {}, [], "", "", False, ""

    async def _do(self, verb, worker, state=None):
        if verb == self.hanging:
            await asyncio.Event().wait()
        if verb == "add" and worker == self.unusable:
            raise Unusable(f"{worker} cannot be a server")
        if verb == self.failing:
            raise ValueError("socket \x1b[31m gone")
        if verb != "list":
            self.said.append((verb, worker))
        if state and not self.deaf and (worker in self.rows or verb == "add"):
            self.rows[worker] = state

    async def list(self):
        await self._do("list", "")
        return [Backend(worker, state, 1, 2, "demo") for worker, state in self.rows.items()]

    async def drain(self, worker):
        await self._do("drain", worker, DRAINING)

    async def ready(self, worker):
        await self._do("ready", worker, READY)

    async def add(self, worker, model, address, port, slots, resumes=False, weights=""):
        await self._do("add", worker, READY)

    async def remove(self, worker):
        await self._do("remove", worker)
        self.rows.pop(worker, None)


class Kept:
    def __init__(self, router=None, withheld=()):
        self.router, self.withheld, self.seen = router or Table(), set(withheld), asyncio.Queue()
        self.keeper = Keeper(self.router, "router x", {}, lambda: self.withheld, self.seen.put_nowait)

    @asynccontextmanager
    async def running(self, fleet=FLEET):
        task = asyncio.create_task(self.keeper.run())
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.take(fleet)
                yield self
        finally:
            task.cancel()

    async def take(self, fleet=FLEET):
        """What the keeper tells of the first round that has seen this fleet from its beginning."""
        for _ in range(2):
            while not self.seen.empty():
                self.seen.get_nowait()
            self.keeper.take(fleet)
            routed = await self.seen.get()
        return routed


async def test_ready_ones_are_added_withheld_ones_drained_and_back_ones_ready_again():
    async with Kept().running() as kept:
        assert kept.router.rows == {"w1": READY, "w3": READY}
        kept.withheld.add("w1")
        routed = await kept.take()
        assert kept.router.rows == {"w1": DRAINING, "w3": READY} and routed.queue == {"demo": 4.0} and routed.cause == ""
        kept.withheld.clear()
        await kept.take()
        assert kept.router.rows["w1"] == READY and kept.router.said[-1] == ("ready", "w1")


async def test_a_router_that_forgot_a_drain_is_told_again_and_one_that_lost_a_worker_gets_it_back():
    async with Kept(withheld={"w1"}).running() as kept:
        kept.router.rows = {"w1": READY}
        await kept.take()
        assert kept.router.rows == {"w1": DRAINING, "w3": READY}
        kept.router.rows = {"w1": DOWN, "w3": DOWN}  # it would come back by itself: fine for w3 only
        await kept.take()
        assert kept.router.rows == {"w1": DRAINING, "w3": DOWN}


async def test_a_worker_under_its_old_name_at_another_place_is_told_anew():
    async with Kept().running() as kept:
        kept.router.said.clear()
        await kept.take(fold(FLEET, [sampled("n2", 101.0, seq=2, workers=[worker_fields("w3", port=4999)]), tick(101.0)]))
        assert kept.router.said == [("add", "w3")]


async def test_who_is_gone_is_removed_but_only_by_the_word_of_its_node():
    table = Table()
    table.rows = {"old": READY}
    async with Kept(table).running(opening(roster())) as kept:
        assert table.rows == {"old": READY}  # no node has spoken yet: one of them may have it
        await kept.take(fold(opening(roster()), [linked("n1"), sampled("n1", workers=[worker_fields("w1")]), tick()]))
        assert table.rows == {"old": READY, "w1": READY}
        await kept.take(FLEET)
        assert table.rows == {"w1": READY, "w3": READY}
        await kept.take(fold(FLEET, [sampled("n2", 101.0, seq=2, workers=[]), tick(101.0)]))
        assert table.rows == {"w1": READY}


async def test_a_worker_that_the_router_cannot_have_holds_up_no_other():
    table = Table()
    table.unusable = "w1"
    async with Kept(table).running() as kept:
        assert table.rows == {"w3": READY}
        assert (await kept.take()).cause == "router x: w1 cannot be a server"


async def test_a_worker_is_out_when_the_router_says_so():
    async with Kept().running() as kept:
        kept.withheld.add("w1")
        assert await kept.keeper.confirm_out("w1") == "" and kept.router.rows["w1"] == DRAINING
        assert await kept.keeper.confirm_out("nobody") == ""
        await kept.take()
        assert kept.router.rows["w1"] == DRAINING


@pytest.mark.parametrize(("trouble", "words"), [
    ({"failing": "list"}, "router x: ValueError: socket \N{REPLACEMENT CHARACTER}[31m gone"), ({"failing": "drain"}, "ValueError"),
    ({"hanging": "list"}, "router x has not answered for"), ({"deaf": True}, "router x has w1 as ready after it was told to drain it"),
])
async def test_why_a_worker_is_not_known_to_be_out(monkeypatch, trouble, words):
    monkeypatch.setattr(router_module, "VERB_LIMIT_S", 0.1)
    monkeypatch.setattr(router_module, "CONFIRM_LIMIT_S", 0.3)
    async with Kept().running() as kept:
        for name, value in trouble.items():
            setattr(kept.router, name, value)
        kept.withheld.add("w1")
        assert words in await kept.keeper.confirm_out("w1")
        if "deaf" not in trouble and "drain" not in trouble.values():
            assert words in (await kept.take()).cause


async def test_a_router_that_no_plugin_gives_says_why():
    kept = Kept(AbsentRouter("there is no router called x"))
    async with kept.running():
        assert "there is no router called x" in (await kept.take()).cause
        assert "there is no router called x" in await kept.keeper._try_out("w1")


def entries(path):
    return {row["worker"]: row for rows in json.loads(path.read_text())["models"].values() for row in rows}


async def test_the_gateway_is_kept_through_its_file_and_confirms(tmp_path):
    path = tmp_path / "routes.json"
    GatewayRouter(path, None, ["demo", "empty"])
    assert json.loads(path.read_text()) == {"models": {"demo": [], "empty": []}} and path.stat().st_mode & 0o777 == 0o600
    async with open_gateway(Settings(path)) as gateway:
        kept = Kept(GatewayRouter(path, f"http://127.0.0.1:{gateway.port}", ["demo", "empty"]))
        async with kept.running():
            assert entries(path)["w3"] == {"worker": "w3", "url": "http://127.0.0.1:4003", "slots": 4, "resumes": True, "weights": ""}
            while ("w3", READY) not in {(backend.worker, backend.state) for backend in await kept.router.list()}:
                await asyncio.sleep(0.01)
            kept.withheld.add("w3")
            assert await kept.keeper.confirm_out("w3") == ""
            assert entries(path)["w3"]["drain"] is True
            states = {backend.worker: backend.state for backend in await kept.router.list()}
            assert states == {"w1": READY, "w3": DRAINING, "": READY}
            kept.withheld.clear()
            assert (await kept.take()).queue == {"demo": 0.0, "empty": 0.0}
            assert "drain" not in entries(path)["w3"]


async def test_a_new_console_takes_up_the_file_of_the_one_before(tmp_path):
    path = tmp_path / "routes.json"
    first = GatewayRouter(path, None, ["demo"])
    await first.add("w1", "demo", "::1", 4001, 4)
    await asyncio.sleep(0)
    assert entries(path)["w1"]["url"] == "http://[::1]:4001"
    second = GatewayRouter(path, None, ["demo"])
    assert await second.list() == [Backend("w1", READY, 0, 0, "demo")]
    path.write_text("{")
    assert await GatewayRouter(path, None, ["demo"]).list() == []


async def test_without_a_gateways_address_the_file_is_kept_and_a_drain_is_confirmed_by_it(tmp_path):
    path = tmp_path / "routes.json"
    kept = Kept(GatewayRouter(path, None, ["demo"]))
    async with kept.running():
        kept.withheld.add("w1")
        assert await kept.keeper.confirm_out("w1") == ""
        assert entries(path)["w1"]["drain"] is True and "drain" not in entries(path)["w3"]


async def test_a_gateway_that_is_down_still_gets_its_file_and_confirms_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(router_module, "CONFIRM_LIMIT_S", 0.3)
    path, url = tmp_path / "routes.json", "http://127.0.0.1:9"
    kept = Kept(GatewayRouter(path, url, ["demo"]), withheld={"w1"})
    async with kept.running():
        routed = await kept.take()
        assert list(entries(path)) == ["w3"] and url in routed.cause
        assert url in await kept.keeper.confirm_out("w1")


async def test_a_place_that_takes_nothing_is_told_and_tried_again(tmp_path):
    router = GatewayRouter(tmp_path / "state" / "routes.json", None, ["demo"])
    with pytest.raises(RouterError, match="No such file"):
        await router.add("w1", "demo", "127.0.0.1", 4001, 4)
    (tmp_path / "state").mkdir()
    await asyncio.sleep(0)
    assert entries(tmp_path / "state" / "routes.json")["w1"]["slots"] == 4
