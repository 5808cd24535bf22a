"""The cached, packed, chunked and batched paths give the logits of one plain pass over the whole text."""

import pytest

pytest.importorskip("jax")
pytest.importorskip("safetensors")

import numpy as np  # noqa: E402

from opsconsole.worker import config, model  # noqa: E402
from tests.worker.checkpoints import FAMILIES, write_checkpoint  # noqa: E402
from tests.worker.model_paths import Paths  # noqa: E402
from tests.worker.plain_forward import plain_logits  # noqa: E402

CLOSE = 2e-4
TEXTS = [np.random.default_rng(seed).integers(3, 61, 40).tolist() for seed in (1, 2)]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_path_agrees_with_the_plain_pass(family, tmp_path):
    checkpoint = write_checkpoint(tmp_path / family, **FAMILIES[family])
    expected = [plain_logits(checkpoint, text) for text in TEXTS]
    paths = Paths(checkpoint)
    packed = paths.prefill([(2, 0, TEXTS[0][:11]), (0, 0, TEXTS[1][:13])])
    np.testing.assert_allclose(packed, [expected[0][10], expected[1][12]], atol=CLOSE)
    for step in range(8):
        logits = paths.decode({2: (TEXTS[0][11 + step], 11 + step), 0: (TEXTS[1][13 + step], 13 + step)})
        np.testing.assert_allclose(logits[[2, 0]], [expected[0][11 + step], expected[1][13 + step]], atol=CLOSE)


def test_a_prompt_in_chunks_equals_the_plain_pass(tmp_path):
    checkpoint = write_checkpoint(tmp_path, **FAMILIES["llama"])
    expected, paths = plain_logits(checkpoint, TEXTS[0]), Paths(checkpoint)
    paths.prefill([(1, 0, TEXTS[1][:24])])  # what an earlier request left in the slot must not be seen
    for start, stop in ((0, 17), (17, 23), (23, 40)):
        logits = paths.prefill([(1, start, TEXTS[0][start:stop])], chunked=True)
        np.testing.assert_allclose(logits[0], expected[stop - 1], atol=CLOSE)


def test_llama3_positions_keep_fast_turns_and_slow_the_long_ones():
    rope = config.Rope(theta=500000.0, kind="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_len=8192)
    plain = model.rope_frequencies(config.Rope(theta=500000.0), 64)
    scaled = model.rope_frequencies(rope, 64)
    wavelength = 2 * np.pi / plain
    np.testing.assert_allclose(scaled[wavelength < 8192 / 4], plain[wavelength < 8192 / 4])
    np.testing.assert_allclose(scaled[wavelength > 8192], plain[wavelength > 8192] / 8, rtol=1e-6)
    between = (wavelength > 8192 / 4) & (wavelength < 8192)
    assert between.any() and ((scaled < plain) & (scaled > plain / 8))[between].all()
