"""An answer that its client wants in one piece, gathered from a worker's stream: so another worker can go on with it too."""

from collections.abc import Mapping
from typing import Any


class Gathered:
    """The pieces so far, in the shape of OpenAI's answers."""

    def __init__(self) -> None:
        self._envelope: dict[str, Any] = {}
        self._choice: dict[str, Any] = {}
        self._texts: list[str] = []
        self._token_ids: list[int] = []

    def take(self, event: Mapping[str, Any]) -> None:
        """One event of the stream, as the client of a stream would get it."""
        self._envelope = self._envelope or {key: value for key, value in event.items() if key != "choices"}
        for choice in event["choices"]:
            self._texts.append(choice["text"] if "text" in choice else choice["delta"].get("content") or "")
            self._token_ids += choice.get("token_ids", ())
            said = {key: value for key, value in choice.items() if key not in ("text", "delta", "token_ids")}
            self._choice = {**said, **self._choice, "finish_reason": choice.get("finish_reason")}
            if "token_ids" in choice:
                self._choice["token_ids"] = self._token_ids

    def whole(self, usage: Mapping[str, int]) -> dict[str, Any]:
        is_chat = self._envelope["object"] == "chat.completion.chunk"
        text = "".join(self._texts)
        said = {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
        kind = "chat.completion" if is_chat else "text_completion"
        return {**self._envelope, "object": kind, "choices": [{**said, **self._choice}], "usage": dict(usage)}


def can_be_gathered(document: Mapping[str, Any]) -> bool:
    """Log probabilities and several choices are put together in ways of their own: such an answer stays with its worker."""
    return not any(document.get(key) for key in ("stream", "stream_options", "logprobs")) and document.get("n") in (None, 1)
