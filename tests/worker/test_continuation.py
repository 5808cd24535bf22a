"""An answer cut anywhere goes on with the same tokens, on a worker of another size too: what a gateway relies on when one dies."""

import json
from itertools import chain

import numpy as np
import pytest

pytest.importorskip("jax")

from opsconsole.worker.options import Options  # noqa: E402
from opsconsole.worker.request import Request, Sampling  # noqa: E402
from tests.worker.conftest import DEMO_MODEL, MAX_LEN, RunningEngine  # noqa: E402

OTHER_SLOTS = 1
"""Another number of slots means other programs, and one slot means the fewest."""
ANSWER_TOKENS = 16
PROMPTS = 24
CUTS_EACH = 6
QUESTIONS = ["How do I drain gpu-a07?", "What does XID 79 mean?"]


@pytest.fixture(scope="module")
def other_engine(artifacts):
    running = RunningEngine(Options(str(DEMO_MODEL), "other", slots=OTHER_SLOTS, max_len=MAX_LEN, artifacts=artifacts))
    yield running
    running.stop()


def requests_of(temperature):
    """Prompts of all lengths; every third has to make a few tokens at least, every other one is scored, and some may end by themselves."""
    dice = np.random.default_rng(17)
    for seed in range(PROMPTS):
        yield Request(
            dice.integers(3, 1000, int(dice.integers(2, 60))).tolist(),
            ANSWER_TOKENS,
            Sampling(temperature, 0.95, 50, seed),
            ignore_eos=seed % 3 == 0,
            min_tokens=8 if seed % 3 == 1 else 0,
            logprobs=3 if seed % 2 else None,
        )


def rest_of(request, tokens, cut):
    return Request(
        request.prompt_ids + tokens[:cut],
        request.max_tokens - cut,
        request.sampling,
        ignore_eos=request.ignore_eos,
        min_tokens=max(0, request.min_tokens - cut),
        logprobs=request.logprobs,
    )


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_cut_answer_goes_on_in_an_engine_with_other_slots(demo_engine, other_engine, temperature):
    requests, dice = list(requests_of(temperature)), np.random.default_rng(23)
    wholes = demo_engine.answers(requests)
    cuts = [(request, whole, int(cut)) for request, whole in zip(requests, wholes, strict=True) for cut in _cuts(dice, len(whole))]
    assert len(cuts) >= 100  # for each temperature
    rests = [rest_of(*each) for each in cuts]
    continued = other_engine.answers(rests)
    assert continued == [whole[cut:] for _, whole, cut in cuts]
    for rest, (request, _, cut) in zip(rests, cuts, strict=True):
        told, expected = other_engine.scores[rest], demo_engine.scores[request][cut:]
        assert len(told) == len(expected)
        assert [score.logprob for score in told] == pytest.approx([score.logprob for score in expected], abs=1e-3)


def _cuts(dice, length):
    return sorted({int(cut) for cut in dice.integers(1, length, CUTS_EACH)}) if length > 1 else []


def events_of(worker, body):
    raw = worker.ask("/v1/chat/completions", body)[2].decode()
    lines = [line.removeprefix("data: ") for line in raw.splitlines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line)["choices"][0] for line in lines[:-1]]


def words_of(events):
    return "".join(event["delta"]["content"] for event in events)


STOPPED = {"temperature": 0.8, "stop": [" to ", "node"], "min_tokens": 5}


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"temperature": 1.0}, STOPPED])
def test_a_stream_goes_on_at_another_worker(shared_worker, other_worker, settings):
    for question in QUESTIONS:
        body = {"messages": [{"role": "user", "content": question}], "max_tokens": 40, "stream": True, "return_token_ids": True, **settings}
        body |= {"logprobs": True, "top_logprobs": 2}
        whole = events_of(shared_worker, body)
        body["seed"] = whole[0]["seed"]  # not chosen by the client, and yet known to it
        for cut in {1, len(whole) // 2, len(whole) - 1} - {0, len(whole)}:
            ids = list(chain.from_iterable(event["token_ids"] for event in whole[:cut]))
            rest = events_of(other_worker, body | {"resume_token_ids": ids})
            assert words_of(rest) == words_of(whole[cut:]) and rest[-1]["finish_reason"] == whole[-1]["finish_reason"]
            assert _entries(rest) == _entries(whole[cut:])
            assert (rest[0]["seed"], rest[0]["prompt_token_ids"]) == (whole[0]["seed"], whole[0]["prompt_token_ids"])


def _entries(events):
    return [(entry["token"], len(entry["top_logprobs"])) for event in events for entry in event["logprobs"]["content"]]


@pytest.fixture(scope="module")
def other_worker(artifacts):
    from tests.worker.conftest import WorkerProcess, stop_by_id

    options = ("--model", DEMO_MODEL, "--name", "demo", "--slots", OTHER_SLOTS, "--max-len", MAX_LEN, "--artifacts", artifacts)
    worker = WorkerProcess(*options)
    worker.wait_for("ready")
    yield worker
    stop_by_id(worker)


def test_what_is_whole_is_not_continued(shared_worker):
    body = {"prompt": "one", "max_tokens": 9, "temperature": 0, "stop": ["two"]}
    for wrong in ([2], [*range(9)]):
        status, _, answer = shared_worker.ask("/v1/completions", body | {"resume_token_ids": wrong})
        assert (status, json.loads(answer)["error"]["param"]) == (400, "resume_token_ids")
