"""Lets one answer be made by several workers, one after the other, without its client seeing a seam.

A worker that can resume tells with each piece the tokens in it, and with the first one the seed. If it dies, or cuts the answer
because it is drained, the same request plus the tokens so far makes another worker go on with exactly the next token. What the
client did not ask for, the ids and the seed, is taken out of the events on their way. An answer that is not streamed is asked for as a
stream all the same, and gathered here.
"""

import json
from collections.abc import Mapping
from typing import Any

from opsconsole.gateway.gathered import Gathered, can_be_gathered

LAST_EVENT = b"data: [DONE]\n\n"
DATA = b"data:"
INNER = ("token_ids", "prompt_token_ids", "seed")
"""Fields of a choice that a client sees only if it asked for token ids."""
MOVES_LIMIT = 8
"""Workers that may fail one answer: a request that kills whoever takes it must not go through the whole fleet."""


class Continuation:
    """What is known of one answer, from its request and the events of its workers so far."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = dict(document)
        self._shows_ids = document.get("return_token_ids") is True
        self._tokens: list[int] = list(document.get("resume_token_ids") or ())
        self._first: dict[str, Any] | None = None
        """The envelope of the first event."""
        self._prompt_tokens = 0
        self._owes_usage = (document.get("stream_options") or {}).get("include_usage") is True
        self.gathered = None if document.get("stream") is True else Gathered()
        """For a client that wants its answer in one piece."""
        self.is_whole = False
        self.is_said = False
        """The last token has come, whatever became of the end of the stream."""
        self.failure = ""
        """What the worker said when it cut the answer; "" when it said nothing."""
        self.moves = 0

    @property
    def answer_id(self) -> str | None:
        """The answer's id, which a further worker has to bear too; None before the first event."""
        return self._first["id"] if self._first else None

    def body(self) -> bytes:
        """The request for the next worker."""
        asked = {**self._document, "return_token_ids": True, "stream": True}
        if self._tokens:
            asked["resume_token_ids"] = self._tokens
        return json.dumps(asked).encode()

    def take(self, line: bytes) -> bytes:
        """What the client gets for one line of a worker's stream; b"" for nothing. Sets is_whole at the end, or failure.

        Raises ValueError, KeyError, TypeError or AttributeError for what is no event."""
        if not line.startswith(DATA):
            return b""  # the blank lines between events come with the events
        data = line[len(DATA) :].strip()
        if data == b"[DONE]":
            self.is_whole = True
            return b"" if self.gathered else LAST_EVENT
        event = json.loads(data)
        if "error" in event:
            self.failure = str(event["error"].get("message", "")) if isinstance(event["error"], dict) else str(event["error"])
            return b""
        if not isinstance(event["id"], str) or not isinstance(event["choices"], list):
            raise ValueError("not an event of an answer")
        moved = self._first is not None and self.moves > 0
        if self._first is None:
            self._first = {key: value for key, value in event.items() if key not in ("choices", "usage")}
            self._prompt_tokens = sum(len(choice.get("prompt_token_ids", ())) for choice in event["choices"])
        shown = any([self._take_choice(choice, moved) for choice in event["choices"]])
        self._owes_usage &= not event.get("usage")
        if self.gathered:
            self.gathered.take(event | self._first)
            return b""
        if not shown and event["choices"]:
            return b""
        return DATA + b" " + json.dumps(event | self._first).encode() + b"\n\n"

    def _take_choice(self, choice: dict[str, Any], moved: bool) -> bool:
        """Note the tokens and take out what is not for the client; whether anything is left to show."""
        self._tokens += choice.get("token_ids", ())
        self.is_said |= bool(choice.get("finish_reason"))
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

    def rest(self) -> bytes:
        """What is still missing at the client of a stream whose worker died after the last token."""
        owed = DATA + b" " + json.dumps({**self._first, "choices": [], "usage": self.usage}).encode() + b"\n\n"
        return (owed if self._owes_usage else b"") + LAST_EVENT

    @property
    def usage(self) -> dict[str, int]:
        said = len(self._tokens)
        return {"prompt_tokens": self._prompt_tokens, "completion_tokens": said, "total_tokens": self._prompt_tokens + said}

    def forget_failure(self) -> None:
        """Another worker goes on."""
        self.moves += 1
        self.failure = ""


def continuation_of(document: Mapping[str, Any]) -> Continuation | None:
    """None for a request whose answer stays with the worker that began it, and for one that a worker has to refuse."""
    resumed, options = document.get("resume_token_ids"), document.get("stream_options")
    is_sound = isinstance(resumed, list | None) and isinstance(options, dict | None)
    can_go_on = document.get("stream") is True or can_be_gathered(document)
    return Continuation(document) if is_sound and can_go_on else None
