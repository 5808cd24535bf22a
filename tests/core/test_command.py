"""An intent as a command line means the same again once click has parsed it."""

import shlex
from dataclasses import fields

import click
import pytest

from opsconsole.cli.root import opsconsole
from opsconsole.core.command import command_of
from opsconsole.core.steps import Cap, Cordon, Drain, Launch, Rebalance, Rollout, Stop, Uncordon, Undo, Undrain

INTENTS = (
    Launch("llama-8b"), Launch("qwen 3", node="n1", gpus=(0, 3), count=2, reason="queue is long"), Launch("--odd"),
    Drain(("w1",)), Drain(("w1", "n 2"), 90.0, "migrate", "fan; rm -rf ~"), Drain(("-w",), 7200.0, "abort"), Drain(("w1",), 0.5),
    Undrain(("w1", "w2"), reason="`id` $(id)"), Stop(("w1",)), Cordon(("n1",), reason="fan 3 isn't well"), Uncordon(("n1", "n2")),
    Rebalance(), Rebalance("llama-8b", "power"), Rollout("llama-8b", "/models/llama 8b-r2"), Rollout("m", "r2", 1800.0, "migrate"),
    Cap("n1", 350.0), Cap("ams1", 31_500.5, "feed B is down"), Cap("n1", None),
)
PARAMETERS = {"deadline_s": "deadline"}
"""Fields whose parameter has another name."""


@pytest.mark.parametrize("intent", INTENTS, ids=command_of)
def test_a_command_says_the_same_when_it_is_parsed(intent):
    program, name, *words = shlex.split(command_of(intent))
    assert program == "opsconsole" and "--yes" not in words
    command = opsconsole.get_command(click.Context(opsconsole), name)
    if command is None:
        pytest.skip(f"there is no command {name} yet")
    said = command.make_context(name, words).params
    values = [(field.name, said[PARAMETERS.get(field.name, field.name)]) for field in fields(intent) if field.name != "actor"]
    assert dict(values) == {name: getattr(intent, name) for name, _ in values}


def test_an_undo_is_a_run_taken_back():
    assert command_of(Undo("7f3c9a10d2")) == "opsconsole resume --back 7f3c9a10d2"
    assert command_of(Undo("7f3c9a10d2", "wrong node")) == "opsconsole resume --back --reason 'wrong node' 7f3c9a10d2"


def test_a_word_from_a_stranger_stays_one_word():
    assert shlex.split(command_of(Drain(("$(reboot)",), reason="a'b\"c"))) == [
        "opsconsole", "drain", "--deadline", "10m", "--on-deadline", "hold", "--reason", "a'b\"c", "$(reboot)",
    ]
