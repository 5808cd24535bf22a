"""What a client may ask in OpenAI's format, and how a wrong request is told precisely what is wrong with it.

A field that would change the answer and that this worker cannot honour is refused, never ignored. Beyond OpenAI it knows,
as vLLM does, `top_k`, `min_tokens`, `ignore_eos`, `stop_token_ids` and `return_token_ids`, which adds the ids to each choice,
and the prompt's ids and the seed to the first event. `resume_token_ids` continues an answer that was cut elsewhere: the same
body and seed plus the ids already received give exactly the rest of the same stream.
"""

import json
import secrets
from dataclasses import dataclass
from typing import Any

from .request import Sampling

TOP_K_LIMIT = 256
"""As many candidates as the sampler looks at."""
STOPS_LIMIT = 16
LOGPROBS_LIMIT = 20
USER_LIMIT_CHARS = 512
DEFAULT_COMPLETION_TOKENS = 16
"""What OpenAI gives a completion that names no length; a chat may use all the room there is."""

KINDS = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "service_unavailable_error",
}
"""OpenAI's `type` of an error, by status; any other is the client's own mistake."""


class ApiError(Exception):
    """A refusal in OpenAI's shape; where it has to be said in the middle of a stream, it is the last event."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None, retry_after_s: int = 0) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.retry_after_s = status, message, param, code, retry_after_s

    def body(self) -> dict[str, Any]:
        """The JSON of the refusal."""
        kind = KINDS.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """What the status asks for beside the body."""
        headers = {"Retry-After": str(self.retry_after_s)} if self.retry_after_s else {}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


@dataclass(frozen=True)
class Ask:
    """A checked request body; its prompt is text, ids or messages."""

    chat: bool
    model: str | None
    prompt: str | list[int] | list[dict[str, Any]]
    max_tokens: int | None
    min_tokens: int
    sampling: Sampling
    stops: tuple[str, ...]
    stop_token_ids: frozenset[int]
    logprobs: int | None
    """None for no log probabilities, else how many alternatives to tell for each token."""
    stream: bool
    include_usage: bool
    ignore_eos: bool
    return_token_ids: bool
    resume_token_ids: list[int]
    user: str
    """Whom the client names as its own client; "" where it names nobody."""


def wrong(field: str, message: str) -> ApiError:
    """A 400 that names the field."""
    return ApiError(400, f"{field}: {message}", param=field, code="invalid_value")


def parse_body(raw: bytes, chat: bool) -> Ask:
    """Check a body field by field. Raises ApiError naming the first wrong one."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise ApiError(400, "The body is not JSON.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise ApiError(400, "The body is not a JSON object.", code="invalid_json")
    _refuse_unsupported(body)
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise wrong("stream_options", "must be an object")
    return Ask(
        chat=chat,
        model=_text(body, "model"),
        prompt=_messages(body) if chat else _prompt(body),
        max_tokens=_max_tokens(body),
        min_tokens=_whole(body, "min_tokens", low=0) or 0,
        sampling=_sampling(body),
        stops=_stops(body),
        stop_token_ids=_stop_token_ids(body),
        logprobs=_chat_logprobs(body) if chat else _completion_logprobs(body),
        stream=_flag(body, "stream"),
        include_usage=_flag(options or {}, "include_usage"),
        ignore_eos=_flag(body, "ignore_eos"),
        return_token_ids=_flag(body, "return_token_ids"),
        resume_token_ids=_token_ids("resume_token_ids", body.get("resume_token_ids")),
        user=_text(body, "user", USER_LIMIT_CHARS) or "",
    )


NEUTRAL: dict[str, tuple] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "min_p": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "functions": ([],),
    "response_format": ({"type": "text"},),
}
"""Fields that are accepted only where they ask for nothing."""


def _refuse_unsupported(body: dict[str, Any]) -> None:
    for field, neutral in NEUTRAL.items():
        if body.get(field) is not None and body[field] not in neutral:
            raise wrong(field, "is not supported by this worker")


def _flag(body: dict[str, Any], field: str) -> bool:
    value = body.get(field)
    if value is not None and not isinstance(value, bool):
        raise wrong(field, "must be true or false")
    return bool(value)


def _text(body: dict[str, Any], field: str, limit_chars: int | None = None) -> str | None:
    value = body.get(field)
    if value is not None and not isinstance(value, str):
        raise wrong(field, "must be a string")
    if value and limit_chars is not None and len(value) > limit_chars:
        raise wrong(field, f"must be a string of at most {limit_chars} characters")
    return value


def _number(body: dict[str, Any], field: str, default: float, low: float, high: float) -> float:
    value = body.get(field)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise wrong(field, f"must be a number from {low:g} to {high:g}")
    return float(value)


def _whole(body: dict[str, Any], field: str, low: int | None = None, high: int | None = None) -> int | None:
    value = body.get(field)
    if value is None:
        return None
    in_bounds = type(value) is int and (low is None or value >= low) and (high is None or value <= high)
    if not in_bounds:
        bounds = "" if low is None else f" of at least {low}" if high is None else f" from {low} to {high}"
        raise wrong(field, f"must be a whole number{bounds}")
    return value


def _max_tokens(body: dict[str, Any]) -> int | None:
    newer = _whole(body, "max_completion_tokens", low=1)
    return newer if newer is not None else _whole(body, "max_tokens", low=1)


def _sampling(body: dict[str, Any]) -> Sampling:
    top_p = _number(body, "top_p", 1.0, 0.0, 1.0)
    if top_p == 0:
        raise wrong("top_p", "must be above 0")
    top_k = _whole(body, "top_k", low=-1, high=TOP_K_LIMIT) or 0
    seed = _whole(body, "seed")
    return Sampling(
        temperature=_number(body, "temperature", 1.0, 0.0, 2.0),
        top_p=top_p,
        top_k=max(top_k, 0),  # some clients say -1 for no limit
        seed=secrets.randbits(32) if seed is None else seed & 0xFFFFFFFF,
    )


def _stops(body: dict[str, Any]) -> tuple[str, ...]:
    stops = body.get("stop") or []
    stops = [stops] if isinstance(stops, str) else stops
    if not isinstance(stops, list) or len(stops) > STOPS_LIMIT or not all(isinstance(stop, str) and stop for stop in stops):
        raise wrong("stop", f"must be a string or a list of at most {STOPS_LIMIT} strings")
    return tuple(stops)


def _stop_token_ids(body: dict[str, Any]) -> frozenset[int]:
    token_ids = frozenset(_token_ids("stop_token_ids", body.get("stop_token_ids")))
    if token_ids and body.get("min_tokens"):
        raise wrong("stop_token_ids", "cannot be combined with min_tokens on this worker")
    return token_ids


def _chat_logprobs(body: dict[str, Any]) -> int | None:
    alternatives = _whole(body, "top_logprobs", 0, LOGPROBS_LIMIT) or 0
    if _flag(body, "logprobs"):
        return alternatives
    if alternatives:
        raise wrong("top_logprobs", "needs logprobs to be true")
    return None


def _completion_logprobs(body: dict[str, Any]) -> int | None:
    if body.get("top_logprobs"):
        raise wrong("top_logprobs", "belongs to chat completions; here logprobs is the number of alternatives")
    return None if body.get("logprobs") is False else _whole(body, "logprobs", 0, LOGPROBS_LIMIT)


def _token_ids(field: str, value: Any) -> list[int]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(type(token) is int and token >= 0 for token in value):
        raise wrong(field, "must be a list of token ids")
    return value


def _prompt(body: dict[str, Any]) -> str | list[int]:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, list) and any(isinstance(entry, str | list) for entry in prompt):
        raise wrong("prompt", "several prompts in one request are not supported")
    if not prompt or not isinstance(prompt, str | list):
        raise wrong("prompt", "must be a text or a list of token ids, and not empty")
    return prompt if isinstance(prompt, str) else _token_ids("prompt", prompt)


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", "must be a list of messages, and not empty")
    return [_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def _message(message: Any, field: str) -> dict[str, Any]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise wrong(field, "must be an object with a role")
    content = message.get("content")
    if isinstance(content, list):
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
            raise wrong(f"{field}.content", "may hold only text parts")
        content = "".join(part["text"] for part in content)
    if content is not None and not isinstance(content, str):
        raise wrong(f"{field}.content", "must be a text")
    return {**message, "content": content or ""}
