"""Each wrong field is named, and each right one is read."""

import json

import pytest

from opsconsole.worker.api import ApiError, parse_body

GOOD = {"prompt": "hello"}
CHAT = {"messages": [{"role": "user", "content": "hello"}]}
WRONG = [
    ("temperature", 2.5),
    ("temperature", "hot"),
    ("temperature", True),
    ("top_p", 0),
    ("top_p", float("nan")),
    ("top_k", 1000),
    ("top_k", 1.5),
    ("max_tokens", 0),
    ("max_completion_tokens", "many"),
    ("seed", 1.5),
    ("stop", 3),
    ("stop", [""]),
    ("stop", ["x"] * 17),
    ("stream", "yes"),
    ("stream_options", 1),
    ("model", 7),
    ("n", 2),
    ("logit_bias", {"5": 1}),
    ("presence_penalty", 0.5),
    ("logprobs", 21),
    ("logprobs", True),
    ("top_logprobs", 3),
    ("min_tokens", -1),
    ("stop_token_ids", 5),
    ("user", 5),
    ("user", "x" * 513),
    ("response_format", {"type": "json_object"}),
    ("resume_token_ids", [-1]),
]


def refusal(body, chat=False):
    with pytest.raises(ApiError) as refused:
        parse_body(body if isinstance(body, bytes) else json.dumps(body).encode(), chat)
    assert refused.value.status == 400
    return refused.value


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_wrong_field_is_named(field, value):
    refused = refusal(GOOD | {field: value})
    assert refused.param == field and field in refused.message


@pytest.mark.parametrize("prompt", [None, "", [], ["a", "b"], [[1], [2]], [1, "a"], [1.5], {"a": 1}])
def test_a_prompt_is_one_text_or_one_list_of_ids(prompt):
    assert refusal({"prompt": prompt}).param == "prompt"


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (None, "messages"),
        ([], "messages"),
        (["hi"], "messages[0]"),
        ([{"content": "hi"}], "messages[0]"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "messages[0].content"),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": 3}], "messages[1].content"),
    ],
)
def test_wrong_messages_are_named(messages, param):
    assert refusal({"messages": messages}, chat=True).param == param


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(raw):
    assert refusal(raw).code == "invalid_json"


def test_a_full_body_is_read():
    body = CHAT | {"temperature": 0, "top_p": 0.5, "top_k": -1, "seed": -1, "stop": "x", "max_tokens": 5, "max_completion_tokens": 7}
    ask = parse_body(json.dumps(body | {"stream": True, "stream_options": {"include_usage": True}, "user": "me", "n": 1}).encode(), True)
    assert (ask.sampling.temperature, ask.sampling.top_p, ask.sampling.top_k, ask.sampling.seed) == (0.0, 0.5, 0, 0xFFFFFFFF)
    assert ask.max_tokens == 7 and ask.stops == ("x",) and ask.stream and ask.include_usage


def test_text_parts_are_joined_and_seeds_differ_when_none_is_given():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    body = json.dumps({"messages": [{"role": "user", "content": parts}]}).encode()
    first, second = parse_body(body, True), parse_body(body, True)
    assert first.prompt[0]["content"] == "ab"
    assert first.sampling.seed != second.sampling.seed
