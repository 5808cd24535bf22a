"""The only place that rebinds the fleet: links are independent, answers are never dropped, a lost node is shown at once."""

import asyncio
import time

from opsconsole.control.watch import Watch
from opsconsole.core.events import Linked, Lost
from opsconsole.core.fleet import LIVE, UNREACHABLE, opening
from tests.control.links import ScriptedLink
from tests.telemetry import roster


class Broken(ScriptedLink):
    async def run(self, emit):
        raise RuntimeError("boom")


async def until(true, limit_s=5.0):
    give_up = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < give_up, "did not come true"
        await asyncio.sleep(0.01)


async def watching(links):
    fleets, answers = [], []
    watch = Watch(opening(roster(tuple(link.name for link in links))), links, fleets.append, answers.append)
    return watch, fleets, answers, asyncio.create_task(watch.run())


async def test_samples_of_all_links_become_one_fleet():
    watch, fleets, _, task = await watching([ScriptedLink("n1"), ScriptedLink("n2")])
    await until(lambda: (watch.fleet.reach == LIVE).all())
    assert fleets[-1] is watch.fleet and watch.fleet.gpu("power_w").size == 8
    task.cancel()


async def test_a_link_with_a_defect_takes_nobody_with_it():
    watch, _, _, task = await watching([Broken("n1"), ScriptedLink("n2")])
    await until(lambda: watch.fleet.reach.tolist() == [UNREACHABLE, LIVE])
    assert "boom" in watch.fleet.cause[0]
    task.cancel()


async def test_a_loss_is_published_before_the_next_tick():
    link = ScriptedLink("n1")
    watch, fleets, _, task = await watching([link])
    await until(lambda: fleets and fleets[-1].reach[0] == LIVE)
    before = len(fleets)
    link.sample = lambda: None
    link.emit(Lost("n1", time.monotonic(), UNREACHABLE, "cable"))
    await until(lambda: fleets[-1].reach[0] == UNREACHABLE)
    assert len(fleets) <= before + 2
    task.cancel()


async def test_answers_pass_by_the_inbox():
    link = ScriptedLink("n1")
    _, _, answers, task = await watching([link])
    await link.opened.wait()
    link.orders.append({"id": "o1"})
    link.answer(True, True, "done")
    assert isinstance(answers[0], Linked) and answers[1].answer.text == "done"
    task.cancel()
