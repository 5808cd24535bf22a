"""How a step's result lies in memory: one array, because each further one would cost every step of every request its transfer.

A result is int32 (rows, columns): the chosen token, the bits of its log probability, then the ids of the likeliest tokens
and the bits of theirs, best first. All but the first column hold something only for rows that asked for scores.
"""

import numpy as np

from .request import Score

LIKELIEST = 20
"""Alternatives told at most: OpenAI's limit."""
COLUMNS = 2 + 2 * LIKELIEST


def tokens_of(result: np.ndarray) -> list[int]:
    """The chosen token of each row."""
    return result[:, 0].tolist()


def score_of(result: np.ndarray, row: int, count: int) -> Score:
    """The score of one row with its `count` likeliest tokens; a small vocabulary may have fewer."""
    logprob = float(result[row, 1:2].view(np.float32)[0])
    ids = result[row, 2 : 2 + count]
    logprobs = result[row, 2 + LIKELIEST : 2 + LIKELIEST + count].view(np.float32)
    return Score(logprob, [(token, value) for token, value in zip(ids.tolist(), logprobs.tolist(), strict=True) if token >= 0])
