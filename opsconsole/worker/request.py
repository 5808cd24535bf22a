"""What the HTTP side and the engine say to each other: one request, and what a step made for it."""

import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. Temperature 0 takes the likeliest; top_k 0 and top_p 1 mean no limit."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0


@dataclass(eq=False)
class Request:
    """One generation, from its arrival to its last token. Times are of the monotonic clock."""

    prompt_ids: list[int]
    max_tokens: int
    sampling: Sampling = Sampling()
    ignore_eos: bool = False
    min_tokens: int = 0
    """No end token before so many tokens are made."""
    logprobs: int | None = None
    """None for no log probabilities, else how many of the likeliest alternatives to tell beside the chosen token's own."""
    client: str = ""
    """Whose request it is: slots are shared out fairly among clients."""
    receiver: Any = None
    """Whatever the publisher needs to find who asked; the engine never looks at it."""
    arrived_s: float = field(default_factory=time.monotonic)
    scheduled_s: float | None = None
    """When it got a slot; None while it waits."""
    generated: int = 0
    cancelled: bool = False


class Score(NamedTuple):
    """Log probabilities (natural, before temperature) of one chosen token and of the likeliest ones, best first."""

    logprob: float
    likeliest: list[tuple[int, float]]


class Delivery(NamedTuple):
    """New tokens of one request; `finish_reason` is None while more will come, else "stop", "length" or "error"."""

    request: Request
    token_ids: list[int]
    finish_reason: str | None
    scores: list[Score] | None = None
    """One for each token where the request asked for log probabilities."""
