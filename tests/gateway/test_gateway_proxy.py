"""One request's journey: what is passed on, what is tried again, and what never is."""

import asyncio
import json

import pytest

DONE = "data: [DONE]\n\n"


def run(rig, story) -> None:
    async def told() -> None:
        async with rig.running():
            await story(rig)

    asyncio.run(told())


def test_a_stream_passes_through_as_the_worker_wrote_it(make_rig):
    async def story(rig):
        rig.workers["w-1"].go_on.clear()
        async with rig.post() as answer:
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
            assert answer.headers["X-Opsconsole-Worker"] == "w-1"
            first = await answer.content.readuntil(b"\n\n")
            assert b"t0" in first  # it came while the worker stood still: nothing is gathered up
            rig.workers["w-1"].go_on.set()
            rest = await answer.text()
        assert "t2" in rest and rest.endswith(DONE)
        assert await rig.outcome("ok") == 1
        assert await rig.metric("time_to_first_token_seconds_count", model="demo") == 1
        assert await rig.metric("queue_wait_seconds_count", model="demo") == 1

    run(make_rig(w_1="answer"), story)


def test_an_answer_in_one_piece_passes_through(make_rig):
    async def story(rig):
        status, text = await rig.ask(stream=False)
        assert status == 200 and json.loads(text)["choices"][0]["finish_reason"] == "stop"
        async with rig.session.post(rig.url + "/v1/completions", json={"model": "demo", "prompt": "legacy"}) as answer:
            assert answer.status == 200
        assert rig.workers["w-1"].begun == ["hello", "legacy"]

    run(make_rig(w_1="answer"), story)


@pytest.mark.parametrize("manner, status, outcome", [("reject", 400, "ok"), ("fail", 500, "worker_error")])
def test_a_workers_own_error_is_passed_on_and_not_retried(make_rig, manner, status, outcome):
    async def story(rig):
        assert (await rig.ask())[0] == status
        assert sum(len(worker.begun) for worker in rig.workers.values()) == 1
        assert await rig.outcome(outcome) == 1

    run(make_rig(w_1=manner, w_2=manner), story)


@pytest.mark.parametrize("manner", ["refuse", "busy"])
def test_a_refused_request_goes_to_another_worker(make_rig, manner):
    async def story(rig):
        status, text = await rig.ask()
        assert status == 200 and text.endswith(DONE)
        assert len(rig.workers["w-1"].begun) == 1 and len(rig.workers["w-2"].begun) == 1
        assert await rig.metric("retries_total", worker="w-1") == 1
        status, _ = await rig.ask()
        assert status == 200

    run(make_rig(w_1=manner, w_2="answer"), story)


def test_an_unreachable_worker_is_passed_over(make_rig):
    async def story(rig):
        await rig.workers["w-1"].__aexit__()
        for _ in range(4):
            assert (await rig.ask())[0] == 200
        assert len(rig.workers["w-2"].begun) == 4

    run(make_rig(w_1="answer", w_2="answer"), story)


def test_a_request_waits_while_the_only_worker_refuses_and_is_served_when_it_recovers(make_rig):
    async def story(rig):
        asked = asyncio.create_task(rig.ask())
        await rig.until(lambda state: state["queued"] == 1 and state["workers"]["w-1"]["assigned"] == 1)
        rig.workers["w-1"].manner = "answer"
        assert (await asked)[0] == 200

    run(make_rig(w_1="refuse"), story)


def test_a_request_is_never_sent_twice_once_a_worker_may_have_begun_it(make_rig):
    async def story(rig):
        status, text = await rig.ask()
        assert status == 502 and json.loads(text)["error"]["code"] == "broken"
        assert sum(len(worker.begun) for worker in rig.workers.values()) == 1
        assert await rig.outcome("broken") == 1
        assert await rig.metric("retries_total") == 0

    run(make_rig(w_1="vanish", w_2="vanish"), story)


@pytest.mark.parametrize("manner", ["die", "cut"])
def test_a_stream_that_breaks_ends_with_an_error_event(make_rig, manner):
    async def story(rig):
        async with rig.post() as answer:
            text = await answer.text()
            assert answer.headers.get("Transfer-Encoding") == "chunked"
        events = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line]
        assert [event["choices"][0]["delta"]["content"] for event in events[:-1]] == ["t0 ", "t1 ", "t2 "]
        assert events[-1]["error"]["code"] == "broken" and "w-1" in events[-1]["error"]["message"]
        assert len(rig.workers["w-1"].begun) + len(rig.workers["w-2"].begun) == 1
        assert await rig.outcome("broken") == 1

    run(make_rig(w_1=manner, w_2=manner), story)


def test_the_connection_is_closed_after_a_broken_stream(make_rig):
    async def story(rig):
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.gateway.port)
        body = json.dumps({"model": "demo", "prompt": "x", "stream": True}).encode()
        writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        text = await reader.read()  # to the end: a connection left open would never come to it
        writer.close()
        assert b'"code": "broken"' in text

    run(make_rig(w_1="die"), story)


def test_a_client_that_leaves_frees_its_worker(make_rig):
    async def story(rig):
        rig.workers["w-1"].go_on.clear()
        async with rig.post() as answer:
            await answer.content.readuntil(b"\n\n")
            answer.close()
        await rig.workers["w-1"].left_by_client.wait()
        await rig.until(lambda state: state["in_flight"] == 0)
        assert await rig.outcome("cancelled") == 1

    run(make_rig(w_1="answer"), story)


def test_a_client_that_leaves_the_queue_is_not_served(make_rig):
    async def story(rig):
        rig.workers["w-1"].go_on.clear()
        served = asyncio.create_task(rig.ask("served"))
        await rig.until(lambda state: state["in_flight"] == 1)
        leaver = asyncio.create_task(rig.ask("leaver"))
        await rig.until(lambda state: state["queued"] == 1)
        leaver.cancel()
        await rig.until(lambda state: state["queued"] == 0)
        rig.workers["w-1"].go_on.set()
        assert (await served)[0] == 200
        assert rig.workers["w-1"].begun == ["served"]

    run(make_rig(slots=1, w_1="answer"), story)


@pytest.mark.parametrize("body, status", [
    (b"{", 400), (b"[]", 400), (b'{"prompt": "x"}', 400), (b'{"model": 7}', 400), (b'{"model": "other"}', 404), (b"[" * 100_000, 400),
])
def test_what_cannot_be_routed_is_refused_in_the_shape_of_the_api(make_rig, body, status):
    async def story(rig):
        async with rig.session.post(rig.url + "/v1/completions", data=body) as answer:
            assert answer.status == status
            assert (await answer.json())["error"].keys() == {"message", "type", "param", "code"}
        assert rig.workers["w-1"].begun == []

    run(make_rig(w_1="answer"), story)


def test_the_openai_client_reads_answers_and_errors(make_rig):
    openai = pytest.importorskip("openai")

    async def story(rig):
        client = openai.AsyncOpenAI(base_url=rig.url + "/v1", api_key="none", max_retries=0)
        said = [{"role": "user", "content": "hello"}]
        assert [model.id async for model in client.models.list()] == ["demo"]
        stream = await client.chat.completions.create(model="demo", messages=said, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "t0 t1 t2 "
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="other", messages=said)
        rig.workers["w-1"].manner = "die"
        stream = await client.chat.completions.create(model="demo", messages=said, stream=True)
        with pytest.raises(openai.APIError, match="failed while it answered"):
            async for _ in stream:
                pass
        await client.close()

    run(make_rig(w_1="answer"), story)
