"""Fronts at the counter: frames, plans, runs and history over a real socket; refusals in words; who stalls or leaves disturbs nobody."""

import asyncio
import contextlib
import os
import socket
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from opsconsole import __version__
from opsconsole.control import places, serve, wire
from opsconsole.control.perform import Performer
from opsconsole.control.serve import Counter
from opsconsole.control.session import AsyncSession, Series, SessionError, attach
from opsconsole.core.events import Answered
from opsconsole.core.fold import fold
from opsconsole.core.ingest import Answer
from opsconsole.core.steps import Drain, Launch, Progress
from opsconsole.history.journal import Journal
from tests.telemetry import fleet_of, tick, worker_fields

FLEET = fleet_of({"n1": [worker_fields("demo-1"), worker_fields("demo-2", gpus=[1])]})


class Collector:
    """A counter on a socket in `home`, whose nodes answer every order at once."""

    def __init__(self, home, version=__version__):
        home.chmod(0o700)
        self.home, self.config = home, home / "fleet.toml"
        rows = SimpleNamespace(id="a", append=lambda *row: SimpleNamespace(seq=1, hash="0" * 64))
        self.journal = Journal(home / "runs.db")
        self.performer = Performer(self.send, lambda *note: None, rows, self.journal)
        self.performer.saw(FLEET)
        about = {"pid": os.getpid(), "version": version, "config": str(self.config)}
        self.counter = Counter(self.performer, self.read_series, about)
        self.counter.publish(FLEET)

    def send(self, node, order):
        for done, text in ((False, "1 in flight"), (True, "stopped")):
            answer = Answered(node, Answer(order["id"], True, done, text, {}))
            asyncio.get_running_loop().call_soon(self.performer.heard, answer)
        return True

    async def read_series(self, series, **query):
        if series != "gpu.power_w":
            raise ValueError(f"there is no series {series!r}")
        return Series(series, "W", np.arange(3.0), np.array([1.0, np.nan, 3.0]))

    async def attach(self):
        self.fleets, self.lost = [], []
        return await AsyncSession.attach(self.config, self.home, self.fleets.append, self.lost.append)


@contextlib.asynccontextmanager
async def collecting(home, **given):
    collector = Collector(home, **given)
    collector.server = await collector.counter.open(places.socket_path(home))
    yield collector
    collector.server.close()
    await collector.performer.close()
    collector.journal.close()


async def settled(true):
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("did not come true")


async def test_a_front_gets_the_fleet_at_once_and_every_one_after(tmp_path):
    async with collecting(tmp_path) as collector:
        session = await collector.attach()
        await settled(lambda: collector.fleets)
        assert [worker.name for worker in collector.fleets[0].workers] == ["demo-1", "demo-2"] and not collector.counter.idle
        collector.counter.publish(fold(FLEET, [tick(107.0)]))
        await settled(lambda: len(collector.fleets) == 2)
        assert collector.fleets[1].mono == 107.0 and collector.fleets[1].roster is collector.fleets[0].roster
        await session.close()
        await settled(lambda: collector.counter.idle)


async def test_the_socket_is_private(tmp_path):
    async with collecting(tmp_path):
        assert places.socket_path(tmp_path).stat().st_mode & 0o777 == 0o600


async def test_a_plan_is_made_shown_and_carried_out(tmp_path):
    async with collecting(tmp_path) as collector:
        session = await collector.attach()
        plan = await session.plan(Drain(("demo-2",)))
        first, *progress = [news async for news in session.act(plan)]
        assert first.run and replace(first, run="") == plan
        assert [(one.text, one.done) for one in progress] == [("1 in flight", False), ("stopped", True)]
        assert all(isinstance(one, Progress) and one.worker == "demo-2" for one in progress)
        await session.close()


async def test_a_plan_that_no_longer_holds_is_not_carried_out(tmp_path):
    async with collecting(tmp_path) as collector:
        session = await collector.attach()
        plan = await session.plan(Launch("demo"))
        collector.counter.publish(fleet_of({"n2": [worker_fields("demo-1")]}))
        (only,) = [news async for news in session.act(plan)]
        assert only.conflict and not collector.performer.under_way
        await session.close()


async def test_history_and_its_refusal_in_words(tmp_path):
    async with collecting(tmp_path) as collector:
        session = await collector.attach()
        series = await session.history("gpu.power_w", node="n1", gpu=0)
        assert series.unit == "W" and np.isnan(series.values[1])
        with pytest.raises(SessionError, match="no series 'gpu.soul'"):
            await session.history("gpu.soul")
        await session.close()


async def test_the_end_of_the_collector_is_told_once_and_later_requests_say_so(tmp_path):
    async with collecting(tmp_path) as collector:
        session = await collector.attach()
        for front in list(collector.counter._fronts):
            front._writer.close()
        await settled(lambda: collector.lost)
        with pytest.raises(SessionError, match="has ended"):
            await session.plan(Launch("demo"))
        assert len(collector.lost) == 1
        await session.close()


@pytest.mark.parametrize("version, config, words", [("0.0.0", "fleet.toml", "is version 0.0.0"), (__version__, "other.toml", "watches by")])
async def test_another_version_or_fleet_file_is_a_conflict(tmp_path, version, config, words):
    async with collecting(tmp_path, version=version):
        with pytest.raises(SessionError, match=words) as caught:
            await AsyncSession.attach(tmp_path / config, tmp_path, print, print)
        assert caught.value.exit_code == 6


async def test_a_front_that_does_not_read_misses_frames_and_delays_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(serve, "BACKLOG_LIMIT_BYTES", 200_000)
    async with collecting(tmp_path) as collector:
        stalled = socket.socket(socket.AF_UNIX)
        stalled.connect(str(places.socket_path(tmp_path)))
        stalled.sendall(wire.pack({"k": "subscribe"}))
        session = await collector.attach()
        await settled(lambda: len(collector.counter._fronts) == 2 and all(front.subscribed for front in collector.counter._fronts))
        for second in range(300):
            collector.counter.publish(fold(FLEET, [tick(200.0 + second)]))
            await asyncio.sleep(0)
        await settled(lambda: collector.fleets[-1].mono == 499.0)
        assert max(front._writer.transport.get_write_buffer_size() for front in collector.counter._fronts) < 400_000
        stalled.close()
        await session.close()


@pytest.mark.parametrize("said", [b"\xff\xff\xff\xff", wire.LENGTH.pack(3) + b"\xc1\xc1\xc1", wire.pack({"k": "nonsense"}), b""])
async def test_who_speaks_something_else_is_shown_out(tmp_path, said):
    async with collecting(tmp_path) as collector:
        reader, writer = await asyncio.open_unix_connection(places.socket_path(tmp_path))
        writer.write(said)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        await settled(lambda: collector.counter.idle)
        writer.close()


async def test_runs_are_listed_watched_and_told(tmp_path):
    async with collecting(tmp_path) as collector:
        session = await collector.attach()
        collector.performer._hands = collector.performer._hands._replace(send=lambda node, order: True)
        acting = session.act(await session.plan(Drain(("demo-2",), actor="ana")))
        run_id = (await anext(acting)).run
        (run,) = await session.runs()
        assert (run.id, run.state, run.plan.intent.actor) == (run_id, "OPEN", "ana") and await session.runs(run_id[:5]) == [run]
        await settled(lambda: collector.performer.runs()[0].steps[0].state == "SENT")
        await session.tell(run_id, "let go")
        assert [news async for news in acting] == []
        assert [news.state async for news in session.watch(run_id)] == ["INTERRUPTED"]
        with pytest.raises(SessionError, match="interrupted already"):
            await session.tell(run_id, "let go")
        with pytest.raises(SessionError, match="no run 'who'"):
            await session.runs("who")
        collector.performer._hands = collector.performer._hands._replace(send=collector.send)
        assert [one.text async for one in session.resume(run_id, actor="eve")] == ["1 in flight", "stopped"]
        (run,) = [news async for news in session.watch(run_id)]
        assert run.id == run_id and run.state == "DONE"
        await session.close()
        await settled(lambda: collector.counter.idle)


async def test_a_run_keeps_the_collector_awake_and_one_that_was_let_go_does_not(tmp_path):
    async with collecting(tmp_path) as collector:
        session = await collector.attach()
        collector.performer._hands = collector.performer._hands._replace(send=lambda node, order: True)
        run_id = (await anext(session.act(await session.plan(Drain(("demo-2",)))))).run
        await session.close()
        await settled(lambda: not collector.counter._fronts)
        assert not collector.counter.idle
        await collector.performer.tell(run_id, "let go")
        await settled(lambda: collector.counter.idle)


async def test_nodes_are_asked_for_the_heads_that_they_keep(tmp_path):
    async with collecting(tmp_path) as collector:
        kept = {"audit": "a", "seq": 3, "hash": "f" * 64}

        def send(node, order):
            told = {"n1": [kept, {**kept, "seq": "3"}, {**kept, "hash": "short"}, "x"], "n2": "nonsense"}
            answer = Answer(order["id"], True, True, "", {"anchors": told.get(node)})
            asyncio.get_running_loop().call_soon(collector.performer.heard, Answered(node, answer))
            return node != "n3"

        collector.performer.questions._send = send
        with await asyncio.to_thread(attach, collector.config, tmp_path) as session:
            assert await asyncio.to_thread(session.anchors) == {"n1": [kept], "n2": None, "n3": None}
