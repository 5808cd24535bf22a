"""Answers in OpenAI's format: one JSON object, or a stream of events."""

import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

LAST_EVENT = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Part:
    """The next piece of an answer; `finish_reason` is None while more will come."""

    text: str
    token_ids: list[int]
    finish_reason: str | None


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

    def __init__(self, chat: bool, model: str, prompt_ids: list[int] | None) -> None:
        self._chat = chat
        self._prompt_ids = prompt_ids
        """Shown once when the client asked for ids, else None."""
        self._first = True
        prefix = "chatcmpl-" if chat else "cmpl-"
        self._envelope = {"id": prefix + uuid.uuid4().hex, "created": int(time.time()), "model": model}

    def event(self, part: Part) -> bytes:
        """One streamed piece."""
        if self._chat:
            delta = {"role": "assistant", "content": part.text} if self._first else {"content": part.text}
            choice: dict[str, Any] = {"index": 0, "delta": delta}
        else:
            choice = {"index": 0, "text": part.text}
        choice |= {"logprobs": None, "finish_reason": part.finish_reason} | self._ids(part.token_ids)
        self._first = False
        return self._data({"choices": [choice]})

    def usage_event(self, usage: Usage) -> bytes:
        """The piece before the last that `stream_options.include_usage` asks for."""
        return self._data({"choices": [], "usage": usage.as_json()})

    def whole(self, part: Part, usage: Usage) -> dict[str, Any]:
        """The answer that is not streamed."""
        kind = "chat.completion" if self._chat else "text_completion"
        said = {"message": {"role": "assistant", "content": part.text}} if self._chat else {"text": part.text}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": part.finish_reason, **self._ids(part.token_ids)}
        return {**self._envelope, "object": kind, "choices": [choice], "usage": usage.as_json()}

    def _ids(self, token_ids: list[int]) -> dict[str, Any]:
        if self._prompt_ids is None:
            return {}
        return {"token_ids": token_ids} | ({"prompt_token_ids": self._prompt_ids} if self._first else {})

    def _data(self, content: dict[str, Any]) -> bytes:
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        return b"data: " + json.dumps({**self._envelope, "object": kind, **content}).encode() + b"\n\n"


def error_event(body: dict[str, Any]) -> bytes:
    """What a stream ends with when the worker fails under it: an error in place of [DONE], so that no client takes it for whole."""
    return b"data: " + json.dumps(body).encode() + b"\n\n"
