"""The model's compiled functions for one checkpoint, asked by slot and position: what tests compare with a plain forward pass."""

from functools import partial

import jax
import numpy as np

from opsconsole.worker import config, model, weights


class Paths:
    """Prefill (packed or chunked) and batched decode over one cache, with the logits that the worker itself keeps on the device."""

    def __init__(self, checkpoint, slots=3, max_len=48, bucket=24):
        self.config = config.read_config(checkpoint)
        self.params = jax.device_put(weights.load_params(checkpoint, self.config, np.float32))
        self.cache = model.empty_cache(self.config, slots, max_len, np.float32)
        self._slots, self._max_len, self._bucket = slots, max_len, bucket
        self._prefill = {chunked: jax.jit(partial(model.prefill, self.config, chunked=chunked)) for chunked in (False, True)}
        self._decode = jax.jit(partial(model.decode, self.config, attend=max_len))

    def prefill(self, pieces, chunked=False):
        """Pieces are (slot, start, tokens); returns the logits after each."""
        token, slot = np.full(self._bucket, 9, np.int32), np.full(self._bucket, self._slots, np.int32)
        position, last, end = np.zeros(self._bucket, np.int32), np.full(self._slots, self._bucket, np.int32), 0
        for row, (its_slot, start, tokens) in enumerate(pieces):
            begin, end = end, end + len(tokens)
            token[begin:end], slot[begin:end], position[begin:end] = tokens, its_slot, np.arange(start, start + len(tokens))
            last[row] = end - 1
        self.cache, logits = self._prefill[chunked](self.params, self.cache, token, slot, position, last)
        return np.asarray(logits).T[: len(pieces)]

    def decode(self, rows):
        """Rows are {slot: (token, position)}; idle slots name a position outside. Returns the logits of all slots."""
        token, position = np.zeros(self._slots, np.int32), np.full(self._slots, self._max_len, np.int32)
        for slot, (its_token, its_position) in rows.items():
            token[slot], position[slot] = its_token, its_position
        self.cache, logits = self._decode(self.params, self.cache, token, position)
        return np.asarray(logits).T
