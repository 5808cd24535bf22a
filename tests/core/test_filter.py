"""The filter language: what each term chooses, laws that hold for all terms, and errors that name the term."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsconsole.core.columns import NUMBERS, TEXTS
from opsconsole.core.filter import FilterError, parse
from tests.tui import fleets

FLEET = fleets.alarm()
NAMES = np.array([node.name for node in FLEET.roster.nodes])
TERMS = ("site:ams1", "h100", "util>70", "temp>=85", "queue<10", "unreachable",
         "model:llama*", "mem>50", "reason:*thermal*", "age>3", "ready", "kv>0")
term = st.tuples(st.booleans(), st.sampled_from(TERMS)).map(lambda pair: ("!" if pair[0] else "") + pair[1])


def names(expression: str) -> list[str]:
    return NAMES[parse(expression).nodes(FLEET)].tolist()


def test_nothing_asked_chooses_everything():
    assert parse("").nodes(FLEET).all() and parse("  ").gpus(FLEET).all() and parse("").workers(FLEET) == list(FLEET.workers)


@pytest.mark.parametrize("expression, chosen", [
    ("UNREACHABLE", ["h100-010"]),
    ("unreach", ["h100-010"]),
    ("reach:stale", ["h100-015"]),
    ("thermal", ["h200-004", "h200-005"]),
    ("temp>=85", ["h200-004", "h200-005"]),
    ('reason:"*route to host*"', ["h100-010"]),
    ("age>10", ["h100-010"]),
    ("h200-008 bus", ["h200-008"]),
    ("site:ams1 chip:h200 severity>0 !thermal", ["h200-008"]),
    ("draining", ["l40s-018"]),
    ("name:h100-00?", ["h100-009"]),
    ("name:h100-0*9", ["h100-009"]),
])
def test_what_a_term_chooses(expression, chosen):
    assert names(expression) == chosen


def test_a_whole_word_is_needed_after_a_colon():
    assert names("site:ams") == [] and len(names("site:ams*")) == 16


def test_unknown_is_neither_above_nor_below():
    assert "h100-010" not in names("util>=0") and "h100-010" not in names("util<1000")
    assert "h100-010" in names("!util>=0")


def test_gpus_have_their_own_figures_and_their_nodes_words():
    hot = parse("temp>=85").gpus(FLEET)
    assert hot.sum() == 16 and hot[24:40].all()
    assert parse("bus").gpus(FLEET).nonzero()[0].tolist() == [59]
    assert parse("site:fra2").gpus(FLEET).sum() == 64
    assert parse("mem>0").gpus(FLEET).sum() == 22 * 8 - 1


def test_workers_have_their_own_figures_and_their_nodes_words():
    assert [worker.state for worker in parse("!ready").workers(FLEET)] == ["DRAINING", "STARTING"]
    assert {worker.model for worker in parse("ttft>=900").workers(FLEET)} == {"llama-8b"}
    assert all(worker.node == "h200-001" for worker in parse("node:h200-001").workers(FLEET))
    assert len(parse("site:fra2").workers(FLEET)) == 16


def test_models_are_chosen_by_their_fields():
    models = [{"name": "llama-8b", "queue_depth": 9, "reason": ""}, {"name": "qwen", "queue_depth": None, "reason": "x"}]
    assert [model["name"] for model in parse("model:llama*").choose(models, "model")] == ["llama-8b"]
    assert [model["name"] for model in parse("queue>=0").choose(models, "model")] == ["llama-8b"]
    assert parse("uuid:1").choose(models, "model") == []


@settings(derandomize=True, deadline=None)
@given(st.lists(term, max_size=4), term)
def test_terms_only_narrow_and_an_inverse_completes(terms, last):
    rest = parse(" ".join(terms))
    both = parse(" ".join([*terms, last]))
    other = parse(" ".join([*terms, last[1:] if last.startswith("!") else "!" + last]))
    for rows in ("nodes", "gpus"):
        all_of, part, complement = (getattr(chosen, rows)(FLEET) for chosen in (rest, both, other))
        assert not (part & ~all_of).any()
        assert ((part ^ complement) == all_of).all()
    parts = both.workers(FLEET) + other.workers(FLEET)
    assert sorted(worker.name for worker in parts) == sorted(worker.name for worker in rest.workers(FLEET))


@settings(derandomize=True, deadline=None)
@given(st.lists(term, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_order_of_terms_does_not_matter(terms, random):
    shuffled = random.sample(terms, len(terms))
    assert (parse(" ".join(terms)).nodes(FLEET) == parse(" ".join(shuffled)).nodes(FLEET)).all()


@settings(derandomize=True, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_in_words(text):
    try:
        chosen = parse(text)
    except FilterError as error:
        assert str(error).startswith("filter: ")
        return
    for fleet in (FLEET, fleets.empty()):
        assert chosen.nodes(fleet).shape == (len(fleet.roster.nodes),)
        assert chosen.gpus(fleet).shape == (len(fleet.roster.gpu_uuid),)
        chosen.workers(fleet)


@pytest.mark.parametrize("key", [*TEXTS, *NUMBERS])
def test_every_key_works_on_every_kind_of_row(key):
    chosen = parse(f"{key}:1")
    for fleet in (FLEET, fleets.hostile(), fleets.connecting(), fleets.empty()):
        chosen.nodes(fleet), chosen.gpus(fleet), chosen.workers(fleet)


@pytest.mark.parametrize("expression, words", [
    ("heat>3", ["`heat>3`", "temp", "site"]), ("util>hot", ["`util>hot`", "NUMBER"]), ("site>3", ["`site>3`", "site:WORD"]),
    ("!", ["`!`"]), ('"open', ["quotation"]), ("util>nan", ["NUMBER"]), ("site:", ["site:WORD"]), ('""', ["empty"]),
])
def test_errors_name_the_term_and_what_is_allowed(expression, words):
    with pytest.raises(FilterError) as caught:
        parse(expression)
    assert all(word in str(caught.value) for word in words)
