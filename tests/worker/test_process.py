"""A real worker process, asked over HTTP as a console, a gateway and a client ask it."""

import asyncio
import json
import signal
import time

import pytest

pytest.importorskip("jax")
aiohttp = pytest.importorskip("aiohttp")

from tests.worker.conftest import MAX_LEN, SLOTS  # noqa: E402

LONG = {"prompt": [300] * 8, "max_tokens": 200, "temperature": 0, "ignore_eos": True, "stream": True}
QUESTION = [{"role": "user", "content": "What does XID 79 mean?"}]
STATE_KEYS = (
    "state phase reason model slots max_len running waiting in_flight "
    "requests_total tokens_total prompt_tokens_total revision artifacts programs pid requests"
).split()


def chunks_of(raw):
    """The JSON of each event; the stream has to end whole."""
    lines = [line.removeprefix("data: ") for line in raw.decode().splitlines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def text_of(raw):
    return "".join(choice["text"] for chunk in chunks_of(raw) for choice in chunk["choices"])


def test_it_listens_first_and_says_what_it_does(start_worker):
    worker = start_worker("--name", "early")
    worker.wait_for("listening")
    state = worker.state()
    assert list(state) == STATE_KEYS and state["state"] == "STARTING" and state["pid"] == worker.process.pid
    assert worker.ask("/healthz")[0] == 200 and worker.ask("/readyz")[0] == 503
    status, headers, body = worker.ask("/v1/completions", {"prompt": "hello"})
    assert (status, headers["Retry-After"], json.loads(body)["error"]["code"]) == (503, "1", "starting")
    ready = worker.wait_for("ready")
    assert [event["phase"] for event in worker.events if event["event"] == "phase"] == ["import", "load", "compile", "warm"]
    assert worker.ask("/readyz")[0] == 200
    state = worker.state()
    assert state | {"state": "READY", "phase": None, "artifacts": ready["artifacts"], "in_flight": 0, "requests": []} == state
    assert state["revision"]
    worker.terminate()
    assert worker.wait() == 0


def test_the_openai_client_gets_a_streamed_answer(shared_worker):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=shared_worker.url + "/v1", api_key="none") as client:
        assert [model.id for model in client.models.list()] == ["demo"]
        whole = client.chat.completions.create(model="demo", messages=QUESTION, temperature=0)
        stream = client.chat.completions.create(
            model="demo", messages=QUESTION, temperature=0, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        with pytest.raises(openai.NotFoundError, match="is not served here"):
            client.chat.completions.create(model="other", messages=QUESTION)
    assert "fallen off the bus" in whole.choices[0].message.content
    assert "".join(chunk.choices[0].delta.content for chunk in chunks[:-1]) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "stop"
    assert chunks[-1].usage == whole.usage


def test_refusals_name_the_field(shared_worker):
    cases = [
        ({"prompt": "hello", "temperature": 9}, 400, "temperature"),
        ({"prompt": [5000]}, 400, "prompt"),
        ({"prompt": [5] * MAX_LEN}, 413, "prompt"),
        ({"prompt": [5] * 100, "max_tokens": MAX_LEN}, 413, "max_tokens"),
        ({"prompt": "hello", "max_tokens": 2, "resume_token_ids": [5, 5]}, 400, "resume_token_ids"),
        (b"x" * 5_000_000, 413, None),
        (b"{", 400, None),
    ]
    for body, expected, field in cases:
        status, _, answer = shared_worker.ask("/v1/completions", body)
        assert (status, json.loads(answer)["error"]["param"]) == (expected, field)
    assert shared_worker.ask("/nowhere")[0] == 404
    assert shared_worker.ask("/drain")[0] == 405


def test_a_stop_string_ends_the_answer(shared_worker):
    body = {"messages": QUESTION, "temperature": 0, "stop": [" bus"]}
    choice = json.loads(shared_worker.ask("/v1/chat/completions", body)[2])["choices"][0]
    assert choice["finish_reason"] == "stop" and choice["message"]["content"].endswith("fallen off the")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_stream_cut_anywhere_is_resumed_to_the_same_words(shared_worker, temperature):
    body = LONG | {"prompt": "How do I drain gpu-a07?", "max_tokens": 40, "temperature": temperature, "seed": 11, "return_token_ids": True}
    whole = chunks_of(shared_worker.ask("/v1/completions", body)[2])
    assert len(whole[0]["choices"][0]["prompt_token_ids"]) > 3
    for cut in (1, len(whole) // 2, len(whole) - 1):
        ids = [token for chunk in whole[:cut] for token in chunk["choices"][0]["token_ids"]]
        rest = shared_worker.ask("/v1/completions", body | {"resume_token_ids": ids})[2]
        assert text_of(rest) == "".join(chunk["choices"][0]["text"] for chunk in whole[cut:])


def test_metrics_parse_and_count(shared_worker):
    parser = pytest.importorskip("prometheus_client.parser")

    def read():
        families = parser.text_string_to_metric_families(shared_worker.ask("/metrics")[2].decode())
        return {(sample.name, sample.labels.get("finished_reason")): sample.value for each in families for sample in each.samples}

    before = read()
    shared_worker.ask("/v1/completions", LONG | {"max_tokens": 5})
    grown = {key: value - before[key] for key, value in read().items()}
    assert grown["opsconsole:generation_tokens_total", None] == 5
    assert grown["opsconsole:prompt_tokens_total", None] == 8
    assert grown["opsconsole:request_success_total", "length"] == 1
    assert grown["opsconsole:time_to_first_token_seconds_count", None] == 1
    assert grown["opsconsole:inter_token_latency_seconds_count", None] == 4
    assert grown["opsconsole:request_queue_time_seconds_count", None] == 1
    gauges = {name: read()[f"opsconsole:{name}", None] for name in ("slots", "num_requests_waiting", "kv_cache_usage_perc")}
    assert gauges == {"slots": SLOTS, "num_requests_waiting": 0, "kv_cache_usage_perc": 0}


async def ask_slowly(session, worker, body=LONG):
    async with session.post(worker.url + "/v1/completions", json=body) as response:
        return response.status, response.headers, await response.read()


async def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


async def test_a_drain_loses_nothing(start_worker):
    worker = start_worker()
    await asyncio.to_thread(worker.wait_for, "ready")
    async with aiohttp.ClientSession() as session:
        streams = [asyncio.create_task(ask_slowly(session, worker)) for _ in range(12)]
        await until(lambda: worker.state()["in_flight"] == 12)
        drained = json.loads(worker.ask("/drain", method="POST")[2])
        assert drained["state"] == "DRAINING" and drained["waiting"] > 0
        late = [await ask_slowly(session, worker) for _ in range(3)]
        answers = await asyncio.gather(*streams)
    assert [(status, headers["Retry-After"]) for status, headers, _ in late] == [(503, "1")] * 3
    assert {(status, text_of(raw)) for status, _, raw in answers} == {(200, text_of(answers[0][2]))}
    await until(lambda: worker.state()["state"] == "DRAINED")
    assert worker.ask("/undrain", method="POST")[0] == 200 and worker.state()["state"] == "READY"
    worker.terminate()
    assert worker.wait() == 0


async def test_sigterm_finishes_every_stream_and_a_second_ends_at_once(start_worker):
    worker, impatient = start_worker(), start_worker()
    for each in (worker, impatient):
        await asyncio.to_thread(each.wait_for, "ready")
    async with aiohttp.ClientSession() as session:
        streams = [asyncio.create_task(ask_slowly(session, worker)) for _ in range(8)]
        doomed = [asyncio.create_task(ask_slowly(session, impatient)) for _ in range(24)]
        await until(lambda: worker.state()["in_flight"] == 8 and impatient.state()["in_flight"] == 24)
        worker.terminate()
        impatient.terminate()
        await until(lambda: impatient.state()["state"] == "DRAINING")
        assert impatient.ask("/undrain", method="POST")[0] == 409
        impatient.terminate()
        assert [status for status, _, raw in await asyncio.gather(*streams) if text_of(raw)] == [200] * 8
        lost = await asyncio.gather(*doomed, return_exceptions=True)
    assert any(isinstance(each, aiohttp.ClientError) for each in lost)
    cut, ended = [await asyncio.to_thread(impatient.wait_for, event) for event in ("cut", "ended")]
    assert cut["cut"] == len(set(cut["ids"])) == 24 - sum(ended["requests"].values()) > 0
    assert (ended["status"], ended["reason"]) == (128 + signal.SIGTERM, f"a second signal cut {cut['cut']} requests")
    assert impatient.process.stdout.read() == ""
    assert (worker.wait(), impatient.wait()) == (0, 128 + signal.SIGTERM)


async def test_a_full_queue_refuses_and_a_client_that_leaves_makes_room(start_worker):
    worker = start_worker("--queue-limit", 1)
    await asyncio.to_thread(worker.wait_for, "ready")
    async with aiohttp.ClientSession() as session:
        streams = [asyncio.create_task(ask_slowly(session, worker)) for _ in range(SLOTS + 1 + 4)]
        refused = [each for each in await asyncio.gather(*streams) if each[0] != 200]
        assert {(status, headers["Retry-After"]) for status, headers, _ in refused} == {(429, "1")}
        assert json.loads(refused[0][2])["error"]["code"] == "queue_full"
        leaving = [asyncio.create_task(ask_slowly(session, worker)) for _ in range(SLOTS + 1)]
        await until(lambda: worker.state()["in_flight"] == SLOTS + 1)
        for task in leaving:
            task.cancel()
        await until(lambda: worker.state()["in_flight"] == 0)
        assert (await ask_slowly(session, worker))[0] == 200
    assert b'finished_reason="abort"} 3.0' in worker.ask("/metrics")[2]


@pytest.mark.parametrize(
    ("model", "reason"),
    [("/nowhere/at/all", "no checkpoint"), ("random:huge", "is not known"), ("random:tiny?seed=x", "whole number")],
)
def test_a_model_that_cannot_be_loaded_is_said_and_the_process_ends(start_worker, model, reason):
    worker = start_worker(model=model)
    worker.wait_for("listening")
    for _ in range(100):
        if worker.state()["state"] == "FAILED":
            break
        time.sleep(0.01)
    assert reason in worker.state()["reason"] and worker.ask("/readyz")[0] == 503
    assert worker.wait() == 1
    assert reason in json.loads(worker.errors)["reason"]


def test_sigterm_while_it_starts_ends_it_at_once(start_worker):
    worker = start_worker(model="random:tiny?seed=3")
    worker.wait_for("listening")
    worker.terminate()
    assert worker.wait() == 0
    assert "ready" not in [event["event"] for event in worker.events]


def test_a_taken_port_is_said(shared_worker, start_worker):
    port = shared_worker.url.rpartition(":")[2]
    worker = start_worker("--port", port)
    assert worker.wait() == 1
    assert f"cannot listen on 127.0.0.1:{port}" in json.loads(worker.errors)["reason"]
