"""How eagerly a fleet is connected: limits, delays, and cutting what comes into lines."""

import asyncio
import random

import pytest

from opsconsole.protocol import LINE_LIMIT_BYTES
from opsconsole.ssh.lines import LINES_LIMIT, STDERR_KEPT_BYTES, Flood, Framer, Tail
from opsconsole.ssh.ramp import BACKOFF_LAST_S, PER_SERVER_LIMIT, SLOW_LIMIT, Backoff, Lanes
from opsconsole.ssh.shared import raise_file_limit


def test_delays_double_and_are_never_alike():
    delays = [Backoff(random.Random(seed)) for seed in range(50)]
    first, second = [[backoff.next_s() for backoff in delays] for _ in range(2)]
    assert all(0.1 <= delay <= 0.2 for delay in first) and all(0.2 <= delay <= 0.4 for delay in second)
    assert len(set(first)) == 50
    for _ in range(20):
        latest = [backoff.next_s() for backoff in delays]
    assert max(latest) <= BACKOFF_LAST_S and delays[0].next_s(is_refused=True) >= 30.0
    delays[0].reset()
    assert delays[0].next_s() <= 0.2


async def test_slow_nodes_wait_for_each_other_only():
    lanes, inside = Lanes(), []

    async def enter(name, is_slow):
        async with lanes.through("door", is_slow):
            inside.append(name)
            await asyncio.sleep(10)

    tasks = [asyncio.create_task(enter("slow", True)) for _ in range(50)] + [asyncio.create_task(enter("well", False)) for _ in range(50)]
    await asyncio.sleep(0.01)
    assert (inside.count("slow"), inside.count("well")) == (SLOW_LIMIT, PER_SERVER_LIMIT)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def framer():
    return Framer(lambda: 0.0)


def test_lines_are_whole_however_they_come():
    cut = framer()
    assert cut.feed(b"a") == [] and cut.feed(b"b\nc") == [b"ab"] and cut.feed(b"\n\nd\n") == [b"c", b"", b"d"]


@pytest.mark.parametrize("before", [b"", b"a\n"])
@pytest.mark.parametrize("after", [b"", b"\n", b"\na"])
def test_a_line_too_long(before, after):
    with pytest.raises(Flood, match="256 KiB"):
        framer().feed(before + b"x" * (LINE_LIMIT_BYTES + 1) + after)


def test_a_line_too_long_in_small_pieces():
    cut = framer()
    with pytest.raises(Flood):
        for _ in range(300):
            cut.feed(b"x" * 1024)


def test_too_many_lines_but_not_over_a_long_time():
    now = [0.0]
    cut = Framer(lambda: now[0])
    for _ in range(10):
        cut.feed(b"x\n" * (LINES_LIMIT - 1))
        now[0] += 11.0
    with pytest.raises(Flood, match="lines"):
        cut.feed(b"x\n" * (LINES_LIMIT + 1))


def test_only_the_end_of_errors_is_kept():
    tail = Tail(lambda: 0.0)
    for _ in range(100):
        tail.feed(b"e" * 10000 + b"\n")
    tail.feed(b"the last\n\n")
    assert tail.last_line == "the last" and len(tail._kept) <= STDERR_KEPT_BYTES


def test_the_file_limit_is_raised_as_far_as_allowed():
    limit = raise_file_limit()
    assert limit >= 256 and raise_file_limit() == limit
