"""Log probabilities as OpenAI's clients read them: one entry for each token made, whether or not its text is out yet.

An event carries the entries of the tokens made since the one before, so none waits for text that is held back, and none is
lost with it: the entries of a whole stream are those of the whole answer, in number the `completion_tokens` of its usage.
The end token and those of a stop string have theirs too, as in vLLM, though their text is no part of the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .request import Score

UNLIKELY = -9999.0
"""What OpenAI says for a probability of nearly nothing; JSON knows no infinity."""


class Codec(Protocol):
    """What token ids stand for."""

    def token_bytes(self, token_id: int) -> bytes: ...


@dataclass(frozen=True)
class TokenScore:
    """One token, how likely it was, and what else could have stood there, best first."""

    token: bytes
    logprob: float
    likeliest: list[tuple[bytes, float]]
    offset_chars: int
    """Where its text begins in the answer."""


def token_score(codec: Codec, token_id: int, score: Score, alternatives: int, offset_chars: int) -> TokenScore:
    """A score in words instead of ids, cut to as many alternatives as were asked for."""
    likeliest = [(codec.token_bytes(other), _sayable(logprob)) for other, logprob in score.likeliest[:alternatives]]
    return TokenScore(codec.token_bytes(token_id), _sayable(score.logprob), likeliest, offset_chars)


def chat_logprobs(scores: Sequence[TokenScore]) -> dict[str, Any]:
    """The shape of chat completions."""
    return {
        "content": [
            _chat_entry(score.token, score.logprob) | {"top_logprobs": [_chat_entry(*other) for other in score.likeliest]}
            for score in scores
        ]
    }


def completion_logprobs(scores: Sequence[TokenScore]) -> dict[str, Any]:
    """The older shape: lists side by side. `top_logprobs` holds the chosen token in any case."""
    return {
        "tokens": [_completion_name(score.token) for score in scores],
        "token_logprobs": [score.logprob for score in scores],
        "top_logprobs": [
            {_completion_name(token): logprob for token, logprob in [(score.token, score.logprob), *score.likeliest]} for score in scores
        ],
        "text_offset": [score.offset_chars for score in scores],
    }


def _chat_entry(token: bytes, logprob: float) -> dict[str, Any]:
    return {"token": token.decode("utf-8", "backslashreplace"), "logprob": logprob, "bytes": list(token)}


def _completion_name(token: bytes) -> str:
    """A part of a character has no text of its own; OpenAI's completions write it `bytes:\\xf0\\x9f`."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token)


def _sayable(logprob: float) -> float:
    return logprob if logprob > UNLIKELY else UNLIKELY
