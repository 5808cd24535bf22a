"""Splits one model over several devices: key heads, feed-forward columns and the vocabulary, each device its share.

A layer then needs two sums over all devices, after the attention and after the feed-forward; XLA finds and places them from
where the arrays lie. A query head lies with its key head (see `weights`), so nothing else has to move.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .config import ModelConfig, UnsupportedModel

AXIS = "model"
WHOLE = PartitionSpec()
LAYER_SPLITS = {
    "qkv": PartitionSpec(AXIS),
    "qkv_bias": PartitionSpec(AXIS),
    "attention_out": PartitionSpec(None, AXIS),
    "gate_up": PartitionSpec(None, AXIS),
    "gate_up_bias": PartitionSpec(None, AXIS),
    "down": PartitionSpec(None, AXIS),
}
"""What is not named here is small and lies whole on each device."""
CACHE_SPLIT = PartitionSpec(None, AXIS)


class Split:
    """Where each array of a model lies when `count` devices share it. Raises UnsupportedModel where they cannot."""

    def __init__(self, config: ModelConfig, count: int) -> None:
        devices = jax.devices()
        if count > len(devices):
            raise UnsupportedModel(f"--tensor-parallel {count} needs {count} devices; {len(devices)} can be seen.")
        if jax.process_count() > 1 and count != len(devices):
            raise UnsupportedModel(f"--tensor-parallel {count} has to take all {len(devices)} devices of the hosts.")
        for what, size in (("key heads", config.kv_heads), ("feed-forward columns", config.ffn_size)):
            if size % count:
                raise UnsupportedModel(f"--tensor-parallel {count} does not divide the model's {size} {what}.")
        self._mesh = Mesh(np.asarray(devices[:count]), (AXIS,))
        self._vocab_axis = AXIS if config.vocab_size % count == 0 else None
        self._layers = config.layers

    def _lies(self, split: PartitionSpec) -> NamedSharding:
        return NamedSharding(self._mesh, split)

    @property
    def whole(self) -> NamedSharding:
        """A copy on each device."""
        return self._lies(WHOLE)

    @property
    def cache(self) -> Any:
        """For each layer of the cache, all of its segments."""
        one = [self._lies(CACHE_SPLIT)] * self._layers
        return one, list(one)

    def params(self, params: dict) -> Any:
        """For each of the parameters, as `weights` orders them."""
        top = {"embedding": PartitionSpec(self._vocab_axis), "output": PartitionSpec(self._vocab_axis)}
        lies = {name: self._lies(top.get(name, WHOLE)) for name in params if name != "layers"}
        lies["layers"] = [{name: self._lies(LAYER_SPLITS.get(name, WHOLE)) for name in layer} for layer in params["layers"]]
        return lies

    @staticmethod
    def put(tree: Any, lies: Any) -> Any:
        """Put numpy arrays where they are to lie; each host takes its own shares from its own copy."""
        def put(where: NamedSharding, part: Any) -> Any:
            return jax.tree.map(lambda leaf: jax.make_array_from_callback(leaf.shape, where, lambda index: leaf[index]), part)

        return jax.tree.map(put, lies, tree)

    def results(self, state: dict) -> tuple:
        """For what a program returns: cache, state and result."""
        return self.cache, dict.fromkeys(state, self.whole), self.whole
