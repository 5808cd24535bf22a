"""What the demo's model is taught is true of this console: its commands, series, filters, keys, exit codes and words exist."""

import importlib
import random
import re
from pathlib import Path

import pytest

from opsconsole.cli.output import Exit
from opsconsole.core.fleet import REACH_WORDS
from opsconsole.core.severity import XID_CRITICAL, XID_WORDS
from opsconsole.sim.prompts import QUESTIONS
from opsconsole.tui.actions import ACTIONS
from tests.demo.commands import COMMAND, commands_in


@pytest.fixture
def corpus(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "demo"))
    return importlib.import_module("corpus")


@pytest.fixture
def answers(corpus):
    """Several answers of every topic."""
    dice = random.Random(5)
    return [corpus.question(dice, topic)[1] for topic in corpus.TOPICS for _ in range(60)]


def test_every_command_exists_with_its_options(answers):
    called = {command.split()[0] for answer in answers for command in commands_in(answer)}
    assert called == {"doctor", "drain", "gpus", "history", "launch", "nodes", "status", "undrain", "workers"}


def test_every_mention_of_the_console_is_a_command_in_full(answers):
    bare = {word for answer in answers for word in re.findall(r"\w*`?opsconsole`? \w+", COMMAND.sub("", answer))}
    assert not bare, bare


def test_keys_exit_codes_and_words_are_those_of_the_console(corpus):
    drawn = {"space": "␣", "Esc": "esc"}
    assert {drawn.get(key, key) for key in corpus.KEYS.values()} <= {action.key_shown for action in ACTIONS}
    assert set(corpus.EXIT_CODES) == {str(int(code)) for code in Exit}
    assert set(REACH_WORDS) <= set(corpus.WORDS)
    assert set(corpus.XID) <= set(XID_WORDS) and set(corpus.XID) >= set(XID_CRITICAL)


def test_what_the_public_asks_is_taught(corpus):
    assert set(QUESTIONS) <= {ask for topic in corpus.TOPICS for ask in topic.asks}


def test_what_the_exam_asks_is_not(corpus):
    for topic in corpus.TOPICS:
        assert topic.kept_back and not set(topic.kept_back) & {ask for other in corpus.TOPICS for ask in other.asks}


def test_the_same_seed_gives_the_same_text(corpus):
    first, again, other = (next(corpus.conversations(seed)) for seed in (1, 1, 2))
    assert first == again != other
