"""OpenAI's own client against a real worker, and clients that vanish."""

import json
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("jax")
openai = pytest.importorskip("openai")

from tests.worker.conftest import SLOTS  # noqa: E402

QUESTION = [{"role": "user", "content": "What does XID 79 mean?"}]
ENDLESS = {"model": "demo", "prompt": [300] * 8, "max_tokens": 240, "temperature": 0, "extra_body": {"ignore_eos": True}}
READER = """
import socket, sys
connections = []
for _ in range(int(sys.argv[2])):
    connections.append(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
    body = sys.argv[3].encode()
    connections[-1].sendall(b"POST /v1/completions HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: %d\\r\\n\\r\\n%b" % (len(body), body))
connections[0].recv(100)
print("reading", flush=True)
while True:
    connections[0].recv(100)
"""


@pytest.fixture
def client(shared_worker):
    with client_of(shared_worker) as client:
        yield client


def client_of(worker):
    return openai.OpenAI(base_url=worker.url + "/v1", api_key="none", max_retries=0)


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def is_idle(worker):
    """A slot is given back at the engine's next step, a moment after its request has left."""
    state = worker.state()
    return (state["in_flight"], state["running"], state["waiting"], state["requests"]) == (0, 0, 0, [])


def aborted(worker):
    line = next(line for line in worker.ask("/metrics")[2].decode().splitlines() if 'finished_reason="abort"' in line)
    return float(line.split()[-1])


def test_chat_logprobs_are_parsed_and_the_stream_has_those_of_the_whole(client):
    asked = {"model": "demo", "messages": QUESTION, "temperature": 0, "logprobs": True, "top_logprobs": 3, "stop": [" bus"]}
    whole = client.chat.completions.create(**asked)
    entries = whole.choices[0].logprobs.content
    assert len(entries) == whole.usage.completion_tokens
    assert bytes(sum((entry.bytes for entry in entries), [])).decode().startswith(whole.choices[0].message.content)
    for entry in entries:
        assert len(entry.top_logprobs) == 3 and entry.top_logprobs[0].logprob >= entry.top_logprobs[-1].logprob
        assert entry.logprob <= 0 and entry.top_logprobs[0].token == entry.token  # greedy takes the likeliest
    chunks = list(client.chat.completions.create(**asked, stream=True))
    streamed = [entry for chunk in chunks for entry in chunk.choices[0].logprobs.content]
    assert [entry.token for entry in streamed] == [entry.token for entry in entries]
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == whole.choices[0].message.content


def test_completion_logprobs_are_parsed(client):
    asked = {"model": "demo", "prompt": "How do I drain", "max_tokens": 12, "temperature": 0, "logprobs": 2}
    choice = client.completions.create(**asked).choices[0]
    told = choice.logprobs
    count = len(told.tokens)
    assert (len(told.token_logprobs), len(told.top_logprobs), len(told.text_offset)) == (count,) * 3
    assert all(token in likeliest and len(likeliest) == 2 for token, likeliest in zip(told.tokens, told.top_logprobs, strict=True))
    for token, offset in zip(told.tokens, told.text_offset, strict=True):
        assert choice.text[offset:].startswith(token) or token.startswith(("bytes:", "<|"))
    chunks = list(client.completions.create(**asked, stream=True))
    assert [token for chunk in chunks for token in chunk.choices[0].logprobs.tokens] == told.tokens
    assert client.completions.create(**asked | {"logprobs": 0}).choices[0].logprobs.top_logprobs[0].keys() == {told.tokens[0]}


def test_a_least_number_of_tokens_is_made(client):
    asked = {"model": "demo", "messages": QUESTION, "temperature": 0, "max_tokens": 60}
    whole = client.chat.completions.create(**asked)
    least = whole.usage.completion_tokens + 5
    longer = client.chat.completions.create(**asked, extra_body={"min_tokens": least})
    assert whole.choices[0].finish_reason == "stop" and longer.usage.completion_tokens >= least
    assert longer.choices[0].message.content.startswith(whole.choices[0].message.content)
    with pytest.raises(openai.BadRequestError, match="min_tokens"):
        client.chat.completions.create(**asked, extra_body={"min_tokens": 61})


def test_refusals_are_the_exceptions_of_the_client(client):
    asked = {"model": "demo", "messages": QUESTION}
    too_many = {"logprobs": True, "top_logprobs": 21}
    for wrong, field in (({"temperature": 9}, "temperature"), ({"top_logprobs": 2}, "top_logprobs"), (too_many, "top_logprobs")):
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(**asked | wrong)
        assert refused.value.param == field and refused.value.request_id.startswith("chatcmpl-")
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(**asked | {"model": "other"})
    with pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(**asked | {"max_tokens": 100_000})
    assert refused.value.status_code == 413


def test_a_stream_that_is_closed_frees_its_slot(client, shared_worker):
    before = aborted(shared_worker)
    for _ in range(SLOTS + 1):
        stream = client.completions.create(**ENDLESS, stream=True)
        next(iter(stream))
        stream.close()
    until(lambda: is_idle(shared_worker))
    assert aborted(shared_worker) == before + SLOTS + 1


def test_a_client_that_is_killed_frees_its_slots(shared_worker):
    before, count = aborted(shared_worker), 4 * SLOTS
    body = {"prompt": [300] * 8, "max_tokens": 240, "temperature": 0, "ignore_eos": True, "stream": True}
    port = shared_worker.url.rpartition(":")[2]
    reader = subprocess.Popen([sys.executable, "-c", READER, port, str(count), json.dumps(body)], stdout=subprocess.PIPE)
    with reader:
        assert reader.stdout.readline() == b"reading\n"
        reader.send_signal(signal.SIGKILL)
    until(lambda: is_idle(shared_worker))
    assert aborted(shared_worker) > before


def test_a_full_and_a_draining_worker_are_the_exceptions_for_them(start_worker):
    worker = start_worker("--queue-limit", 0, "--log-requests", "--name", "demo")
    worker.wait_for("ready")
    with client_of(worker) as client:
        streams = [client.completions.create(**ENDLESS, user=f"user {number}", stream=True) for number in range(SLOTS)]
        told = worker.state()["requests"]
        assert [one["prompt_tokens"] for one in told] == [8] * SLOTS and {one["state"] for one in told} == {"running"}
        with pytest.raises(openai.RateLimitError, match="requests wait and 0 may") as refused:
            client.completions.create(**ENDLESS)
        assert int(refused.value.response.headers["Retry-After"]) >= 1
        for stream in streams:
            stream.close()
        until(lambda: is_idle(worker))
        logged = [worker.wait_for("request") for _ in streams]
        assert sorted(line["id"] for line in logged) == sorted(one["id"] for one in told)
        assert sorted((line["client"], line["reason"]) for line in logged) == [(f"user {number}", "abort") for number in range(SLOTS)]
        worker.ask("/drain", method="POST")
        with pytest.raises(openai.InternalServerError) as refused:
            client.completions.create(**ENDLESS)
        assert refused.value.status_code == 503 and refused.value.code == "draining"
    worker.terminate()
    assert worker.wait() == 0
