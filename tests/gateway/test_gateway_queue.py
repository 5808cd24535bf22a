"""Many requests at once: order, shares, limits, and workers that come and go under load."""

import asyncio
import json


def run(rig, story) -> None:
    async def told() -> None:
        async with rig.running():
            await story(rig)

    asyncio.run(told())


async def ask_in_order(rig, count: int, held: int = 0) -> list[asyncio.Task]:
    """Ask `count` times, each only after the one before stands in the queue or in flight (`held` are there already)."""
    tasks = []
    for number in range(count):
        tasks.append(asyncio.create_task(rig.ask(f"p{number}")))
        await rig.until(lambda state: state["in_flight"] + state["queued"] == held + len(tasks))
    return tasks


def test_requests_are_served_in_the_order_they_came(make_rig):
    async def story(rig):
        rig.workers["w-1"].go_on.clear()
        tasks = await ask_in_order(rig, 6)
        rig.workers["w-1"].go_on.set()
        assert [status for status, _ in await asyncio.gather(*tasks)] == [200] * 6
        assert rig.workers["w-1"].begun == [f"p{number}" for number in range(6)]
        assert rig.workers["w-1"].in_flight_max == 1

    run(make_rig(slots=1, w_1="answer"), story)


def test_load_is_shared_and_never_above_the_slots(make_rig):
    async def story(rig):
        for worker in rig.workers.values():
            worker.go_on.clear()
        tasks = await ask_in_order(rig, 7)
        state = await rig.state()
        assert (state["queued"], state["in_flight"]) == (1, 6)
        assert [worker["in_flight"] for worker in state["workers"].values()] == [2, 2, 2]
        assert await rig.metric("queue_depth", model="demo") == 1
        assert await rig.metric("in_flight", model="demo", worker="w-2") == 2
        for worker in rig.workers.values():
            worker.go_on.set()
        await asyncio.gather(*tasks)
        assert all(worker.in_flight_max <= 2 for worker in rig.workers.values())

    run(make_rig(slots=2, w_1="answer", w_2="answer", w_3="answer"), story)


def test_a_full_queue_refuses_at_once(make_rig):
    async def story(rig):
        rig.workers["w-1"].go_on.clear()
        tasks = await ask_in_order(rig, 3)
        async with rig.post() as answer:
            assert answer.status == 429 and answer.headers["Retry-After"] == "1"
            assert (await answer.json())["error"]["code"] == "queue_full"
        rig.workers["w-1"].go_on.set()
        assert [status for status, _ in await asyncio.gather(*tasks)] == [200] * 3

    run(make_rig(slots=1, queue_limit=2, w_1="answer"), story)


def test_a_request_that_waited_too_long_is_told_that_nobody_began_it(make_rig):
    async def story(rig):
        rig.workers["w-1"].go_on.clear()
        async with rig.post() as held:
            status, text = await rig.ask("late")
            assert status == 504 and json.loads(text)["error"]["code"] == "queue_timeout"
            rig.workers["w-1"].go_on.set()
            assert (await held.text()).endswith("[DONE]\n\n")
        assert rig.workers["w-1"].begun == ["hello"]
        assert (await rig.state())["queued"] == 0

    run(make_rig(slots=1, queue_timeout_s=0.2, w_1="answer"), story)


def test_a_worker_taken_out_of_the_routes_finishes_what_it_has(make_rig):
    async def story(rig):
        rig.workers["w-1"].go_on.clear()
        async with rig.post() as stream:
            rig.write_routes("w-2")
            state = await rig.until(lambda state: not state["workers"]["w-1"]["routed"])
            assert state["workers"]["w-1"]["in_flight"] == 1
            for _ in range(3):
                assert (await rig.ask())[0] == 200
            rig.workers["w-1"].go_on.set()
            assert (await stream.text()).endswith("[DONE]\n\n")
        await rig.until(lambda state: "w-1" not in state["workers"])
        assert len(rig.workers["w-1"].begun) == 1

    run(make_rig(w_1="answer", w_2="answer"), story)


def test_a_broken_routes_file_changes_nothing_but_is_told(make_rig, capsys):
    async def story(rig):
        rig.write_text('{"models": ')
        while not await rig.metric("routes_broken_total"):
            await asyncio.sleep(0.01)
        assert (await rig.ask())[0] == 200
        rig.settings.routes.unlink()
        while await rig.metric("routes_broken_total") < 2:
            await asyncio.sleep(0.01)
        assert (await rig.ask())[0] == 200
        assert "not JSON" in capsys.readouterr().err

    run(make_rig(w_1="answer"), story)


def test_rolling_removal_under_load_loses_nothing(make_rig):
    async def story(rig):
        rolled = asyncio.Event()
        clients = [asyncio.create_task(ask_until(rig, rolled)) for _ in range(12)]
        for name in rig.workers:
            await replace_worker(rig, name)
        rolled.set()
        answers = [answer for answers in await asyncio.gather(*clients) for answer in answers]
        lost = [answer for answer in answers if answer[0] != 200 or not answer[1].endswith("[DONE]\n\n")]
        assert lost == []
        assert sum(len(worker.begun) for worker in rig.workers.values()) == len(answers)

    run(make_rig(slots=3, w_1="answer", w_2="answer", w_3="answer"), story)


async def ask_until(rig, rolled: asyncio.Event) -> list[tuple[int, str]]:
    answers = []
    while not rolled.is_set():
        answers.append(await rig.ask())
        await asyncio.sleep(0.02)  # so that twelve clients do not fill a core
    return answers


async def replace_worker(rig, name: str) -> None:
    await rig.until(lambda state: state["workers"][name]["assigned"] > 5)
    rig.write_routes(*(other for other in rig.workers if other != name))
    await rig.until(lambda state: name not in state["workers"])
    await rig.workers[name].__aexit__()  # as a drained worker would be stopped
    await rig.workers[name].__aenter__()  # and another launched in its place
    rig.write_routes(*rig.workers)
    await rig.until(lambda state: state["workers"].get(name, {"routed": False})["routed"])
