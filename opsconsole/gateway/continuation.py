"""Lets one streamed answer be made by several workers, one after the other, without its client seeing a seam.

A worker that can resume tells with each piece the tokens in it, and with the first one the seed. If it dies, or cuts the answer
because it is drained, the same request plus the tokens so far makes another worker go on with exactly the next token. What the
client did not ask for, the ids and the seed, is taken out of the events on their way.
"""

import json
from collections.abc import Mapping
from typing import Any

LAST_EVENT = b"data: [DONE]\n\n"
DATA = b"data:"
INNER = ("token_ids", "prompt_token_ids", "seed")
"""Fields of a choice that a client sees only if it asked for token ids."""
MOVES_LIMIT = 8
"""Workers that may fail one answer: a request that kills whoever takes it must not go through the whole fleet."""


class Continuation:
    """What is known of one streamed answer, from its request and the events so far."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = dict(document)
        self._shows_ids = document.get("return_token_ids") is True
        self._tokens: list[int] = list(document.get("resume_token_ids") or ())
        self._first: dict[str, Any] | None = None
        """The envelope of the first event: id, created."""
        self.is_whole = False
        self.failure = ""
        """What the worker said when it cut the answer; "" when it said nothing."""
        self.moves = 0

    @property
    def answer_id(self) -> str | None:
        """The answer's id, which a further worker has to bear too; None before the first event."""
        return self._first["id"] if self._first else None

    def body(self) -> bytes:
        """The request for the next worker."""
        asked = {**self._document, "return_token_ids": True}
        if self._tokens:
            asked["resume_token_ids"] = self._tokens
        return json.dumps(asked).encode()

    def take(self, line: bytes) -> bytes:
        """What the client gets for one line of a worker's stream; b"" for nothing. Sets is_whole at the end, or failure."""
        if not line.startswith(DATA):
            return b""  # the blank lines between events come with the events
        data = line[len(DATA) :].strip()
        if data == b"[DONE]":
            self.is_whole = True
            return LAST_EVENT
        event = json.loads(data)
        if "error" in event:
            self.failure = str(event["error"].get("message", "")) if isinstance(event["error"], dict) else str(event["error"])
            return b""
        moved = self._first is not None and self.moves > 0
        self._first = self._first or {"id": event["id"], "created": event["created"]}
        shown = any([self._take_choice(choice, moved) for choice in event["choices"]])
        if not shown and event["choices"]:
            return b""
        return DATA + b" " + json.dumps(event | self._first).encode() + b"\n\n"

    def _take_choice(self, choice: dict[str, Any], moved: bool) -> bool:
        """Note the tokens and take out what is not for the client; whether anything is left to show."""
        self._tokens += choice.get("token_ids", ())
        if "seed" in choice:
            self._document["seed"] = choice["seed"]
        delta = choice.get("delta")
        if moved and delta:
            delta.pop("role", None)  # said once, by the first worker
        if self._shows_ids:
            return True
        for name in INNER:
            choice.pop(name, None)
        text = choice.get("text") or (delta and (delta.get("content") or "role" in delta))
        return bool(text or choice.get("finish_reason") or choice.get("logprobs"))

    def forget_failure(self) -> None:
        """Another worker goes on."""
        self.moves += 1
        self.failure = ""


def continuation_of(document: Mapping[str, Any]) -> Continuation | None:
    """For a request whose answer is streamed; None for any other."""
    return Continuation(document) if document.get("stream") is True else None
