"""How a worker ends: at once, when all is done, or at its deadline; and nobody is cut without being named."""

import asyncio
import json

import pytest

from opsconsole.worker import farewell
from opsconsole.worker.api import ApiError
from opsconsole.worker.farewell import CUT_AT_DEADLINE, Farewell
from opsconsole.worker.lifecycle import Lifecycle


class Work:
    """Requests that are over when told so."""

    def __init__(self, lifecycle, *ids):
        self.lifecycle, self.ids, self.errors = lifecycle, list(ids), []
        self.running, self.waiting = len(ids), 0
        for _ in ids:
            lifecycle.opened()

    def open_ids(self):
        return list(self.ids)

    def cut(self, error):
        self.errors.append(error)
        self.finish_all()

    def finish_all(self):
        while self.ids:
            self.ids.pop()
            self.lifecycle.closed()

    def totals(self):
        return {"tokens_total": 3}


class Stage:
    def __init__(self, *ids, deadline_s=None, is_ready=True):
        self.lifecycle = Lifecycle()
        if is_ready:
            self.lifecycle.ready()
        self.work = Work(self.lifecycle, *ids)
        self.farewell = Farewell(self.lifecycle, self.work, deadline_s, lambda: None)
        self.failed = asyncio.Event()

    async def ended(self):
        return await asyncio.wait_for(self.farewell.wait(self.failed), 60)


def told(capsys, event):
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in lines if line["event"] == event]


@pytest.mark.parametrize("is_ready", [True, False])
async def test_with_nothing_to_finish_it_ends_at_once(is_ready):
    stage = Stage(is_ready=is_ready)
    stage.farewell.ask_to_end()
    assert await stage.ended() == 0


async def test_without_a_deadline_it_waits_and_tells_what_is_left(monkeypatch, capsys):
    monkeypatch.setattr(farewell, "TELL_INTERVAL_S", 0.001)
    stage = Stage("a", "b")
    waiting = asyncio.create_task(stage.ended())
    stage.farewell.ask_to_end()
    lines = []
    while len(lines) < 4:
        await asyncio.sleep(0.001)
        lines += told(capsys, "draining")
    assert not waiting.done() and lines[-1] == {"event": "draining", "in_flight": 2, "running": 2, "waiting": 0}
    stage.work.finish_all()
    assert await waiting == 0 and not stage.work.errors


async def test_at_the_deadline_what_is_left_is_named_and_told(capsys):
    stage = Stage("a", "b", deadline_s=0.001)
    stage.farewell.ask_to_end()
    assert await stage.ended() == CUT_AT_DEADLINE == 5
    assert told(capsys, "deadline") == [{"event": "deadline", "cut": 2, "ids": ["a", "b"]}]
    (error,) = stage.work.errors
    assert isinstance(error, ApiError) and (error.status, error.code) == (503, "drain_deadline")


async def test_clients_that_do_not_read_that_they_are_cut_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(farewell, "CUT_LIMIT_S", 0.001)
    stage = Stage("a", deadline_s=0.001)
    stage.work.finish_all, finish = lambda: None, stage.work.finish_all
    stage.farewell.ask_to_end()
    assert await stage.ended() == CUT_AT_DEADLINE and stage.work.ids == ["a"]
    finish()


async def test_a_deadline_that_comes_too_late_cuts_nobody():
    stage = Stage("a", deadline_s=0.001)
    stage.farewell.ask_to_end()
    stage.work.finish_all()
    await asyncio.sleep(0.01)
    assert await stage.ended() == 0 and not stage.work.errors


async def test_a_failure_is_the_status_and_the_last_word(capsys):
    stage = Stage("a")
    stage.lifecycle.fail("the engine broke")
    stage.failed.set()
    status = await stage.ended()
    stage.farewell.say_goodbye(status)
    (line,) = told(capsys, "ended")
    assert line == {"event": "ended", "status": 1, "tokens_total": 3, "reason": "the engine broke"} and list(line)[-1] == "reason"
