"""Tokens are drawn as asked, and the same way every time."""

import pytest

jax = pytest.importorskip("jax")

import numpy as np  # noqa: E402

from opsconsole.worker import outcome  # noqa: E402
from opsconsole.worker.sampling import choose, result, withhold  # noqa: E402

LOGITS = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
chosen = jax.jit(choose)


def draw(rows=64, temperature=1.0, top_p=1.0, top_k=0, seed=1, logits=LOGITS):
    def filled(value, kind):
        return np.full(rows, value, kind)

    position = np.arange(rows, dtype=np.int32)
    batch = np.broadcast_to(logits[:, None], (len(logits), rows))
    settings = filled(temperature, np.float32), filled(top_p, np.float32), filled(top_k, np.int32), filled(seed, np.uint32)
    return np.asarray(chosen(batch, *settings, position))


def test_temperature_zero_takes_the_likeliest():
    assert (draw(temperature=0.0) == 0).all()


def test_top_k_and_top_p_leave_only_the_best():
    assert (draw(top_k=1) == 0).all()
    assert set(draw(top_k=2)) == {0, 1}
    assert (draw(top_p=0.5) == 0).all()
    assert set(draw(rows=256, top_p=0.9)) == {0, 1, 2}


def test_shares_are_those_of_the_logits():
    shares = np.bincount(draw(rows=4096), minlength=4) / 4096
    np.testing.assert_allclose(shares, np.exp(LOGITS), atol=0.03)


def test_the_same_seed_repeats_and_another_differs():
    assert (draw(seed=5) == draw(seed=5)).all()
    assert (draw(seed=5) != draw(seed=6)).any()


def test_a_draw_depends_on_its_own_row_only():
    assert (draw(rows=64)[:8] == draw(rows=8)).all()


def test_withheld_tokens_are_never_chosen():
    blocked = np.array([True, False])
    logits = np.asarray(withhold(np.stack([LOGITS, LOGITS], axis=1), (0, 2), blocked)).T
    assert (logits[0, [0, 2]] == -np.inf).all() and (logits[0, [1, 3]] == LOGITS[[1, 3]]).all()
    assert (logits[1] == LOGITS).all()
    assert withhold(LOGITS[:, None], (), blocked) is not None


def test_a_result_tells_scores_to_who_asks():
    logits = np.stack([LOGITS + 3.0, LOGITS], axis=1)
    told = np.asarray(jax.jit(result)(logits, np.array([1, 0], np.int32), np.array([True, False])))
    assert outcome.tokens_of(told) == [1, 0]
    score = outcome.score_of(told, 0, 3)
    assert [token for token, _ in score.likeliest] == [0, 1, 2]
    np.testing.assert_allclose([score.logprob, *(value for _, value in score.likeliest)], np.log([0.3, 0.5, 0.3, 0.15]), rtol=1e-5)
    assert len(outcome.score_of(told, 0, outcome.LIKELIEST).likeliest) == 4  # a vocabulary of four has no more


def test_nobody_pays_for_scores_that_nobody_wants():
    told = np.asarray(jax.jit(result)(LOGITS[:, None], np.array([2], np.int32), np.array([False])))
    assert outcome.tokens_of(told) == [2] and (told[:, 1:] == 0).all()
