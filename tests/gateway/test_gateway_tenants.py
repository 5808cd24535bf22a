"""Tenants and deadlines through a running gateway: nobody starves, and who cannot be served in time is told so at once."""

import asyncio
import json

from tests.gateway.test_gateway_queue import ask_in_order, run


def test_a_tenant_with_many_requests_does_not_starve_another(make_rig):
    async def story(rig):
        rig.workers["w-1"].go_on.clear()
        crowd = await ask_in_order(rig, 6)
        other = asyncio.create_task(rig.ask("mine", headers={"X-Tenant": "small"}))
        await rig.until(lambda state: state["in_flight"] + state["queued"] == 7)
        rig.workers["w-1"].go_on.set()
        assert [status for status, _ in await asyncio.gather(*crowd, other)] == [200] * 7
        assert rig.workers["w-1"].begun.index("mine") <= 2

    run(make_rig(slots=1, w_1="answer"), story)


def test_a_greedy_tenant_makes_room_in_a_full_queue(make_rig):
    async def story(rig):
        rig.workers["w-1"].go_on.clear()
        crowd = await ask_in_order(rig, 4)  # one in flight, three wait
        other = asyncio.create_task(rig.ask("mine", headers={"X-Tenant": "small"}))
        status, text = await crowd[3]
        assert status == 429 and json.loads(text)["error"]["code"] == "queue_full"
        rig.workers["w-1"].go_on.set()
        assert [status for status, _ in await asyncio.gather(*crowd[:3], other)] == [200] * 4
        assert await rig.outcome("queue_full") == 1 and (await rig.state())["queued"] == 0

    run(make_rig(slots=1, queue_limit=3, w_1="answer"), story)


def test_a_request_leaves_the_queue_at_its_deadline(make_rig):
    async def story(rig):
        rig.workers["w-1"].go_on.clear()
        async with rig.post() as held:
            async with rig.post("late", headers={"X-Deadline-Ms": "150"}) as answer:
                assert answer.status == 503 and answer.headers["Retry-After"] == "1"
                assert (await answer.json())["error"]["code"] == "expired"
            assert (await rig.state())["queued"] == 0 and await rig.metric("expired_total", model="demo") == 1
            rig.workers["w-1"].go_on.set()
            await held.text()
        assert rig.workers["w-1"].begun == ["hello"]

    run(make_rig(slots=1, w_1="answer"), story)


def test_what_is_known_to_be_too_late_does_not_wait_at_all(make_rig):
    async def story(rig):
        worker = rig.workers["w-1"]
        worker.go_on.clear()
        async with rig.post() as slow:
            await asyncio.sleep(0.3)  # the pace that the gateway learns
            worker.go_on.set()
            await slow.text()
        await rig.outcome("ok")
        worker.go_on.clear()
        async with rig.post() as held:
            async with rig.post("late", headers={"X-Deadline-Ms": "50"}) as answer:
                assert answer.status == 503 and int(answer.headers["Retry-After"]) >= 1
                assert (await answer.json())["error"]["code"] == "too_late"
            worker.go_on.set()
            await held.text()
        assert await rig.metric("expired_total") == 0 and len(worker.begun) == 2

    run(make_rig(slots=1, w_1="answer"), story)


def test_state_tells_each_worker_and_metrics_tell_no_tenant(make_rig):
    async def story(rig):
        rig.workers["w-1"].go_on.clear()
        async with rig.post(headers={"X-Tenant": "acme-secret"}) as stream:
            entry = {"worker": "w-1", "url": rig.workers["w-1"].url, "slots": 2, "drain": True}
            rig.write_text(json.dumps({"models": {"demo": [entry]}}))
            await rig.until(lambda state: state["workers"]["w-1"]["state"] == "draining")
            async with rig.session.get(rig.url + "/state") as answer:
                assert (await answer.json())["workers"] == [
                    {"worker": "w-1", "model": "demo", "in_flight": 1, "queued": 0, "state": "draining"}]
            assert await rig.metric("slots", worker="w-1") == 0 and await rig.metric("queue_tokens", model="demo") == 0
            rig.write_text('{"models": {"demo": []}}')
            await rig.until(lambda state: state["workers"]["w-1"]["state"] == "gone")
            async with rig.session.get(rig.url + "/metrics") as answer:
                assert "acme-secret" not in await answer.text()
            rig.workers["w-1"].go_on.set()
            assert (await stream.text()).endswith("[DONE]\n\n")
        await rig.until(lambda state: not state["workers"])

    run(make_rig(slots=2, w_1="answer"), story)
