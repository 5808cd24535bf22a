"""The worker computes what transformers computes, on checkpoints that transformers wrote: the logits of every path, and the tokens.

Logits agree when the largest difference is below 1e-4 of the largest logit of the reference; both compute in float32.
"""

import pytest

WHY = "compares with transformers and torch (the extra `parity`)"
pytest.importorskip("jax")
pytest.importorskip("torch", reason=WHY)
pytest.importorskip("transformers", reason=WHY)

import numpy as np  # noqa: E402

from opsconsole.worker import model, programs  # noqa: E402
from opsconsole.worker.options import Options  # noqa: E402
from opsconsole.worker.request import Request, Sampling  # noqa: E402
from tests.worker.conftest import RunningEngine  # noqa: E402
from tests.worker.model_paths import Paths  # noqa: E402
from tests.worker.reference import ARCHITECTURES, Reference, add_end_tokens, write_reference  # noqa: E402

CLOSE = 1e-4
SLOTS, MAX_LEN, CHUNK = 4, 192, 40
GREEDY_TOKENS = 64


def text(seed, length):
    return np.random.default_rng(seed).integers(3, 1000, length).tolist()


PROMPTS = [text(1, 9), text(2, 1), text(3, 115), text(4, 30), text(5, 77), text(6, 40)]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def checkpoint(request, tmp_path_factory):
    return write_reference(tmp_path_factory.mktemp("parity") / request.param, request.param)


@pytest.fixture(scope="module")
def reference(checkpoint):
    return Reference(checkpoint)


@pytest.fixture(scope="module")
def paths(checkpoint):
    return Paths(checkpoint, slots=SLOTS, max_len=64, bucket=CHUNK)


@pytest.fixture(scope="module")
def free_answers(reference):
    """What transformers says when no token ends its answer."""
    return [reference.greedy(prompt, GREEDY_TOKENS, eos_token_id=None) for prompt in PROMPTS]


@pytest.fixture(scope="module")
def end_token(checkpoint, free_answers):
    """A token that comes up in the midst of the first answer, made an end token of the checkpoint beside its own."""
    first = free_answers[0]
    chosen = next(token for token in first[10:] if token not in first[:10] and token != 2)
    add_end_tokens(checkpoint, [2, chosen])
    return chosen


@pytest.fixture(scope="module")
def running(checkpoint, end_token, artifacts):
    with pytest.MonkeyPatch.context() as patch:
        # The fewest sizes that still make chunks and two widths: what takes time here is to compile them.
        patch.setattr(programs, "PREFILL_LENGTHS", (CHUNK,))
        patch.setattr(model, "SEGMENT_ENDS", (64,))
        engine = RunningEngine(Options(str(checkpoint), checkpoint.name, slots=SLOTS, max_len=MAX_LEN, artifacts=artifacts))
    yield engine
    engine.stop()


def greedy(prompts, **settings):
    return [Request(prompt, GREEDY_TOKENS, Sampling(temperature=0.0), **settings) for prompt in prompts]


def difference(ours, theirs):
    """The largest difference of logits as a share of the largest logit."""
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def test_a_prompt_gives_the_same_logits_alone_and_beside_others(paths, reference):
    first, second = text(6, 25), text(7, 14)
    expected = np.stack([reference.logits(first)[-1], reference.logits(second)[-1]])
    assert difference(paths.prefill([(2, 0, first)])[0], expected[0]) < CLOSE
    assert difference(paths.prefill([(3, 0, first), (0, 0, second)]), expected) < CLOSE
    assert np.abs(expected[0] - expected[1]).max() > 1000 * CLOSE * np.abs(expected).max(), "else agreement would prove nothing"


def test_a_prompt_in_chunks_gives_the_same_logits(paths, reference):
    whole = text(8, 60)
    expected = reference.logits(whole)
    for start, stop in ((0, 33), (33, 34), (34, 60)):
        logits = paths.prefill([(1, start, whole[start:stop])], chunked=True)
        assert difference(logits[0], expected[stop - 1]) < CLOSE


def test_tokens_added_one_by_one_in_a_batch_give_the_same_logits(paths, reference):
    texts = {0: text(9, 40), 2: text(10, 55), 3: text(11, 48)}
    starts = {0: 3, 2: 20, 3: 11}
    expected = {slot: reference.logits(tokens) for slot, tokens in texts.items()}
    paths.prefill([(slot, 0, texts[slot][:start]) for slot, start in starts.items()])
    for step in range(35):
        at = {slot: start + step for slot, start in starts.items()}
        logits = paths.decode({slot: (texts[slot][position], position) for slot, position in at.items()})
        assert max(difference(logits[slot], expected[slot][position]) for slot, position in at.items()) < CLOSE


def test_the_engine_says_the_same_tokens_alone_and_in_a_batch(running, free_answers):
    assert len({token for tokens in free_answers for token in tokens}) > GREEDY_TOKENS, "else equal tokens would prove little"
    assert [running.answers([request])[0] for request in greedy(PROMPTS, ignore_eos=True)] == free_answers
    assert running.answers(greedy(PROMPTS, ignore_eos=True)) == free_answers


def test_both_end_at_the_same_token(checkpoint, running, end_token):
    reference = Reference(checkpoint)  # read anew, because of the end token
    expected = [reference.greedy(prompt, GREEDY_TOKENS) for prompt in PROMPTS]
    assert expected[0][-1] == end_token and 10 < len(expected[0]) < GREEDY_TOKENS
    assert running.answers(greedy(PROMPTS)) == expected
