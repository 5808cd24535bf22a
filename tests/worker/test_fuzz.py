"""Whatever is sent to a worker, it answers: right, or with a refusal in OpenAI's shape; and it still serves afterwards."""

import http.client
import json
import socket
import struct

import pytest

pytest.importorskip("jax")
pytest.importorskip("aiohttp")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from tests.worker.conftest import PATIENCE_S  # noqa: E402

METHODS = ["POST", "GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "BREW"]
PATHS = ["/v1/completions", "/v1/chat/completions", "/v1/models", "/healthz", "/readyz", "/health", "/state", "/undrain", "/metrics"]
STRANGE_PATHS = ["/", "//", "/v1", "/v1/", "/v1/completions/", "/%00", "/%ff", "/state?x=%zz", "/../state", "/" + "a" * 4000]
COMPLETION = {"prompt": "hello", "max_tokens": 3, "temperature": 0}
CHAT = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}
FIELDS = (
    "prompt messages model max_tokens max_completion_tokens min_tokens temperature top_p top_k seed stop stop_token_ids stream "
    "stream_options logprobs top_logprobs ignore_eos return_token_ids resume_token_ids user n best_of echo suffix logit_bias tools "
    "response_format"
).split()
TELLING = [
    *(None, True, False, 0, 1, -1, 2, 21, 256, 257, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), "", "x", "demo", "\ud800", "\x00", "\U0001f642", "<|im_end|>", "x" * 600),
    *([], [0], [5, 6], [-1], [2**40], [0.5], [[5]], [["x"]], ["x", "y"], [None], {}, {"include_usage": True}, {"type": "text"}),
    *([{}], [{"role": "user"}], [{"role": "\ud800", "content": [{"type": "text", "text": "a"}]}], [{"role": 1}]),
]
VALUES = st.sampled_from(TELLING) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
SOUND_BODIES = st.sampled_from([COMPLETION, CHAT]).flatmap(
    lambda sound: st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=2).map(lambda wrong: sound | wrong)
)
HUGE = b'{"prompt": "a", "max_tokens": ' + b"9" * 5000 + b"}"
RAW_BODIES = (
    st.sampled_from([b"", b"\xff\xfe{", b"[" * 50_000, b'{"a":' * 5_000, b'{"prompt":NaN}', HUGE, b"\x1f\x8b\x08"])
    | st.binary(max_size=40)
    | st.builds(lambda body, cut: json.dumps(body).encode()[:cut], SOUND_BODIES, st.integers(1, 60))
)
BODIES = st.builds(lambda body: json.dumps(body).encode(), SOUND_BODIES) | RAW_BODIES
HEADER_NAMES = (
    "Content-Type X-Request-Id X-Tenant Authorization Accept Expect Content-Encoding Range Upgrade Cookie TE Accept-Encoding".split()
)
HEADER_VALUES = ["", "a.b:c_d-1", "text/html", "application/json; charset=utf-16", "gzip", "deflate", "br", "100-continue", "x" * 200]
HEADERS = st.dictionaries(
    st.sampled_from(HEADER_NAMES),
    st.sampled_from(HEADER_VALUES) | st.binary(max_size=12).map(lambda raw: bytes(byte for byte in raw if byte >= 0x20 and byte != 0x7F)),
    max_size=3,
)


def exchange(worker, method, path, body, headers):
    """(status, headers, body) of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", int(worker.url.rpartition(":")[2]), timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@settings(derandomize=True, max_examples=250, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["POST"] * 12 + METHODS),
    path=st.sampled_from(PATHS[:2] * 6 + PATHS + STRANGE_PATHS),
    body=BODIES,
    headers=HEADERS,
)
def test_every_request_is_answered(shared_worker, method, path, body, headers):
    status, told, answer = exchange(shared_worker, method, path, body, headers)
    assert 200 <= status < 500
    if status >= 400 and method != "HEAD":
        error = json.loads(answer)["error"]
        assert set(error) == {"message", "type", "param", "code"} and error["message"] and error["type"]
        assert told.get_content_type() == "application/json"
    if method == "POST" and path in PATHS[:2] and "Expect" not in headers:
        assert told["X-Request-Id"]


def test_what_is_no_http_is_turned_away(shared_worker):
    port = int(shared_worker.url.rpartition(":")[2])
    for raw in (b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"POST * HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.makefile("rb").read()
        if answer:
            assert answer[9:12] == b"400" and json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_http"


def test_a_body_that_never_ends_holds_no_slot(shared_worker):
    port = int(shared_worker.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert shared_worker.state()["in_flight"] == 0
        # A reset instead of an orderly end: the half body must not be taken for a whole one.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_it_still_serves(shared_worker):
    state = shared_worker.state()
    assert (state["state"], state["in_flight"], state["running"], state["requests"]) == ("READY", 0, 0, [])
    assert shared_worker.ask("/v1/completions", COMPLETION)[0] == 200
