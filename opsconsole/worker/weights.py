"""Brings a checkpoint's tensors into the layout the model code wants: fused, so that a layer is four large products.

Parameters are a nested dict of arrays:
    embedding (vocab, hidden), final_norm (hidden,), output (vocab, hidden) unless tied, layers: a list of
    attention_norm, mlp_norm (hidden,)         qkv (kv_heads, group + 2, head_dim, hidden)   attention_out (hidden, heads * head_dim)
    gate_up (2, ffn, hidden)                   down (hidden, ffn)
    and, where the family has them: qkv_bias, attention_out_bias, gate_up_bias, down_bias, query_norm, key_norm.

In `qkv` the query heads of a group lie beside their key and value head, so that heads can be split over devices.
"""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  registers bfloat16 with numpy, which safetensors needs to read it
import numpy as np
from safetensors import SafetensorError, safe_open

from .config import ModelConfig, UnsupportedModel

Params = dict[str, Any]
Draw = Callable[..., Any]
"""Called with the sizes of an array, gives one."""
GetTensor = Callable[..., np.ndarray]


def load_params(checkpoint: Path, config: ModelConfig, dtype: Any) -> Params:
    """Read and fuse every tensor of a checkpoint folder. Raises UnsupportedModel naming what is missing or misshapen."""
    get = _tensor_reader(checkpoint, dtype)
    hidden = config.hidden_size
    params: Params = {
        "embedding": get("model.embed_tokens.weight", config.vocab_size, hidden),
        "final_norm": get("model.norm.weight", hidden),
        "layers": [_fused_layer(get, config, index) for index in range(config.layers)],
    }
    if not config.tied_embeddings:
        params["output"] = get("lm_head.weight", config.vocab_size, hidden)
    return params


def _tensor_reader(checkpoint: Path, dtype: Any) -> GetTensor:
    files = sorted(checkpoint.glob("*.safetensors"))
    if not files:
        raise UnsupportedModel(f"{checkpoint} holds no *.safetensors file.")
    try:
        handles = [safe_open(str(path), "numpy") for path in files]
    except (SafetensorError, OSError) as error:
        raise UnsupportedModel(f"The weights in {checkpoint} cannot be read: {error}.") from error
    holder = {name: handle for handle in handles for name in handle.keys()}  # noqa: SIM118  a handle is no mapping

    def get(name: str, *shape: int) -> np.ndarray:
        if name not in holder:
            raise UnsupportedModel(f"The checkpoint lacks the tensor {name}.")
        tensor = holder[name].get_tensor(name)
        if tensor.shape != shape:
            raise UnsupportedModel(f"Tensor {name} has shape {tensor.shape}, but config.json implies {shape}.")
        return tensor.astype(dtype, copy=False)

    return get


def _fused_layer(get: GetTensor, config: ModelConfig, index: int) -> Params:
    """One layer's tensors; each matrix stays as a checkpoint has it, (out, in)."""
    prefix = f"model.layers.{index}."
    hidden, ffn, width = config.hidden_size, config.ffn_size, config.heads * config.head_dim
    layer: Params = {
        "attention_norm": get(prefix + "input_layernorm.weight", hidden),
        "mlp_norm": get(prefix + "post_attention_layernorm.weight", hidden),
        "qkv": _fuse_qkv(get, config, prefix, "weight"),
        "attention_out": get(prefix + "self_attn.o_proj.weight", hidden, width),
        "gate_up": _fuse_gate_up(get, config, prefix, "weight"),
        "down": get(prefix + "mlp.down_proj.weight", hidden, ffn),
    }
    if config.qkv_bias:
        layer["qkv_bias"] = _fuse_qkv(get, config, prefix, "bias")
    if config.attention_out_bias:
        layer["attention_out_bias"] = get(prefix + "self_attn.o_proj.bias", hidden)
    if config.mlp_bias:
        layer["gate_up_bias"] = _fuse_gate_up(get, config, prefix, "bias")
        layer["down_bias"] = get(prefix + "mlp.down_proj.bias", hidden)
    if config.qk_norm:
        layer["query_norm"] = get(prefix + "self_attn.q_norm.weight", config.head_dim)
        layer["key_norm"] = get(prefix + "self_attn.k_norm.weight", config.head_dim)
    return layer


def _fuse_qkv(get: GetTensor, config: ModelConfig, prefix: str, kind: str) -> np.ndarray:
    tail = (config.hidden_size,) if kind == "weight" else ()
    parts = []
    for letter, heads_per_group in (("q", config.group_size), ("k", 1), ("v", 1)):
        rows = config.kv_heads * heads_per_group * config.head_dim
        tensor = get(f"{prefix}self_attn.{letter}_proj.{kind}", rows, *tail)
        parts.append(tensor.reshape(config.kv_heads, heads_per_group, config.head_dim, *tail))
    return np.concatenate(parts, axis=1)  # (kv_heads, group + 2, head_dim[, hidden])


def _fuse_gate_up(get: GetTensor, config: ModelConfig, prefix: str, kind: str) -> np.ndarray:
    tail = (config.hidden_size,) if kind == "weight" else ()
    return np.stack([get(f"{prefix}mlp.{name}_proj.{kind}", config.ffn_size, *tail) for name in ("gate", "up")])


def numpy_draw(seed: int, dtype: Any) -> Draw:
    """Normal numbers of standard deviation 0.02, made on the host: the same on every machine."""
    generator = np.random.Generator(np.random.SFC64(seed))
    return lambda *shape: (generator.standard_normal(shape, dtype=np.float32) * 0.02).astype(dtype, copy=False)


def device_draw(seed: int, dtype: Any) -> Draw:
    """The same kind of numbers, but others, made on the device: gigabytes of them would take the host minutes."""
    import jax

    root, counter = jax.random.key(seed), count()
    draw = jax.jit(lambda key, shape: jax.random.normal(key, shape, dtype) * 0.02, static_argnums=1)
    return lambda *shape: draw(jax.random.fold_in(root, next(counter)), shape)


def random_params(config: ModelConfig, draw: Draw) -> Params:
    """Weights drawn for `random:SIZE` and tests; only shapes without biases are drawn."""
    hidden, ffn, group = config.hidden_size, config.ffn_size, config.group_size

    params: Params = {"embedding": draw(config.vocab_size, hidden)}
    ones = np.ones(hidden, params["embedding"].dtype)

    def layer() -> Params:
        return {
            "attention_norm": ones,
            "mlp_norm": ones,
            "qkv": draw(config.kv_heads, group + 2, config.head_dim, hidden),
            "attention_out": draw(hidden, config.heads * config.head_dim),
            "gate_up": draw(2, ffn, hidden),
            "down": draw(hidden, ffn),
        }

    params["final_norm"] = ones
    params["layers"] = [layer() for _ in range(config.layers)]
    if not config.tied_embeddings:
        params["output"] = draw(config.vocab_size, hidden)
    return params
