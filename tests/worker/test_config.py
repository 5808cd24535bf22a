"""What a checkpoint may say about itself, and the one sentence that refuses the rest."""

import json

import pytest

from opsconsole.worker.config import UnsupportedModel, read_config
from tests.worker.checkpoints import FAMILIES, SHAPE

REFUSALS = {
    "Architecture GemmaForCausalLM (model_type 'gemma') is not supported": {"model_type": "gemma", "architectures": ["GemmaForCausalLM"]},
    "Activation 'gelu'": {"model_type": "llama", "hidden_act": "gelu"},
    "Sliding window": {"model_type": "mistral", "sliding_window": 4096},
    "Quantized weights (awq)": {"model_type": "llama", "quantization_config": {"quant_method": "awq"}},
    "Position embedding 'yarn'": {"model_type": "qwen3", "rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
    "4 attention heads cannot share 3": {"model_type": "llama", "num_key_value_heads": 3},
}


def write(folder, **settings):
    (folder / "config.json").write_text(json.dumps(SHAPE | settings))
    return folder


@pytest.mark.parametrize("reason", REFUSALS)
def test_what_cannot_be_served_is_named(reason, tmp_path):
    with pytest.raises(UnsupportedModel) as refused:
        read_config(write(tmp_path, **REFUSALS[reason]))
    assert reason in str(refused.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_differ_in_biases_and_norms(family, tmp_path):
    config = read_config(write(tmp_path, **FAMILIES[family]))
    assert config.qkv_bias == (family in ("qwen2", "llama-biases"))
    assert config.attention_out_bias == config.mlp_bias == (family == "llama-biases")
    assert config.qk_norm == (family == "qwen3")


def test_both_ways_of_writing_positions_are_read(tmp_path):
    older = read_config(write(tmp_path, model_type="llama", rope_theta=5e5, rope_scaling={"type": "linear", "factor": 2.0}))
    newer = read_config(write(tmp_path, model_type="llama", rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5}))
    assert older.rope == newer.rope
    assert (older.rope.theta, older.rope.factor) == (5e5, 2.0)


def test_end_tokens_of_both_files_count(tmp_path):
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [2, 5]}')
    assert read_config(write(tmp_path, model_type="llama")).eos_ids == (2, 5)


def test_a_folder_without_a_config_is_no_checkpoint(tmp_path):
    with pytest.raises(UnsupportedModel, match="has no config.json"):
        read_config(tmp_path)


def test_a_missing_key_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama", "num_attention_heads": 4}')
    with pytest.raises(UnsupportedModel, match="vocab_size"):
        read_config(tmp_path)
