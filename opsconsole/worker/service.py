"""Joins the event loop, where clients are, with the engine's thread, where tokens are made."""

import asyncio
import math
import os
import threading
import time
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from .admission import Admission, QueueFull
from .api import DEFAULT_COMPLETION_TOKENS, ApiError, Ask, wrong
from .generation import Generation
from .lifecycle import Lifecycle
from .loading import Loaded, load
from .metrics import Metrics
from .options import Options
from .request import Delivery, Request

if TYPE_CHECKING:
    from .engine import Engine

LONG_TEXT_CHARS = 20_000
"""A longer prompt is tokenised in a thread, so that other clients' streams do not stutter."""
TOLD_REQUESTS_LIMIT = 256
"""As many requests are listed by `GET /state`, the oldest first: it is asked every second and has to stay small."""
RETRY_LIMIT_S = 60
STOP_LIMIT_S = 2.0
"""How long the engine's thread may take to end; the compiler, which may be at work in it, cannot be interrupted."""
SMOOTHING = 0.1
"""The share of the latest request in what is expected of the next."""


class Asker(NamedTuple):
    """Who asks: the id of the request and of its answer, the tenant where a header names one, and since when."""

    id: str
    tenant: str | None
    arrived_s: float


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
        self._open: dict[Generation, None] = {}
        """Accepted requests whose answer is not yet out, oldest first."""
        self._held_s = 0.0
        """How long a request holds a slot, lately."""
        self._thread = threading.Thread(target=self._load_and_run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin loading; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the engine's thread, if it serves already."""
        if self._engine is not None:
            self._engine.stop()
            self._thread.join(STOP_LIMIT_S)

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
        lifecycle, programs = self.lifecycle, self._loaded.programs if self._loaded else None
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
            "tokens_total": self.metrics.tokens_total,
            "prompt_tokens_total": self.metrics.prompt_tokens_total,
            "revision": self._loaded.revision if self._loaded else None,
            "artifacts": programs.artifacts if programs else None,
            "programs": {"ready": len(programs.ready), "all": len(programs)} if programs else None,
            "pid": os.getpid(),
            "requests": self._told_requests(),
        }

    def _told_requests(self) -> list[dict[str, Any]]:
        now_s = time.monotonic()
        return [generation.told(now_s) for generation in islice(self._open, TOLD_REQUESTS_LIMIT)]

    def open_ids(self) -> list[str]:
        """The ids of all that is in flight, oldest first."""
        return [generation.id for generation in self._open]

    def totals(self) -> dict[str, Any]:
        """What was served since the start."""
        metrics = self.metrics
        counts = {"tokens_total": metrics.tokens_total, "prompt_tokens_total": metrics.prompt_tokens_total}
        return {"requests_total": self.requests_total, "requests": dict(metrics.ended), **counts}

    # The engine's thread.

    def _load_and_run(self) -> None:
        from .config import UnsupportedModel

        options = self.options
        try:
            loaded = load(options, self._enter, self._tell)
            from .engine import Engine

            waiting = Admission(options.queue_limit, options.queue_token_limit)
            supervisor = self.lifecycle.supervisor
            engine = Engine(loaded.runner, loaded.config.eos_ids, waiting, self._publish, supervisor.beat, supervisor.beat_s)
            loaded.programs.on_wait = supervisor.beat
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
        if text:
            self.lifecycle.supervisor.entered(text)

    def _publish(self, deliveries: list[Delivery]) -> None:
        self._call(self._fan_out, deliveries)

    # The event loop.

    def _become_ready(self, loaded: Loaded, engine: "Engine") -> None:
        self._loaded, self._engine = loaded, engine
        facts = {"artifacts": loaded.programs.artifacts, "revision": loaded.revision, "parameters": loaded.config.parameters}
        self.lifecycle.ready(warning=loaded.warning, **facts)

    def _fail(self, reason: str) -> None:
        self.lifecycle.fail(reason)
        self.cut(ApiError(500, "The engine failed while it answered.", code="engine_failed"))
        self.failed.set()

    def cut(self, error: ApiError) -> None:
        """End every answer in flight with an error."""
        for generation in self._open:
            generation.arrive(error)

    @staticmethod
    def _fan_out(deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            delivery.request.receiver.arrive(delivery)

    async def prompt_ids(self, ask: Ask) -> list[int]:
        """The prompt as token ids. Raises ApiError."""
        loaded = self._require_ready()
        ids = ask.prompt if isinstance(ask.prompt, list) and not ask.chat else await self._encoded(ask, loaded)
        for field, tokens in (("prompt", ids), ("resume_token_ids", ask.resume_token_ids), ("stop_token_ids", ask.stop_token_ids)):
            if any(token >= loaded.config.vocab_size for token in tokens):
                raise wrong(field, f"token ids must be below {loaded.config.vocab_size}")
        return ids

    @staticmethod
    async def _encoded(ask: Ask, loaded: Loaded) -> list[int]:
        from .text import TemplateRefused

        field = "messages" if ask.chat else "prompt"
        try:
            text = loaded.codec.chat_text(ask.prompt) if ask.chat else ask.prompt
            text.encode()
        except TemplateRefused as refused:
            raise wrong(field, str(refused)) from refused
        except UnicodeEncodeError:
            raise wrong(field, "holds half a surrogate pair, which is no character") from None
        add_special = not ask.chat  # a chat template writes the special tokens itself
        if len(text) > LONG_TEXT_CHARS:
            return await asyncio.to_thread(loaded.codec.encode, text, add_special)
        return loaded.codec.encode(text, add_special)

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

    def submit(self, ask: Ask, prompt_ids: list[int], asker: Asker) -> Generation:
        """Accept a request, or raise ApiError; whoever accepts must run the generation and close it."""
        loaded = self._require_ready()  # again: a drain may have begun while the body came in
        max_tokens = _answer_room(ask, len(prompt_ids), self.options.max_len)
        resumed = len(ask.resume_token_ids)
        request = Request(
            prompt_ids=prompt_ids + ask.resume_token_ids,
            max_tokens=max_tokens - resumed,
            sampling=ask.sampling,
            ignore_eos=ask.ignore_eos,
            min_tokens=max(0, ask.min_tokens - resumed),
            logprobs=ask.logprobs,
            client=ask.user if asker.tenant is None else asker.tenant,
            arrived_s=asker.arrived_s,
        )
        generation = request.receiver = Generation(self, asker.id, ask, request, loaded)
        _refuse_whole_answers(ask, generation, loaded)
        self._submit_to_engine(request)
        self.requests_total += 1
        self.lifecycle.opened()
        self._open[generation] = None
        return generation

    def _submit_to_engine(self, request: Request) -> None:
        try:
            self._engine.submit(request)
        except QueueFull as full:
            text = f"All {self.options.slots} slots are taken; {full}."
            raise ApiError(429, text, code="queue_full", retry_after_s=self._queue_s()) from None

    def _queue_s(self) -> int:
        """When all that wait now will have got a slot, if they are like those before."""
        expected_s = math.ceil(self._held_s * self.waiting / self.options.slots)
        return min(max(expected_s, 1), RETRY_LIMIT_S)

    def close(self, generation: Generation, reason: str) -> None:
        """The request is over; what the engine still does for it is dropped."""
        request = generation.request
        if reason != "length":
            self._engine.cancel(request)
        if request.scheduled_s is not None:
            held_s = time.monotonic() - request.scheduled_s
            self._held_s += (held_s - self._held_s) * SMOOTHING if self._held_s else held_s
        del self._open[generation]
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
    if ask.min_tokens > wanted:
        raise wrong("min_tokens", f"must be at most the {wanted} tokens that the answer may have")
    if len(ask.resume_token_ids) >= wanted:
        raise wrong("resume_token_ids", f"holds {len(ask.resume_token_ids)} tokens, and the answer may have {wanted}")
    return wanted


def _refuse_whole_answers(ask: Ask, generation: Generation, loaded: Loaded) -> None:
    """Raises ApiError where the tokens to be resumed end an answer: there is nothing to continue."""
    ends = ask.stop_token_ids if ask.ignore_eos else ask.stop_token_ids.union(loaded.config.eos_ids)
    if generation.is_over_already or not ends.isdisjoint(ask.resume_token_ids):
        raise wrong("resume_token_ids", "hold the end of the answer, so that nothing is left to continue")
