"""A chunk gives back what went in, however the numbers move, and says so when it is damaged."""

import numpy as np
import pytest

from opsconsole.history.chunks import BLOCK, counts_of, pack_chunks, unpack_chunks, unpack_readable
from opsconsole.history.codec import NONE


def walks(random, slots, ticks, step, start):
    return start + np.cumsum(random.integers(-step, step + 1, (slots, ticks)), axis=1)


@pytest.mark.parametrize("slots", [1, BLOCK, 3 * BLOCK + 5])
@pytest.mark.parametrize("kind", ["constant", "small", "wide", "huge", "counter", "negative", "gaps", "nothing"])
def test_round_trip(slots, kind):
    random = np.random.default_rng(slots)
    ticks = 60
    counts = {
        "constant": np.repeat(random.integers(0, 9, (slots, 1)), ticks, axis=1),
        "small": random.integers(0, 100, (slots, ticks)),
        "wide": walks(random, slots, ticks, 3000, 10**6),
        "huge": walks(random, slots, ticks, 2**34, 2**50),
        "counter": np.cumsum(random.integers(0, 50, (slots, ticks)), axis=1) + 10**9,
        "negative": walks(random, slots, ticks, 40, -300),
        "gaps": np.where(random.uniform(size=(slots, ticks)) < 0.3, NONE, walks(random, slots, ticks, 5, 500)),
        "nothing": np.full((slots, ticks), NONE),
    }[kind].astype(np.int64)
    chunks = pack_chunks(counts)
    assert len(chunks) == -(-slots // BLOCK)
    if kind == "nothing":
        assert chunks == [None] * len(chunks)
        return
    numbers, offset = unpack_chunks(chunks, ticks)
    back = np.broadcast_to(counts_of(numbers, offset), (len(chunks) * BLOCK, ticks))
    np.testing.assert_array_equal(back[:slots], counts)
    assert (back[slots:] == NONE).all()


def test_what_does_not_move_takes_next_to_nothing():
    (chunk,) = pack_chunks(np.full((BLOCK, 120), 700_000, np.int64))
    assert len(chunk) < 30


def test_a_damaged_chunk_is_refused_and_does_not_spoil_the_others():
    random = np.random.default_rng(2)
    chunks = pack_chunks(random.integers(0, 200, (4 * BLOCK, 60)))
    for damaged in (b"", b"\x07" + chunks[1][1:], chunks[1][:-9], chunks[1][:4]):
        with pytest.raises(ValueError, match="damaged"):
            unpack_chunks([chunks[0], damaged], 60)
        readable, numbers, _ = unpack_readable([chunks[0], damaged, chunks[2]], 60)
        assert readable == [0, 2] and len(numbers) == 2
    assert unpack_readable([b"", b"x"], 60)[0] == []
