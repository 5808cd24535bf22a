"""Checkpoints that transformers itself writes, and what transformers makes of them: the judge of every path through our model.

Import it only where torch and transformers are installed.
"""

import json
import shutil
from pathlib import Path

import torch
import transformers

TOKENIZER = Path(__file__).parents[2] / "demo" / "model" / "tokenizer.json"
SHAPE = {
    "vocab_size": 1024,  # of the demo's tokenizer, which serves all of them
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 112,
    "max_position_embeddings": 512,
    "initializer_range": 0.15,  # several times the usual, so that attention is sharp and the choice of a token clear
    "bos_token_id": 0,
    "eos_token_id": 2,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,  # short, so that a test's texts reach all three of its ranges
}
ARCHITECTURES = {
    "llama-tied": ("Llama", {"tie_word_embeddings": True}),
    "llama3-rope": ("Llama", {"rope_parameters": LLAMA3_ROPE}),
    "llama-biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "mistral-bfloat16": ("Mistral", {"sliding_window": None, "dtype": "bfloat16"}),
    "qwen2-sharded": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen3-wide-heads": ("Qwen3", {"head_dim": 32}),
}


def write_reference(folder, architecture, seed=11):
    """A checkpoint folder with random weights, norms and biases, all large enough that leaving one out would show."""
    family, settings = ARCHITECTURES[architecture]
    torch.manual_seed(seed)
    config = getattr(transformers, f"{family}Config")(**SHAPE | settings)
    network = getattr(transformers, f"{family}ForCausalLM")(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() == 1:
                parameter.normal_(1.0 if "norm" in name else 0.0, 0.3)
    network.to(getattr(torch, settings.get("dtype", "float32")))
    network.save_pretrained(folder, max_shard_size="200KB" if "sharded" in architecture else "1GB")
    shutil.copy(TOKENIZER, folder)
    return folder


def add_end_tokens(folder, tokens):
    """Name further end tokens where instruction-tuned checkpoints do."""
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": tokens}))


class Reference:
    """transformers running a checkpoint folder in float32."""

    def __init__(self, folder):
        self._network = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()

    def logits(self, tokens):
        """(len(tokens), vocab) of one pass over the whole text."""
        with torch.inference_mode():
            return self._network(torch.tensor([tokens])).logits[0].numpy()

    def greedy(self, tokens, count, **settings):
        """The likeliest tokens after a text, at most so many; settings such as eos_token_id=None go to `generate`."""
        with torch.inference_mode():
            settings = {"do_sample": False, "max_new_tokens": count, "pad_token_id": 0} | settings
            return self._network.generate(torch.tensor([tokens]), **settings)[0, len(tokens) :].tolist()
