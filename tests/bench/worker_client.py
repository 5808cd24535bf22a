"""Streams from a worker as a client sees them: when each event came, and how many tokens were in it."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field

import aiohttp


@dataclass
class Answer:
    """One streamed answer; times are of the monotonic clock."""

    asked_s: float
    status: int = 0
    events: list[tuple[float, int]] = field(default_factory=list)
    """When each came, and its tokens."""

    @property
    def tokens(self) -> int:
        return sum(count for _, count in self.events)

    @property
    def first_ms(self) -> float:
        """Time to the first token."""
        return (self.events[0][0] - self.asked_s) * 1000

    @property
    def gaps_ms(self) -> list[float]:
        """Time between tokens; several in one event share its gap."""
        gaps = []
        for (before, _), (after, count) in zip(self.events, self.events[1:], strict=False):
            gaps += [(after - before) * 1000 / count] * count
        return gaps


def draw_prompt(chance: random.Random, tokens: int) -> list[int]:
    """Token ids that every model here knows."""
    return [chance.randrange(3, 250) for _ in range(tokens)]


async def stream(http: aiohttp.ClientSession, prompt: list[int], tokens: int, asked_s: float | None = None) -> Answer:
    """Ask for so many greedy tokens and read them all; `asked_s` is when it should have been asked, if not now."""
    settings = {"max_tokens": tokens, "temperature": 0, "stream": True, "ignore_eos": True, "return_token_ids": True}
    answer = Answer(time.monotonic() if asked_s is None else asked_s)
    async with http.post("/v1/completions", json={"prompt": prompt, **settings}) as response:
        answer.status = response.status
        async for line in response.content:
            if line.startswith(b"data: {"):
                now_s = time.monotonic()
                choices = json.loads(line[6:])["choices"]
                answer.events += [(now_s, len(choice["token_ids"])) for choice in choices if choice["token_ids"]]
    return answer


def open_http(url: str) -> aiohttp.ClientSession:
    """A client without a limit of its own on connections or time."""
    return aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None))


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of them lies."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
