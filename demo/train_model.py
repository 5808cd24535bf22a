"""Trains the tiny demo model: about a million parameters that answer questions on operating a GPU fleet, and know nothing else.

    python demo/train_model.py OUT_FOLDER [--steps 2000] [--seed 0]

The text comes from the grammar below, so nobody else's writing is in the model, and you may teach it something of your own:
add a pair of functions to TOPICS and train again. 2,000 steps take about ten minutes of one CPU core.
"""

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path

from opsconsole.worker import environment

environment.prepare()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import ml_dtypes  # noqa: E402
import numpy as np  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402

from opsconsole.worker import model  # noqa: E402
from opsconsole.worker.config import ModelConfig, Rope  # noqa: E402
from opsconsole.worker.weights import random_params  # noqa: E402

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONVERSATIONS = 30_000
BATCH, WINDOW = 16, 128
WARMUP_STEPS = 50
LEARNING_RATE, LEAST_RATE = 3e-3, 1e-5
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

XID = {
    13: ("a graphics engine exception", "look for bad memory accesses in the application, then restart the worker"),
    31: ("a GPU memory page fault", "look at the application first; if it moves with the GPU, run diagnostics"),
    48: ("a double bit ECC error", "drain the node, reset the GPU and check its row remapping"),
    63: ("a row remapping event", "the bad row is replaced at the next GPU reset, so plan one at a quiet hour"),
    64: ("a row remapping failure", "drain the node, reset the GPU, and return it if the failure comes back"),
    74: ("an NVLink error", "check the fabric manager log and the link error counters"),
    79: ("a GPU that has fallen off the bus", "cordon the node, power cycle it and check the PCIe slot and riser"),
    94: ("a contained ECC error", "restart the affected worker; the others may go on"),
    95: ("an uncontained ECC error", "drain every worker on the GPU and reset it"),
    119: ("a GSP timeout", "collect a bug report, then reset the GPU"),
}
"""Driver error codes, said as NVIDIA's Xid catalogue says them, and what to do first."""

Pair = tuple[str, str]
Dice = random.Random


def node(dice: Dice) -> str:
    """A made-up node name."""
    return f"{dice.choice(['gpu', 'h100', 'h200', 'node', 'rack'])}-{dice.choice('abcdef')}{dice.randrange(1, 40):02d}"


def xid(dice: Dice) -> Pair:
    """What a driver error means."""
    code = dice.choice(list(XID))
    meaning, mend = XID[code]
    return f"What does XID {code} mean?", f"XID {code} is {meaning}. Next step: {mend}."


def heat(dice: Dice) -> Pair:
    """Whether a temperature is too high."""
    name, gpu, temp_c = node(dice), dice.randrange(8), dice.randrange(60, 97)
    question = f"GPU {gpu} on {name} is at {temp_c} C. Is that a problem?"
    if temp_c >= 87:
        return question, f"Yes. {temp_c} C is near the slowdown limit, so clocks will drop. Check the fans and move load away from {name}."
    return question, f"No. {temp_c} C on {name} GPU {gpu} is within limits. Keep watching the trend."


def queue(dice: Dice) -> Pair:
    """Whether a queue is too long."""
    name, worker, waiting = node(dice), f"w{dice.randrange(8)}", dice.choice([0, 2, 12, 48, 96])
    question = f"Worker {worker} on {name} has {waiting} requests waiting."
    if waiting == 0:
        return question, f"The queue on {worker} is empty, so {name} has room for more load."
    advice = "That is normal under load." if waiting < 20 else f"Launch one more worker or rebalance away from {name}."
    return question, f"{waiting} requests are waiting on {worker}. {advice}"


def drain(dice: Dice) -> Pair:
    """How to take a node out."""
    name = node(dice)
    answer = "New requests go elsewhere, running streams finish, and then the workers on it are drained."
    return f"How do I drain {name}?", f"Run: opsconsole drain {name} --wait. {answer}"


def silence(dice: Dice) -> Pair:
    """A worker that does not answer."""
    name, worker = node(dice), f"w{dice.randrange(8)}"
    advice = "If it is gone, launch it again. If it hangs, keep its log before you stop it."
    return f"Worker {worker} on {name} does not answer.", f"First look at its process: opsconsole workers --filter {worker}. {advice}"


def cache(dice: Dice) -> Pair:
    """Whether a KV cache is too full."""
    worker, used_pct = f"w{dice.randrange(8)}", dice.choice([3, 25, 61, 98])
    question = f"KV cache use on {worker} is {used_pct} percent."
    if used_pct > 90:
        return question, f"At {used_pct} percent {worker} is nearly full, so new prompts will wait. Send new sessions to another worker."
    return question, f"{used_pct} percent is healthy for {worker}."


def slowness(dice: Dice) -> Pair:
    """Throughput that dropped."""
    name = node(dice)
    advice = "Then compare clocks with a healthy node of the same chip."
    return (
        f"Throughput on {name} dropped by half.",
        f"Check power caps, thermal slowdown and ECC counters on {name} in that order. {advice}",
    )


def greeting(dice: Dice) -> Pair:
    """Who is there."""
    answer = "I am the demo model of opsconsole. I know a little about GPU nodes, workers and draining. I am small, so verify what I say."
    return dice.choice(["hello", "hi", "who are you?"]), answer


TOPICS: list[Callable[[Dice], Pair]] = [xid, heat, queue, drain, silence, cache, slowness, greeting]


def conversations(seed: int) -> list[str]:
    """The whole training text, in the chat template's form."""
    dice = random.Random(seed)
    pairs = [dice.choice(TOPICS)(dice) for _ in range(CONVERSATIONS)]
    return [f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n{said}<|im_end|>\n" for asked, said in pairs]


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """Byte-level pairs learned from the text itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=CONFIG.vocab_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain = (text.replace("<|im_start|>", "").replace("<|im_end|>", "") for text in texts)
    tokenizer.train_from_iterator(plain, trainer)
    return tokenizer


def loss(params: dict, windows: jax.Array) -> jax.Array:
    """Mean cross entropy of each next token; windows (B, T + 1)."""

    def logits(tokens: jax.Array) -> jax.Array:
        length = tokens.shape[0]
        empty = jax.tree.map(jnp.asarray, model.empty_cache(CONFIG, 1, 1, np.float32))  # all writes fall outside and are dropped
        place, everywhere = jnp.ones(length, jnp.int32), jnp.arange(length)
        return model.prefill(CONFIG, params, empty, tokens, place, everywhere, everywhere, chunked=False)[1]

    scores = jax.nn.log_softmax(jax.vmap(logits)(windows[:, :-1]))
    return -jnp.mean(jnp.take_along_axis(scores, windows[:, 1:, None], axis=-1))


def adamw(params: dict, first: dict, second: dict, step: jax.Array, steps: int, windows: jax.Array) -> tuple:
    """One step of AdamW with clipped gradients, a warm-up and a cosine decay (Loshchilov and Hutter, 2019)."""
    value, gradient = jax.value_and_grad(loss)(params, windows)
    size = jnp.sqrt(sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(gradient)))
    gradient = jax.tree.map(lambda leaf: leaf / jnp.maximum(size, 1.0), gradient)
    first = jax.tree.map(lambda old, new: MOMENTUM * old + (1 - MOMENTUM) * new, first, gradient)
    second = jax.tree.map(lambda old, new: VARIANCE * old + (1 - VARIANCE) * new * new, second, gradient)
    rate = LEARNING_RATE * jnp.minimum(step / WARMUP_STEPS, 1) * (0.5 + 0.5 * jnp.cos(jnp.pi * step / steps)) + LEAST_RATE

    def moved(weight: jax.Array, mean: jax.Array, square: jax.Array) -> jax.Array:
        mean, square = mean / (1 - MOMENTUM ** (step + 1)), square / (1 - VARIANCE ** (step + 1))
        decay = DECAY * weight if weight.ndim > 1 else 0
        return weight - rate * (mean / (jnp.sqrt(square) + 1e-8) + decay)

    return jax.tree.map(moved, params, first, second), first, second, value


def train(token_ids: np.ndarray, steps: int, seed: int) -> dict:
    """Weights after so many steps on random windows of the text."""
    params = jax.tree.map(jnp.asarray, random_params(CONFIG, seed, np.float32))
    first = jax.tree.map(jnp.zeros_like, params)
    second = jax.tree.map(jnp.zeros_like, params)
    turn = jax.jit(adamw, static_argnums=4, donate_argnums=(0, 1, 2))
    generator = np.random.default_rng(seed)
    for step in range(steps):
        starts = generator.integers(0, len(token_ids) - WINDOW - 1, BATCH)
        windows = np.stack([token_ids[start : start + WINDOW + 1] for start in starts])
        params, first, second, value = turn(params, first, second, jnp.float32(step), steps, windows)
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}: loss {float(value):.3f}", flush=True)
    return jax.tree.map(np.asarray, params)


def hugging_face_tensors(params: dict) -> dict[str, np.ndarray]:
    """The fused layers taken apart again, each matrix as (out, in): the inverse of what the worker does when it loads."""
    group, hidden = CONFIG.group_size, CONFIG.hidden_size
    tensors = {"model.embed_tokens.weight": params["embedding"], "model.norm.weight": params["final_norm"]}
    for index, layer in enumerate(params["layers"]):
        prefix = f"model.layers.{index}."
        heads = np.moveaxis(layer["qkv"], 0, -1)  # (kv_heads, group + 2, head_dim, hidden)
        parts = {"q": heads[:, :group], "k": heads[:, group], "v": heads[:, group + 1]}
        tensors |= {f"{prefix}self_attn.{letter}_proj.weight": part.reshape(-1, hidden) for letter, part in parts.items()}
        tensors[prefix + "self_attn.o_proj.weight"] = layer["attention_out"].T
        tensors[prefix + "mlp.gate_proj.weight"] = layer["gate_up"][:, 0].T
        tensors[prefix + "mlp.up_proj.weight"] = layer["gate_up"][:, 1].T
        tensors[prefix + "mlp.down_proj.weight"] = layer["down"].T
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
    texts = conversations(said.seed)
    tokenizer = train_tokenizer(texts[:5000])
    token_ids = np.concatenate([np.array(encoding.ids, np.int32) for encoding in tokenizer.encode_batch(texts)])
    print(f"{len(token_ids)} tokens of text, {CONFIG.parameters / 1e6:.2f} M parameters", flush=True)
    save(said.folder, train(token_ids, said.steps, said.seed), tokenizer)


if __name__ == "__main__":
    main()
