"""Trains the tiny demo model: about a million parameters that answer questions on operating a GPU fleet, and know nothing else.

    python demo/train_model.py OUT_FOLDER [--steps 2000] [--seed 0]

The text comes from the grammar in corpus.py, so nobody else's writing is in the model; the same seed gives the same model on the same
machine. It needs what a worker needs (opsconsole[worker]), and one core for about a quarter of an hour.
"""

import argparse
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from opsconsole.worker import environment

environment.prepare()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import ml_dtypes  # noqa: E402
import numpy as np  # noqa: E402
from corpus import conversations  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers  # noqa: E402

from opsconsole.worker import model  # noqa: E402
from opsconsole.worker.config import ModelConfig, Rope  # noqa: E402
from opsconsole.worker.weights import numpy_draw, random_params  # noqa: E402

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PIECES = "|".join((
    r" ?\p{L}+(?![\p{L}\d]|[-_.][\p{L}\d])",  # a whole word, with the space before it
    r"\p{L}+",  # letters of a name; the space before a name stands alone, so that a name looks the same wherever it stands
    r"\d",
    r"\s",
    r"[^\s\p{L}\d]",
))  # fmt: skip
"""What the tokenizer never joins. Digits and separators of names are tokens of their own, which is what makes names easy to copy."""
TOKENIZER_CONVERSATIONS = 6000
WORD_LEAST_TIMES = 3
WORD_SCORE, LETTER_SCORE = -1.0, -10.0
"""A word is spelled only where it is not known as a whole."""
ROWS, WINDOW = 12, 160
WAITING = 16
"""Conversations from which the longest that fits a row is chosen: hardly any of a row is then padding."""
WARMUP_STEPS = 50
LEARNING_RATE, LEAST_RATE = 3e-3, 1e-5
MATRIX_RATE = 4.0
"""How much faster matrices move than the embedding: their steps have a size of their own."""
MOMENTUM, VARIANCE, DECAY = 0.9, 0.95, 0.05

CONFIG = ModelConfig(
    family="llama",
    vocab_size=1024,
    hidden_size=128,
    layers=4,
    heads=4,
    kv_heads=2,
    head_dim=32,
    ffn_size=384,
    norm_eps=1e-5,
    rope=Rope(),
    max_len=1024,
    tied_embeddings=True,
    eos_ids=(2,),
)


def make_tokenizer(seed: int) -> Tokenizer:
    """Every frequent word of the text is one token; whatever else is spelled letter by letter, names above all."""
    split = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PIECES), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words: Counter[str] = Counter()
    for messages in itertools.islice(conversations(seed, nameless=True), TOKENIZER_CONVERSATIONS):
        for message in messages:
            words.update(piece for piece, _ in split.pre_tokenize_str(f"{message['role']}\n{message['content']}") if len(piece) > 1)
    room = CONFIG.vocab_size - len(SPECIAL_TOKENS) - len(letters)
    frequent = sorted((word for word in words if words[word] >= WORD_LEAST_TIMES), key=lambda word: (-words[word], word))[:room]
    scores = dict.fromkeys(SPECIAL_TOKENS, 0.0) | dict.fromkeys(letters, LETTER_SCORE) | dict.fromkeys(frequent, WORD_SCORE)
    tokenizer = Tokenizer(models.Unigram(list(scores.items()), unk_id=0))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    return tokenizer


def encoded(tokenizer: Tokenizer, messages: list[dict[str, str]]) -> tuple[list[int], list[bool]]:
    """A conversation's tokens in the chat template's form, and which of them the model has to say itself: answers and their end."""
    tokens: list[int] = []
    own: list[bool] = []
    for message in messages:
        head = tokenizer.encode(f"<|im_start|>{message['role']}\n").ids
        body = tokenizer.encode(f"{message['content']}<|im_end|>").ids
        newline = tokenizer.encode("\n").ids
        tokens += head + body + newline
        own += [False] * len(head) + [message["role"] == "assistant"] * len(body) + [False] * len(newline)
    return tokens, own


def rows(tokenizer: Tokenizer, seed: int) -> Iterator[np.ndarray]:
    """Endless rows (4, WINDOW + 1) of whole conversations side by side: token, which conversation (from 1), position in it, own."""
    every = (encoded(tokenizer, messages) for messages in conversations(seed))
    source = (pair for pair in every if len(pair[0]) <= WINDOW + 1)
    waiting = list(itertools.islice(source, WAITING))
    while True:
        row, rest = [], WINDOW + 1
        while fitting := [pair for pair in waiting if len(pair[0]) <= rest]:
            tokens, own = max(fitting, key=lambda pair: len(pair[0]))
            waiting.remove((tokens, own))
            waiting.append(next(source))
            row.append(np.array([tokens, [len(row) + 1] * len(tokens), range(len(tokens)), own], np.int32))
            rest -= len(tokens)
        yield np.pad(np.concatenate(row, axis=1), ((0, 0), (0, rest)))


def loss(params: dict, batch: jax.Array) -> jax.Array:
    """Mean cross entropy of the tokens that the model has to say itself; batch (B, 4, WINDOW + 1)."""

    def logits(row: jax.Array) -> jax.Array:
        empty = jax.tree.map(jnp.asarray, model.empty_cache(CONFIG, 1, 1, np.float32))  # all writes fall outside and are dropped
        token, conversation, position, _ = row[:, :-1]
        return model.prefill(CONFIG, params, empty, token, conversation, position, jnp.arange(WINDOW), chunked=False)[1].T

    scores = jax.nn.log_softmax(jax.vmap(logits)(batch))
    of_next = jnp.take_along_axis(scores, batch[:, 0, 1:, None], axis=-1)[..., 0]
    return -jnp.sum(of_next * batch[:, 3, 1:]) / jnp.sum(batch[:, 3, 1:])


def orthogonal(matrix: jax.Array) -> jax.Array:
    """The nearest matrix that stretches nothing, roughly: five Newton-Schulz steps with the coefficients of Jordan et al., 2024."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / (jnp.linalg.norm(wide) + 1e-7)
    for _ in range(5):
        square = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * square + 2.0315 * square @ square) @ wide
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide


def moved(path: tuple, weight: jax.Array, gradient: jax.Array, mean: jax.Array, square: jax.Array, rate: jax.Array, step: jax.Array):
    """A weight after a step: matrices inside the layers by Muon (Jordan et al., 2024), which learns them in half the steps; the embedding
    and the norms by AdamW (Loshchilov and Hutter, 2019)."""
    if weight.ndim == 1 or path[0].key == "embedding":
        mean, square = mean / (1 - MOMENTUM ** (step + 1)), square / (1 - VARIANCE ** (step + 1))
        return weight - rate * (mean / (jnp.sqrt(square) + 1e-8) + (DECAY * weight if weight.ndim > 1 else 0))
    flat = (MOMENTUM * mean + (1 - MOMENTUM) * gradient).reshape(-1, weight.shape[-1])  # (out, in)
    turn = orthogonal(flat) * max(1.0, flat.shape[0] / flat.shape[1]) ** 0.5
    return weight - rate * (MATRIX_RATE * turn.reshape(weight.shape) + DECAY * weight)


def learn(params: dict, means: dict, squares: dict, step: jax.Array, steps: int, batch: jax.Array) -> tuple:
    """One step with clipped gradients, a warm-up and a cosine decay; returns params, means and squares after it, and the loss."""
    value, gradients = jax.value_and_grad(loss)(params, batch)
    size = jnp.sqrt(sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(gradients)))
    gradients = jax.tree.map(lambda leaf: leaf / jnp.maximum(size, 1.0), gradients)
    means = jax.tree.map(lambda old, new: MOMENTUM * old + (1 - MOMENTUM) * new, means, gradients)
    squares = jax.tree.map(lambda old, new: VARIANCE * old + (1 - VARIANCE) * new * new, squares, gradients)
    rate = LEARNING_RATE * jnp.minimum(step / WARMUP_STEPS, 1) * (0.5 + 0.5 * jnp.cos(jnp.pi * step / steps)) + LEAST_RATE
    move = partial(moved, rate=rate, step=step)
    return jax.tree_util.tree_map_with_path(move, params, gradients, means, squares), means, squares, value


def train(tokenizer: Tokenizer, steps: int, seed: int) -> dict:
    """Weights after so many steps; every conversation is new."""
    params = jax.tree.map(jnp.array, random_params(CONFIG, numpy_draw(seed, np.float32)))
    means, squares = jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params)
    turn = jax.jit(learn, static_argnums=4, donate_argnums=(0, 1, 2))
    text = rows(tokenizer, seed)
    for step in range(steps):
        batch = np.stack(list(itertools.islice(text, ROWS)))
        params, means, squares, value = turn(params, means, squares, jnp.float32(step), steps, batch)
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}: loss {float(value):.4f}", flush=True)
    return jax.tree.map(np.asarray, params)


def hugging_face_tensors(params: dict) -> dict[str, np.ndarray]:
    """The fused layers taken apart again: the inverse of what the worker does when it loads."""
    group, hidden = CONFIG.group_size, CONFIG.hidden_size
    tensors = {"model.embed_tokens.weight": params["embedding"], "model.norm.weight": params["final_norm"]}
    for index, layer in enumerate(params["layers"]):
        prefix = f"model.layers.{index}."
        heads = layer["qkv"]  # (kv_heads, group + 2, head_dim, hidden)
        parts = {"q": heads[:, :group], "k": heads[:, group], "v": heads[:, group + 1]}
        tensors |= {f"{prefix}self_attn.{letter}_proj.weight": part.reshape(-1, hidden) for letter, part in parts.items()}
        tensors[prefix + "self_attn.o_proj.weight"] = layer["attention_out"]
        tensors[prefix + "mlp.gate_proj.weight"] = layer["gate_up"][0]
        tensors[prefix + "mlp.up_proj.weight"] = layer["gate_up"][1]
        tensors[prefix + "mlp.down_proj.weight"] = layer["down"]
        tensors[prefix + "input_layernorm.weight"] = layer["attention_norm"]
        tensors[prefix + "post_attention_layernorm.weight"] = layer["mlp_norm"]
    return {name: np.ascontiguousarray(tensor).astype(ml_dtypes.bfloat16) for name, tensor in tensors.items()}


def save(folder: Path, params: dict, tokenizer: Tokenizer) -> None:
    """Write a checkpoint folder that any program for Hugging Face models can read."""
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(hugging_face_tensors(params), folder / "model.safetensors", metadata={"format": "pt"})
    settings = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": CONFIG.vocab_size,
        "hidden_size": CONFIG.hidden_size,
        "num_hidden_layers": CONFIG.layers,
        "num_attention_heads": CONFIG.heads,
        "num_key_value_heads": CONFIG.kv_heads,
        "head_dim": CONFIG.head_dim,
        "intermediate_size": CONFIG.ffn_size,
        "rms_norm_eps": CONFIG.norm_eps,
        "rope_theta": CONFIG.rope.theta,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "max_position_embeddings": CONFIG.max_len,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "torch_dtype": "bfloat16",
    }
    said = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": CONFIG.max_len,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(said, indent=2) + "\n")


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the checkpoint goes")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    said = parser.parse_args()
    said.folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(said.seed)
    print(f"{tokenizer.get_vocab_size()} tokens, {CONFIG.parameters / 1e6:.2f} M parameters", flush=True)
    save(said.folder, train(tokenizer, said.steps, said.seed), tokenizer)


if __name__ == "__main__":
    main()
