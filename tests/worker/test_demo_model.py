"""What the demo's model says: short and to its end, with the names of the question, and commands that the console has."""

import json
import random
import re

import pytest

pytest.importorskip("jax")

from opsconsole.sim.prompts import make_prompt  # noqa: E402
from tests.demo.commands import commands_in  # noqa: E402

NEW_NODES = ("zrh3-gb300-q", "dc2-l40s-03", "gpu417.osl2", "kx-b09", "ams1-h100-a")
NAME = re.compile(r"[a-z]+[a-z0-9]*-[a-z0-9-]+")


def answer(worker, asked, **more):
    """What the worker says to one question; it has to end by itself."""
    body = {"messages": [{"role": "user", "content": asked}], "temperature": 0, "max_tokens": 120} | more
    status, _, raw = worker.ask("/v1/chat/completions", body)
    choice = json.loads(raw)["choices"][0]
    assert (status, choice["finish_reason"]) == (200, "stop"), choice
    return choice["message"]["content"]


@pytest.mark.parametrize("node", NEW_NODES)
def test_a_name_that_was_never_trained_on_is_copied_into_the_command(shared_worker, node):
    assert f"drain {node}" in commands_in(answer(shared_worker, f"How do I drain {node}?"))
    assert f"doctor {node}" in commands_in(answer(shared_worker, f"I cannot reach {node}."))


@pytest.mark.parametrize(("asked", "command"), [
    ("How do I launch chat-7f on rack12-n3?", "launch chat-7f --node rack12-n3"),
    ("Take dc2-l40s-03 back into service.", "undrain dc2-l40s-03"),
    ("How do I stop worker chat-7f-2?", "drain chat-7f-2"),
    ("Show the power of GPU 5 on lon2-h200-k.", "history gpu.power_w --node lon2-h200-k --gpu 5 --since 1h"),
    ("Worker qwen-32b-4 has 87 requests waiting.", "launch qwen-32b"),
])
def test_questions_are_answered_with_the_command_to_type(shared_worker, asked, command):
    assert commands_in(answer(shared_worker, asked)) == [command]


@pytest.mark.parametrize(("asked", "fact"), [
    ("What does XID 79 mean?", "fallen off the bus"), ("xid 48?", "double bit ECC"), ("Explain XID 94.", "contained memory error"),
    ("What is XID 95?", "uncontained memory error"), ("What does XID 31 mean?", "page fault"), ("What is XID 74?", "NVLink"),
    ("What does XID 7 mean?", "I do not know XID 7."), ("What does TTFT mean?", "time to first token"), ("Exit code 4?", "guard refused"),
])
def test_facts(shared_worker, asked, fact):
    assert fact in answer(shared_worker, asked)


@pytest.mark.parametrize("temperature", [0, 0.7])
def test_what_the_public_of_the_demo_asks_is_answered_with_its_names(shared_worker, temperature):
    dice = random.Random(3)
    for number in range(24):
        asked = make_prompt(dice)
        said = answer(shared_worker, asked, temperature=temperature, seed=number)
        commands_in(said)
        assert set(NAME.findall(asked)) <= set(NAME.findall(said)), (asked, said)
