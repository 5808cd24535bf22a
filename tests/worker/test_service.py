"""What a worker accepts, what it tells of that, and how long it asks others to wait."""

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("prometheus_client")

from opsconsole.worker.admission import Admission, QueueFull  # noqa: E402
from opsconsole.worker.api import ApiError, parse_body  # noqa: E402
from opsconsole.worker.lifecycle import Lifecycle  # noqa: E402
from opsconsole.worker.options import Options  # noqa: E402
from opsconsole.worker.request import Delivery  # noqa: E402
from opsconsole.worker.service import Asker, Service  # noqa: E402
from opsconsole.worker.text import byte_codec  # noqa: E402

END = 2
STATE_LIMIT_BYTES = 2**17


class Programs(list):
    artifacts, ready = "hit", ("a",)


class Queue:
    """Stands where the engine would, and never begins."""

    def __init__(self, limit):
        self.waiting_requests, self.cancelled = Admission(limit, 10**9), []
        self.running, self.cache_used = 0, 0.0

    @property
    def waiting(self):
        return len(self.waiting_requests)

    def submit(self, request):
        self.waiting_requests.put(request)

    def cancel(self, request):
        self.cancelled.append(request)
        self.waiting_requests.remove(request)


def service_of(limit=1000):
    service = Service(Options("model", "name", slots=2, max_len=100, queue_limit=limit), Lifecycle())
    config = SimpleNamespace(vocab_size=259, eos_ids=(END,))
    service._loaded = SimpleNamespace(codec=byte_codec(), config=config, programs=Programs(["a", "b"]), revision="abc")
    service._engine = Queue(limit)
    service.lifecycle.ready()
    return service


def ask_of(**fields):
    return parse_body(json.dumps({"prompt": "hi", "max_tokens": 9} | fields).encode(), False)


def submit(service, number=0, tenant=None, **fields):
    return service.submit(ask_of(**fields), [1, 2], Asker(f"{number:0128}", tenant, 0.0))


async def test_the_state_stays_small_however_much_waits():
    service = service_of()
    generations = [submit(service, number) for number in range(300)]
    told = service.snapshot()
    assert (told["in_flight"], told["waiting"], told["requests_total"]) == (300, 300, 300)
    assert [one["id"] for one in told["requests"]] == [generation.id for generation in generations[:256]]
    assert len(json.dumps(told)) < STATE_LIMIT_BYTES
    for generation in generations:
        generation.close()
    assert service.snapshot()["requests"] == [] and service.totals()["requests"]["abort"] == 300


async def test_a_request_is_told_from_waiting_to_its_last_token():
    service = service_of()
    generation = submit(service, resume_token_ids=[60, 61])
    assert service.snapshot()["requests"][0] | {"age_s": 0} == {
        "id": generation.id,
        "age_s": 0,
        "state": "waiting",
        "prompt_tokens": 2,
        "tokens": 2,
    }
    generation.request.scheduled_s = 1.0
    service._fan_out([Delivery(generation.request, [70], None), Delivery(generation.request, [71], "length")])
    assert [part.token_ids async for part in generation.parts()] == [[70, 71]]
    told = service.snapshot()
    assert (told["requests"][0]["state"], told["requests"][0]["tokens"], told["tokens_total"]) == ("running", 4, 2)
    generation.close()
    assert service.totals() == {
        "requests_total": 1,
        "requests": {"stop": 0, "length": 1, "abort": 0, "error": 0},
        "tokens_total": 2,
        "prompt_tokens_total": 4,
    }
    assert not service._engine.cancelled


async def test_what_was_made_before_counts():
    service = service_of()
    request = submit(service, resume_token_ids=[60, 61, 62], min_tokens=5, user="me").request
    assert (request.prompt_ids, request.max_tokens, request.min_tokens, request.client) == ([1, 2, 60, 61, 62], 6, 2, "me")
    assert submit(service, resume_token_ids=[60], min_tokens=1, user="me", tenant="us").request.min_tokens == 0
    assert service._engine.waiting_requests.peek().client in ("me", "us")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"min_tokens": 10}, "min_tokens"),
        ({"resume_token_ids": [60] * 9}, "resume_token_ids"),
        ({"resume_token_ids": [60, END]}, "resume_token_ids"),
        ({"resume_token_ids": [60], "stop_token_ids": [60]}, "resume_token_ids"),
    ],
)
async def test_what_cannot_be_is_refused_before_it_counts(fields, param):
    service = service_of()
    with pytest.raises(ApiError) as refused:
        submit(service, **fields)
    assert (refused.value.status, refused.value.param, service.lifecycle.in_flight) == (400, param, 0)
    assert submit(service, resume_token_ids=[END], ignore_eos=True)


@pytest.mark.parametrize(("held_s", "expected_s"), [(0.0, 1), (0.01, 1), (3.0, 15), (1000.0, 60)])
async def test_whoever_finds_the_queue_full_is_told_when_it_will_have_gone(held_s, expected_s):
    service = service_of(limit=10)
    service._held_s = held_s
    for number in range(10):
        submit(service, number)
    with pytest.raises(ApiError, match="10 requests wait and 10 may") as refused:
        submit(service)
    assert (refused.value.status, refused.value.retry_after_s) == (429, expected_s)
    assert isinstance(refused.value.__context__, QueueFull)
