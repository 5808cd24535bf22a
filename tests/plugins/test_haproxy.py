"""The router `haproxy` against a real HAProxy: workers join, drain and leave under streams, over a reload, and when it is hung or gone."""

import asyncio
import contextlib
import json
from urllib.parse import urlsplit

import pytest

from opsconsole.control import router as router_module
from opsconsole.control.router import Keeper
from opsconsole.hooks import DOWN, DRAINING, READY, Misfit, RouterError, RouterSettings, Unusable
from opsconsole.plugins import Plugins
from opsconsole_haproxy.options import read_options
from opsconsole_haproxy.router import open_router
from opsconsole_haproxy.runtime import ask
from tests.gateway.conftest import StandIn
from tests.plugins.haproxy_process import BINARY, HAProxyProcess
from tests.telemetry import fleet_of, worker_fields

needs_haproxy = pytest.mark.skipif(not BINARY, reason="needs haproxy")
PATIENCE_S = 40.0


def settings(folder, options, models=("demo",)):
    return RouterSettings(None, options, models, folder)


@contextlib.asynccontextmanager
async def rig(folder, servers="", workers=2):
    """HAProxy, stand-in workers, and our router for them."""
    async with asyncio.timeout(PATIENCE_S), contextlib.AsyncExitStack() as stack:
        haproxy = await stack.enter_async_context(HAProxyProcess(folder, servers))
        workers = [await stack.enter_async_context(StandIn()) for _ in range(workers)]
        yield haproxy, workers, open_router(settings(folder, haproxy.options))


def port_of(worker):
    return urlsplit(worker.url).port


async def add(router, name, worker, slots=8):
    await router.add(name, "demo", "127.0.0.1", port_of(worker), slots)


async def states(router):
    return {backend.worker: backend.state for backend in await router.list() if backend.worker}


async def until(router, wanted):
    while await states(router) != wanted:
        await asyncio.sleep(0.02)


async def stream(session, prompt="hello"):
    body = {"model": "demo", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    async with session.post("/v1/chat/completions", json=body) as answer:
        return answer.status, await answer.text()


@needs_haproxy
async def test_workers_join_and_leave_without_a_reload(tmp_path):
    async with rig(tmp_path) as (haproxy, (one, two), router):
        assert await router.list() and await states(router) == {}
        await add(router, "w-1", one)
        await until(router, {"w-1": READY})
        async with haproxy.client() as session:
            assert (await stream(session))[0] == 200
            await add(router, "w-1", two)  # under its old name at another place
            await until(router, {"w-1": READY})
            assert (await stream(session))[0] == 200 and (len(one.begun), len(two.begun)) == (1, 1)
        await router.drain("w-1")
        assert await states(router) == {"w-1": DRAINING}
        await router.remove("w-1")
        await router.remove("w-1")
        assert await states(router) == {} and "w-1" not in await ask(haproxy.socket, "show servers state")


@needs_haproxy
async def test_streams_run_on_while_their_worker_is_drained_and_none_is_lost(tmp_path):
    async with rig(tmp_path) as (haproxy, workers, router):
        for number, worker in enumerate(workers):
            await add(router, f"w-{number}", worker)
            worker.go_on.clear()
        await until(router, {"w-0": READY, "w-1": READY})
        async with haproxy.client() as session:
            held = [asyncio.create_task(stream(session)) for _ in range(8)]
            while sum(worker.in_flight for worker in workers) < 8:
                await asyncio.sleep(0.01)
            await router.drain("w-0")
            [drained] = [backend for backend in await router.list() if backend.worker == "w-0"]
            assert drained.state == DRAINING and drained.in_flight == workers[0].in_flight > 0
            begun = len(workers[0].begun)
            workers[1].go_on.set()
            assert [status for status, _ in await asyncio.gather(*(stream(session) for _ in range(20)))] == [200] * 20
            assert len(workers[0].begun) == begun
            workers[0].go_on.set()
            answers = await asyncio.gather(*held)
            assert all(status == 200 and text.endswith("[DONE]\n\n") for status, text in answers)
            while any(backend.in_flight for backend in await router.list()):
                await asyncio.sleep(0.02)
            await router.remove("w-0")
            await router.remove("w-0")
            assert await states(router) == {"w-1": READY} and (await stream(session))[0] == 200


@needs_haproxy
async def test_one_that_is_removed_with_a_stream_on_it_goes_when_the_stream_has_ended(tmp_path):
    async with rig(tmp_path, workers=1) as (haproxy, (worker,), router):
        await add(router, "w-1", worker)
        await until(router, {"w-1": READY})
        worker.go_on.clear()
        async with haproxy.client() as session:
            held = asyncio.create_task(stream(session))
            while not worker.in_flight:
                await asyncio.sleep(0.01)
            await router.remove("w-1")
            assert await states(router) == {"w-1": DRAINING}
            worker.go_on.set()
            assert (await held)[1].endswith("[DONE]\n\n")
        while await states(router):
            await router.remove("w-1")


@needs_haproxy
async def test_a_reload_keeps_a_drain_and_the_keeper_brings_back_who_was_added(tmp_path):
    async with StandIn() as static:
        server = f"server w-1 127.0.0.1:{port_of(static)} check inter 100ms"
        async with rig(tmp_path, server, workers=1) as (haproxy, (worker,), router):
            fleet = fleet_of({"n1": [worker_fields("w-1", port=port_of(static)), worker_fields("w-2", port=port_of(worker), gpus=[1])]})
            seen = asyncio.Queue()
            withheld = {"w-1"}
            keeper = Keeper(router, "router haproxy", {}, lambda: withheld, seen.put_nowait)
            await add(router, "w-1", static)
            keeper.take(fleet)
            keeping = asyncio.create_task(keeper.run())
            await until(router, {"w-1": DRAINING, "w-2": READY})
            assert await keeper.confirm_out("w-1") == ""
            assert haproxy.state_file.stat().st_mode & 0o777 == 0o600
            static.go_on.clear()
            await haproxy.reload()
            # the new process begins with the drain: nothing is ever sent to w-1, however late the keeper comes
            async with haproxy.client() as session:
                assert (await states(router))["w-1"] == DRAINING
                await until(router, {"w-1": DRAINING, "w-2": READY})
                assert (await stream(session))[0] == 200
            assert not static.begun and worker.begun
            await ask(haproxy.socket, "set server llm/w-1 state ready")  # as a reload without the state file would
            await until(router, {"w-1": DRAINING, "w-2": READY})
            keeping.cancel()


@needs_haproxy
async def test_a_server_of_somebody_else_is_never_touched_and_ours_are_known_again(tmp_path):
    async with rig(tmp_path, "server theirs 127.0.0.1:9 disabled", workers=1) as (haproxy, (worker,), router):
        await add(router, "w-1", worker)
        await until(router, {"w-1": READY})
        again = open_router(settings(tmp_path, haproxy.options))  # another console on the same state
        assert await states(again) == {"w-1": READY}
        await again.remove("w-1")
        assert "theirs" in await ask(haproxy.socket, "show servers state") and await states(again) == {}


@needs_haproxy
async def test_a_worker_that_died_is_down_and_not_out(tmp_path):
    async with rig(tmp_path, workers=1) as (haproxy, (worker,), router):
        await add(router, "w-1", worker)
        await until(router, {"w-1": READY})
        await worker.__aexit__()
        await until(router, {"w-1": DOWN})
        await worker.__aenter__()


HOSTILE = ["w1;disable frontend door", "w1\nset server llm/w-1 state maint", "../x", "w 1", "", "-x", "x" * 200, "w\\;1", "BACKEND\r", "é"]


@needs_haproxy
async def test_a_hostile_name_is_no_command_and_holds_up_nobody(tmp_path):
    async with rig(tmp_path, workers=1) as (haproxy, (worker,), router):
        for name in HOSTILE:
            with pytest.raises(Unusable):
                await router.add(name, "demo", "127.0.0.1", 1234, 4)
            await router.drain(name), await router.ready(name), await router.remove(name)
            with pytest.raises((RouterError, Unusable)):
                await ask(haproxy.socket, f"set server llm/{name} state maint" if name in HOSTILE[:2] else "x;y")
        for address in ("127.0.0.1:1 weight 256", "no-such-host.invalid", "1;2"):
            with pytest.raises(Unusable):
                await router.add("w-2", "demo", address, 1234, 4)
        workers = [worker_fields(name, port=1234) for name in HOSTILE[:1]] + [worker_fields("w-1", port=port_of(worker), gpus=[1])]
        seen = asyncio.Queue()
        keeper = Keeper(router, "router haproxy", {}, set, seen.put_nowait)
        keeper.take(fleet_of({"n1": workers}))
        keeping = asyncio.create_task(keeper.run())
        assert "cannot be a server" in (await seen.get()).cause
        await until(router, {"w-1": READY})
        async with haproxy.client() as session:
            assert (await stream(session))[0] == 200
        keeping.cancel()


@needs_haproxy
async def test_a_haproxy_that_hangs_or_is_gone_is_named_and_no_drain_is_confirmed(tmp_path, monkeypatch):
    monkeypatch.setattr(router_module, "CONFIRM_LIMIT_S", 0.1)
    monkeypatch.setattr("opsconsole_haproxy.runtime.ANSWER_LIMIT_S", 0.3)
    async with rig(tmp_path, workers=1) as (haproxy, (worker,), router):
        await add(router, "w-1", worker)
        keeper = Keeper(router, "router haproxy", {}, set, print)
        haproxy.hang()
        assert "HAProxy has not answered for" in await keeper.confirm_out("w-1")
    assert "is HAProxy running" in await keeper.confirm_out("w-1")


@needs_haproxy
async def test_a_backend_that_is_missing_is_said(tmp_path):
    async with rig(tmp_path) as (haproxy, _, _):
        router = open_router(settings(tmp_path, {"socket": haproxy.socket, "backends": {"demo": "nothing"}}))
        with pytest.raises(RouterError, match="no backend nothing"):
            await router.list()


async def test_an_answer_without_end_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr("opsconsole_haproxy.runtime.ANSWER_LIMIT_BYTES", 1000)

    async def flood(reader, writer):
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x" * 4096)
                await writer.drain()

    async with await asyncio.start_unix_server(flood, tmp_path / "s"):
        with pytest.raises(RouterError, match="more than"):
            await ask(str(tmp_path / "s"), "show stat")


def test_it_is_found_by_its_entry_point(install):
    install("haproxy")
    plugins = Plugins({"haproxy"})
    assert [(found.name, found.state, found.adds) for found in plugins.found if found.name == "haproxy"] == [
        ("haproxy", "loaded", ("router haproxy",))]
    assert not plugins.routers["haproxy"].moves_streams


MISFITS = [
    ({}, "socket"), ({"socket": "admin.sock"}, "socket"), ({"socket": "/" + "x" * 120}, "socket"), ({"socket": 3}, "socket"),
    ({"backends": 3}, "backends"), ({"backends": {"nobody": "b"}}, "backends"), ({"backends": {"demo": "b;c"}}, "backends"),
    ({"host": 3}, "host"), ({"host": ""}, "host"), ({"host": "lb01"}, "host"),  # these settings know no other machine
    ({"state_file": "here"}, "state_file"), ({"check_interval_ms": 1}, "check_interval_ms"), ({"sockets": "/x"}, "sockets"),
]


@pytest.mark.parametrize(("options", "key"), MISFITS)
def test_options_that_do_not_suit_are_named(tmp_path, options, key):
    given = options if not options or "socket" in options else {"socket": "/run/h.sock", **options}
    with pytest.raises(Misfit) as caught:
        read_options(settings(tmp_path, given))
    assert caught.value.key == f"options.{key}"


def test_two_models_never_share_a_backend(tmp_path):
    given = {"socket": "/s", "backends": {"a": "x", "b": "x"}}
    with pytest.raises(Misfit, match="two models"):
        read_options(settings(tmp_path, given, ("a", "b")))
    assert read_options(settings(tmp_path, {"socket": "/s"}, ("a", "b"))).backends == {"a": "a", "b": "b"}


def test_what_it_remembers_is_data_of_a_stranger_too(tmp_path):
    (tmp_path / "haproxy-servers.json").write_text(json.dumps({"w-1": True, "w;2": True}))
    assert open_router(settings(tmp_path, {"socket": "/s"}))._ours == {"w-1": True}
    (tmp_path / "haproxy-servers.json").write_text("[")
    assert open_router(settings(tmp_path, {"socket": "/s"}))._ours == {}
