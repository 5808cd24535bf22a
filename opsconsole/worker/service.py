"""Joins the event loop, where clients are, with the engine's thread, where tokens are made."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .answers import Part, Usage
from .api import DEFAULT_COMPLETION_TOKENS, ApiError, Ask, wrong
from .lifecycle import Lifecycle
from .loading import Loaded, load
from .metrics import Metrics
from .options import Options
from .request import Delivery, Request

if TYPE_CHECKING:
    from .engine import Engine

LONG_TEXT_CHARS = 20_000
"""A longer prompt is tokenised in a thread, so that other clients' streams do not stutter."""


class Service:
    """One model being served: loaded in a thread, asked from the event loop."""

    def __init__(self, options: Options, lifecycle: Lifecycle) -> None:
        self.options = options
        self.lifecycle = lifecycle
        self.metrics = Metrics(self)
        self.requests_total = 0
        self.failed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loaded: Loaded | None = None
        self._engine: Engine | None = None
        self._open: set[asyncio.Queue] = set()
        """Receivers of accepted requests, so that all can be told when the engine fails."""
        self._thread = threading.Thread(target=self._load_and_run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin loading; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the engine's thread, if it serves already."""
        if self._engine is not None:
            self._engine.stop()
            self._thread.join(timeout=5)

    @property
    def running(self) -> int:
        """Requests that hold a slot."""
        return self._engine.running if self._engine else 0

    @property
    def waiting(self) -> int:
        """Requests that hold no slot yet."""
        return self._engine.waiting if self._engine else 0

    @property
    def cache_used(self) -> float:
        """Share of the cache in use, 0 to 1."""
        return self._engine.cache_used if self._engine else 0.0

    @property
    def slots(self) -> int:
        """Requests that can run at once."""
        return self.options.slots

    def snapshot(self) -> dict[str, Any]:
        """The answer to `GET /state`."""
        lifecycle = self.lifecycle
        return {
            "state": lifecycle.state,
            "phase": lifecycle.phase,
            "reason": lifecycle.reason,
            "model": self.options.name,
            "slots": self.options.slots,
            "max_len": self.options.max_len,
            "running": self.running,
            "waiting": self.waiting,
            "in_flight": lifecycle.in_flight,
            "requests_total": self.requests_total,
            "artifacts": self._loaded.artifacts if self._loaded else None,
            "pid": os.getpid(),
        }

    # The engine's thread.

    def _load_and_run(self) -> None:
        from .config import UnsupportedModel

        options = self.options
        try:
            loaded = load(options.model, options.slots, options.max_len, options.artifacts, self._enter, self._tell)
            from .engine import Engine

            engine = Engine(loaded.runner, loaded.config.eos_ids, options.queue_limit, self._publish)
            self._call(self._become_ready, loaded, engine)
            engine.run()
        except UnsupportedModel as refused:
            self._call(self._fail, str(refused))
        except Exception as error:  # whatever breaks here, the state has to say so and the clients have to hear it
            self._call(self._fail, f"{type(error).__name__}: {error}")

    def _call(self, function: Any, *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: the process is on its way out
            self._loop.call_soon_threadsafe(function, *arguments)

    def _enter(self, phase: str) -> None:
        self._call(self.lifecycle.enter, phase)

    def _tell(self, text: str | None) -> None:
        self._call(setattr, self.lifecycle, "reason", text)

    def _publish(self, deliveries: list[Delivery]) -> None:
        self._call(self._fan_out, deliveries)

    # The event loop.

    def _become_ready(self, loaded: Loaded, engine: "Engine") -> None:
        self._loaded, self._engine = loaded, engine
        self.lifecycle.ready(artifacts=loaded.artifacts, warning=loaded.warning, parameters=loaded.config.parameters)

    def _fail(self, reason: str) -> None:
        self.lifecycle.fail(reason)
        for receiver in self._open:
            receiver.put_nowait(None)
        self.failed.set()

    @staticmethod
    def _fan_out(deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            delivery.request.receiver.put_nowait(delivery)

    async def prompt_ids(self, ask: Ask) -> list[int]:
        """The prompt as token ids. Raises ApiError."""
        from .text import TemplateRefused

        loaded = self._require_ready()
        if isinstance(ask.prompt, list) and not ask.chat:
            ids = ask.prompt
        else:
            try:
                text = loaded.codec.chat_text(ask.prompt) if ask.chat else ask.prompt
            except TemplateRefused as refused:
                raise wrong("messages", str(refused)) from refused
            encode = loaded.codec.encode
            # A chat template writes the special tokens itself.
            ids = await asyncio.to_thread(encode, text, not ask.chat) if len(text) > LONG_TEXT_CHARS else encode(text, not ask.chat)
        for field, tokens in (("prompt", ids), ("resume_token_ids", ask.resume_token_ids)):
            if any(token >= loaded.config.vocab_size for token in tokens):
                raise wrong(field, f"token ids must be below {loaded.config.vocab_size}")
        return ids

    def _require_ready(self) -> Loaded:
        lifecycle = self.lifecycle
        if lifecycle.state == "READY" and self._loaded is not None:
            return self._loaded
        code = {"STARTING": "starting", "FAILED": "failed"}.get(lifecycle.state, "draining")
        text = f"This worker is {code}; ask another or later." if code != "failed" else f"This worker failed: {lifecycle.reason}"
        raise ApiError(503, text, code=code, retry_after_s=1)

    def refuse_unless_ready(self) -> None:
        """Raises ApiError 503 while starting, draining or failed."""
        self._require_ready()

    def submit(self, ask: Ask, prompt_ids: list[int]) -> "Generation":
        """Accept a request, or raise ApiError; whoever accepts must run the generation or close it."""
        loaded = self._require_ready()  # again: a drain may have begun while the body came in
        max_tokens = _answer_room(ask, len(prompt_ids), self.options.max_len)
        receiver: asyncio.Queue = asyncio.Queue()
        request = Request(
            prompt_ids=prompt_ids + ask.resume_token_ids,
            max_tokens=max_tokens - len(ask.resume_token_ids),
            sampling=ask.sampling,
            ignore_eos=ask.ignore_eos,
            receiver=receiver,
        )
        self._submit_to_engine(request)
        self.requests_total += 1
        self.lifecycle.opened()
        self._open.add(receiver)
        return Generation(self, request, ask, loaded)

    def _submit_to_engine(self, request: Request) -> None:
        from .engine import QueueFull

        try:
            self._engine.submit(request)
        except QueueFull:
            text = f"All {self.options.slots} slots are taken and {self.options.queue_limit} requests wait."
            raise ApiError(429, text, code="queue_full", retry_after_s=1) from None

    def close(self, request: Request, reason: str) -> None:
        """The request is over; what the engine still does for it is dropped."""
        if reason in ("abort", "stop"):
            self._engine.cancel(request)
        self._open.discard(request.receiver)
        self.metrics.finished(reason)
        self.lifecycle.closed()


def _answer_room(ask: Ask, prompt_tokens: int, max_len: int) -> int:
    """How many tokens the answer may have. Raises ApiError where prompt and answer cannot fit."""
    if not prompt_tokens:
        raise wrong("prompt", "has no tokens")
    room = max_len - prompt_tokens
    wanted = ask.max_tokens or (room if ask.chat else min(DEFAULT_COMPLETION_TOKENS, room))
    if room < 1 or wanted > room:
        text = f"The prompt has {prompt_tokens} tokens and the answer may have {max(wanted, 1)}; this worker holds {max_len} together."
        param = "max_tokens" if room >= 1 else "messages" if ask.chat else "prompt"
        raise ApiError(413, text, param=param, code="context_length_exceeded")
    if len(ask.resume_token_ids) >= wanted:
        raise wrong("resume_token_ids", f"holds {len(ask.resume_token_ids)} tokens, and the answer may have {wanted}")
    return wanted


class Generation:
    """One accepted request on its way to a client."""

    def __init__(self, service: Service, request: Request, ask: Ask, loaded: Loaded) -> None:
        from .text import AnswerText

        self._service = service
        self._request = request
        self._resumed = len(ask.resume_token_ids)
        self._text = AnswerText(loaded.codec, ask.stops)
        self._text.push(ask.resume_token_ids)  # the client has this part already
        self._made = 0
        self._last_s: float | None = None
        self._end = "abort"  # what it is unless the last token gets out

    @property
    def usage(self) -> Usage:
        """Tokens so far; an answer that was resumed counts as one answer."""
        return Usage(len(self._request.prompt_ids) - self._resumed, self._resumed + self._made)

    async def parts(self) -> AsyncIterator[Part]:
        """The answer, a piece for each step or for as many steps as the client was slow. Raises ApiError 500 if the engine fails."""
        while True:
            deliveries = [await self._request.receiver.get()]
            while not self._request.receiver.empty():
                deliveries.append(self._request.receiver.get_nowait())
            if None in deliveries:
                self._end = "error"
                raise ApiError(500, "The engine failed while it answered.", code="engine_failed")
            part = self._part(deliveries)
            yield part
            if part.finish_reason:
                self._end = part.finish_reason
                return

    def _part(self, deliveries: list[Delivery]) -> Part:
        text, token_ids, reason = "", [], None
        for delivery in deliveries:
            token_ids += delivery.token_ids
            self._last_s = self._service.metrics.tokens(self._request, len(delivery.token_ids), self._last_s)
            reason = delivery.finish_reason
            text += self._text.push(delivery.token_ids[:-1] if reason == "stop" else delivery.token_ids)
            if self._text.stopped:
                reason = "stop"
                break
        self._made += len(token_ids)
        return Part(text + self._text.finish() if reason else text, token_ids, reason)

    def close(self) -> None:
        """Give back what the request holds; call it once, however the answer ended."""
        self._service.close(self._request, self._end)
