"""A checkpoint whose tensors do not match its config is refused by name."""

import pytest

pytest.importorskip("safetensors")
pytest.importorskip("ml_dtypes")

import numpy as np  # noqa: E402

from opsconsole.worker.config import UnsupportedModel, read_config  # noqa: E402
from opsconsole.worker.source import TINY  # noqa: E402
from opsconsole.worker.weights import load_params, numpy_draw, random_params  # noqa: E402
from tests.worker.checkpoints import draw_tensors, write_checkpoint  # noqa: E402


def test_a_missing_tensor_is_named(tmp_path):
    checkpoint = write_checkpoint(tmp_path, model_type="llama", tie_word_embeddings=True)
    untied = read_config(write_checkpoint(tmp_path / "untied", model_type="llama"))
    with pytest.raises(UnsupportedModel, match="lm_head.weight"):
        load_params(checkpoint, untied, np.float32)


def test_a_wrong_shape_is_named(tmp_path):
    from safetensors.numpy import save_file

    config = read_config(write_checkpoint(tmp_path, model_type="llama"))
    tensors = draw_tensors(
        dict(model_type="llama", vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
        | dict(num_key_value_heads=2, head_dim=8, intermediate_size=48)
    )
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UnsupportedModel, match=r"embed_tokens.weight has shape \(60, 32\)"):
        load_params(tmp_path, config, np.float32)


def test_damaged_and_absent_weights_are_refused(tmp_path):
    config = read_config(write_checkpoint(tmp_path, model_type="llama"))
    (tmp_path / "model.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(UnsupportedModel, match="cannot be read"):
        load_params(tmp_path, config, np.float32)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UnsupportedModel, match="no .*safetensors"):
        load_params(tmp_path, config, np.float32)


def test_random_weights_follow_their_seed():
    first, again, other = (random_params(TINY, numpy_draw(seed, np.float32))["embedding"] for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
    assert 0.8e6 < TINY.parameters < 1.3e6
