"""From made-up deliveries to what a client reads: nothing lost where text is held back, and the log says no word of it."""

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("prometheus_client")

from opsconsole.worker.answers import AnswerFormat, Part, joined  # noqa: E402
from opsconsole.worker.api import ApiError, parse_body  # noqa: E402
from opsconsole.worker.generation import Generation  # noqa: E402
from opsconsole.worker.logprobs import TokenScore, chat_logprobs, completion_logprobs, token_score  # noqa: E402
from opsconsole.worker.metrics import Metrics  # noqa: E402
from opsconsole.worker.request import Delivery, Request, Score  # noqa: E402
from opsconsole.worker.text import byte_codec  # noqa: E402

CODEC = byte_codec()
END = CODEC.encode("<|im_end|>")[0]


class Desk:
    """Stands where the service would."""

    def __init__(self):
        self.metrics = Metrics(SimpleNamespace(running=0, waiting=0, slots=1, cache_used=0.0))
        self.options = SimpleNamespace(log_requests=True)
        self.closed = []

    def close(self, generation, reason):
        self.closed.append(reason)


def generation_of(desk=None, **fields):
    ask = parse_body(json.dumps({"prompt": "hi"} | fields).encode(), False)
    request = Request([1, 2, *ask.resume_token_ids], 99, logprobs=ask.logprobs, client="me")
    return Generation(desk or Desk(), "answer-1", ask, request, SimpleNamespace(codec=CODEC))


def scores_of(token_ids):
    return [Score(-token / 100, [(token, -token / 100), (50, -9.0), (51, float("-inf"))]) for token in token_ids]


def delivery_of(generation, token_ids, reason):
    return Delivery(generation.request, token_ids, reason, scores_of(token_ids) if generation.request.logprobs is not None else None)


async def read(generation, token_ids, last="stop", step=1):
    """The parts for tokens that come `step` at a time, all before the first is read."""
    for begin in range(0, len(token_ids), step):
        generation.arrive(delivery_of(generation, token_ids[begin : begin + step], last if begin + step >= len(token_ids) else None))
    return [part async for part in generation.parts()]


async def one_by_one(generation, token_ids, last="stop"):
    """The parts for tokens each of which is read before the next one comes."""
    parts, stream = [], generation.parts()
    for index, token in enumerate(token_ids):
        generation.arrive(delivery_of(generation, [token], last if index == len(token_ids) - 1 else None))
        parts.append(await anext(stream))
        if parts[-1].finish_reason:
            break
    return parts


async def test_each_event_has_the_scores_of_its_tokens_though_text_is_held_back():
    token_ids = [*CODEC.encode("a€ EN!"), END]
    generation = generation_of(logprobs=1, stop=["END"])
    parts = await one_by_one(generation, token_ids)
    assert [len(part.scores) for part in parts] == [1] * len(token_ids)
    assert [part.text for part in parts] == ["a", "", "", "€", " ", "", "", "EN!", ""]
    assert not any(part.is_silent for part in parts)
    assert [part.scores[0].offset_chars for part in parts] == [0, 1, 1, 1, 2, 3, 4, 5, 6]
    whole = joined(parts)
    assert whole.text == "a€ EN!" and b"".join(score.token for score in whole.scores) == "a€ EN!<|im_end|>".encode()
    assert generation.usage.completion_tokens == len(whole.scores) == len(whole.token_ids)
    assert await read(generation_of(logprobs=1, stop=["END"]), token_ids) == [whole]


async def test_a_stop_string_ends_it_with_the_token_that_completes_it():
    for step in (1, 3, 100):
        desk = Desk()
        generation = generation_of(desk, logprobs=0, stop=["END"])
        whole = joined(await read(generation, CODEC.encode("one END two"), "length", step))
        assert (whole.text, whole.finish_reason) == ("one ", "stop")
        assert b"".join(score.token for score in whole.scores) == b"one END"
        assert whole.token_ids == CODEC.encode("one END") and generation.usage.completion_tokens == 7
        generation.close()
        assert desk.closed == ["stop"]


async def test_a_stop_token_ends_it_and_is_no_part_of_the_text():
    generation = generation_of(stop_token_ids=CODEC.encode("x"))
    whole = joined(await one_by_one(generation, CODEC.encode("abxcd"), "length"))
    assert (whole.text, whole.finish_reason, whole.token_ids, whole.scores) == ("ab", "stop", CODEC.encode("abx"), None)


async def test_stop_strings_are_looked_for_after_the_least_number_of_tokens():
    for least, said in ((0, ""), (2, "xx"), (3, "xxx"), (4, "xxxx")):
        whole = joined(await one_by_one(generation_of(stop=["x"], min_tokens=least), CODEC.encode("xxxx"), "length"))
        assert whole.text == said and whole.finish_reason == ("length" if least == 4 else "stop")


async def test_an_answer_resumed_counts_as_one_answer():
    begun, rest = CODEC.encode("one E"), CODEC.encode("N two")
    generation = generation_of(resume_token_ids=begun, stop=["END"], logprobs=0)
    whole = joined(await read(generation, rest, "length"))
    assert whole.text == "EN two"
    assert [score.offset_chars for score in whole.scores] == [5, 6, 7, 8, 9]
    assert (generation.usage.prompt_tokens, generation.usage.completion_tokens) == (2, 10)
    assert generation_of(resume_token_ids=CODEC.encode("one END"), stop=["END"]).is_over_already


async def test_what_came_before_an_error_is_given_first():
    generation = generation_of()
    generation.arrive(Delivery(generation.request, CODEC.encode("ab"), None))
    generation.arrive(ApiError(503, "the end"))
    parts = generation.parts()
    assert (await anext(parts)).text == "ab"
    with pytest.raises(ApiError, match="the end"):
        await anext(parts)


async def test_the_line_in_the_log_names_no_text(capsys):
    generation = generation_of(stop=["secret"])
    await read(generation, CODEC.encode("secret"), "length")
    generation.close()
    line = capsys.readouterr().out
    told = json.loads(line)
    assert list(told) == ["event", "id", "client", "prompt_tokens", "tokens", "ttft_ms", "total_ms", "reason"]
    assert (told["id"], told["client"], told["prompt_tokens"], told["tokens"], told["reason"]) == ("answer-1", "me", 2, 6, "stop")
    assert "secret" not in line and 0 <= told["ttft_ms"] <= told["total_ms"]


def test_an_aborted_request_has_no_first_token(capsys):
    generation = generation_of()
    generation.close()
    told = json.loads(capsys.readouterr().out)
    assert (told["reason"], told["ttft_ms"], told["tokens"]) == ("abort", None, 0)


HALF = TokenScore(b"\xf0\x9f", -0.5, [(b"a", -0.1), (b"\xf0\x9f", -0.5)], 3)


def test_the_shapes_are_those_of_openai():
    assert chat_logprobs([HALF]) == {
        "content": [
            {
                "token": "\\xf0\\x9f",
                "logprob": -0.5,
                "bytes": [0xF0, 0x9F],
                "top_logprobs": [
                    {"token": "a", "logprob": -0.1, "bytes": [97]},
                    {"token": "\\xf0\\x9f", "logprob": -0.5, "bytes": [0xF0, 0x9F]},
                ],
            }
        ]
    }
    assert completion_logprobs([HALF, TokenScore(b"b", -2.0, [], 4)]) == {
        "tokens": ["bytes:\\xf0\\x9f", "b"],
        "token_logprobs": [-0.5, -2.0],
        "top_logprobs": [{"bytes:\\xf0\\x9f": -0.5, "a": -0.1}, {"b": -2.0}],
        "text_offset": [3, 4],
    }


def test_no_more_alternatives_than_asked_for_and_nothing_json_cannot_say():
    told = token_score(CODEC, 60, scores_of([60])[0], 3, 0)
    assert len(told.likeliest) == 3 and told.likeliest[-1][1] == -9999.0
    assert len(token_score(CODEC, 60, scores_of([60])[0], 1, 0).likeliest) == 1
    assert token_score(CODEC, 60, Score(float("nan"), []), 0, 0).logprob == -9999.0


@pytest.mark.parametrize("chat", [True, False])
def test_ids_and_seed_are_told_once(chat):
    answer = AnswerFormat(chat, "id-1", "model", {"prompt_token_ids": [1, 2], "seed": 7})
    events = [json.loads(answer.event(Part("a", [5], None)).removeprefix(b"data: ")) for _ in range(2)]
    first, second = (event["choices"][0] for event in events)
    assert (first["prompt_token_ids"], first["seed"], first["token_ids"]) == ([1, 2], 7, [5])
    assert "seed" not in second and second["token_ids"] == [5] and events[0]["id"] == "id-1"
    plain = AnswerFormat(chat, "id-1", "model", None).event(Part("a", [5], None))
    assert b"token_ids" not in plain and b"seed" not in plain
