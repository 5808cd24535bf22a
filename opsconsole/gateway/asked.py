"""What a request asks of the queue: read from its headers and body, and nothing of it is trusted."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from opsconsole.gateway import refusals

BYTES_PER_TOKEN = 4
"""Of English text, about: the gateway has no tokenizer, and fairness needs no better."""
USUAL_ANSWER_TOKENS = 256
"""Taken for a request that does not say how long its answer may be."""
TENANT_LIMIT = 120
DEADLINE_LIMIT_MS = 86_400_000


class Asked(NamedTuple):
    model: str
    tenant: str
    """Who it is counted to: header X-Tenant, else the field `user`; "" for all that say neither."""
    tokens: int
    """Of the prompt, by its length, and of the longest answer."""
    limit_s: float
    """How long its client has use for the first bytes of an answer: header X-Deadline-Ms; infinite without it."""


def read_asked(headers: Mapping[str, str], body: bytes, document: Mapping[str, Any]) -> Asked:
    """Raises Refusal for a deadline that is none."""
    user = document.get("user")
    tenant = headers.get("X-Tenant") or (user if isinstance(user, str) else "")
    most = next((document[key] for key in ("max_completion_tokens", "max_tokens") if _is_count(document.get(key))), USUAL_ANSWER_TOKENS)
    return Asked(document["model"], tenant[:TENANT_LIMIT], len(body) // BYTES_PER_TOKEN + most, _limit_s(headers.get("X-Deadline-Ms")))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9


def _limit_s(header: str | None) -> float:
    if header is None:
        return math.inf
    if not (header.isascii() and header.isdigit()) or not 0 < len(header) < 10 or not 0 < int(header) <= DEADLINE_LIMIT_MS:
        raise refusals.bad_request(f"X-Deadline-Ms is not a whole number of milliseconds from 1 to {DEADLINE_LIMIT_MS}")
    return int(header) / 1000
