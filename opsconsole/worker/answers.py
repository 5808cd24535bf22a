"""Answers in OpenAI's format: one JSON object, or a stream of events."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .logprobs import TokenScore, chat_logprobs, completion_logprobs

LAST_EVENT = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Part:
    """The next piece of an answer; `finish_reason` is None while more will come."""

    text: str
    token_ids: list[int]
    finish_reason: str | None
    scores: list[TokenScore] | None = None
    """One for each token where the client asked for log probabilities."""

    @property
    def is_silent(self) -> bool:
        """Nothing a client sees: its text is held back."""
        return not (self.text or self.finish_reason or self.scores)


def joined(parts: Sequence[Part]) -> Part:
    """All pieces of an answer as one."""
    scores = None if parts[-1].scores is None else [score for part in parts for score in part.scores]
    ids = [token for part in parts for token in part.token_ids]
    return Part("".join(part.text for part in parts), ids, parts[-1].finish_reason, scores)


@dataclass(frozen=True)
class Usage:
    """Tokens read and made for one request."""

    prompt_tokens: int
    completion_tokens: int

    def as_json(self) -> dict[str, int]:
        """OpenAI's `usage` object."""
        total = self.prompt_tokens + self.completion_tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens, "total_tokens": total}


class AnswerFormat:
    """The envelope of one answer: its id, time and model are the same in every event."""

    def __init__(self, chat: bool, answer_id: str, model: str, source: dict[str, Any] | None) -> None:
        self._chat = chat
        self._source = source
        """What the answer was made from, told once where the client asked for token ids, else None."""
        self._first = True
        self._envelope = {"id": answer_id, "created": int(time.time()), "model": model}

    def event(self, part: Part) -> bytes:
        """One streamed piece."""
        if self._chat:
            delta = {"role": "assistant", "content": part.text} if self._first else {"content": part.text}
            choice: dict[str, Any] = {"index": 0, "delta": delta}
        else:
            choice = {"index": 0, "text": part.text}
        choice |= self._end(part)
        self._first = False
        return self._data({"choices": [choice]})

    def usage_event(self, usage: Usage) -> bytes:
        """The piece before the last that `stream_options.include_usage` asks for."""
        return self._data({"choices": [], "usage": usage.as_json()})

    def whole(self, part: Part, usage: Usage) -> dict[str, Any]:
        """The answer that is not streamed."""
        kind = "chat.completion" if self._chat else "text_completion"
        said = {"message": {"role": "assistant", "content": part.text}} if self._chat else {"text": part.text}
        choice = {"index": 0, **said, **self._end(part)}
        return {**self._envelope, "object": kind, "choices": [choice], "usage": usage.as_json()}

    def _end(self, part: Part) -> dict[str, Any]:
        told = chat_logprobs if self._chat else completion_logprobs
        logprobs = None if part.scores is None else told(part.scores)
        end = {"logprobs": logprobs, "finish_reason": part.finish_reason}
        if self._source is None:
            return end
        return end | {"token_ids": part.token_ids} | (self._source if self._first else {})

    def _data(self, content: dict[str, Any]) -> bytes:
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        return b"data: " + json.dumps({**self._envelope, "object": kind, **content}).encode() + b"\n\n"


def error_event(body: dict[str, Any]) -> bytes:
    """What a stream ends with when the worker fails under it: an error in place of [DONE], so that no client takes it for whole."""
    return b"data: " + json.dumps(body).encode() + b"\n\n"
