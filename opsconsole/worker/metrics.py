"""The numbers a router, a console or Prometheus reads: vLLM's names under our own prefix, in a registry of our own."""

import time
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from .request import Request

PREFIX = "opsconsole:"
LATENCY_BUCKETS_S = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08),
    *(0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5),
    *(10.0, 15.0, 20.0, 30.0, 45.0, 60.0),
)
"""Fine enough that a p95 against a 50 ms or 100 ms objective is read within about a quarter of its value."""

REASONS = ("stop", "length", "abort", "error")
"""Why a request ended: by itself, at its length, because its client left, or because the worker failed or was told to end."""


class Load(Protocol):
    """Where the gauges are read."""

    @property
    def running(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def slots(self) -> int: ...
    @property
    def cache_used(self) -> float: ...


class Metrics:
    """All series of one worker. Gauges are read from their source when asked, so nothing can drift."""

    def __init__(self, load: Load) -> None:
        self.tokens_total = 0
        """Tokens made since the start."""
        self.prompt_tokens_total = 0
        """Tokens read since the start, those of answers that were resumed included."""
        self.ended = dict.fromkeys(REASONS, 0)
        """Requests that are over, by why."""
        disable_created_metrics()
        registry = self._registry = CollectorRegistry()

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(PREFIX + name, text, buckets=LATENCY_BUCKETS_S, registry=registry)

        def gauge(name: str, text: str, read) -> None:
            Gauge(PREFIX + name, text, registry=registry).set_function(read)

        gauge("num_requests_waiting", "Requests accepted that hold no slot yet.", lambda: load.waiting)
        gauge("num_requests_running", "Requests that hold a slot.", lambda: load.running)
        gauge("kv_cache_usage_perc", "Share of cache positions in use, 0 to 1.", lambda: load.cache_used)
        gauge("slots", "Requests that can run at once.", lambda: load.slots)
        self._prompt_tokens = Counter(PREFIX + "prompt_tokens", "Prompt tokens processed.", registry=registry)
        self._generation_tokens = Counter(PREFIX + "generation_tokens", "Tokens generated.", registry=registry)
        self._success = Counter(PREFIX + "request_success", "Requests ended, by why.", ["finished_reason"], registry=registry)
        for reason in REASONS:
            self._success.labels(reason)  # so that a rate starts from 0 instead of from nothing
        self._first_token = histogram("time_to_first_token_seconds", "From arrival to the first token.")
        self._between_tokens = histogram("inter_token_latency_seconds", "Between two tokens of one answer.")
        self._queue_time = histogram("request_queue_time_seconds", "From arrival to getting a slot.")

    def text(self) -> bytes:
        """The exposition format of Prometheus."""
        return generate_latest(self._registry)

    def tokens(self, request: Request, count: int, previous_s: float | None) -> float:
        """Count new tokens of a request; `previous_s` is what this returned for its last ones, None for the first."""
        now_s = time.monotonic()
        self._generation_tokens.inc(count)
        self.tokens_total += count
        if previous_s is None:
            self.prompt_tokens_total += len(request.prompt_ids)
            self._prompt_tokens.inc(len(request.prompt_ids))
            self._first_token.observe(now_s - request.arrived_s)
            self._queue_time.observe((request.scheduled_s or now_s) - request.arrived_s)
        else:
            for _ in range(count):
                self._between_tokens.observe((now_s - previous_s) / count)
        return now_s

    def finished(self, reason: str) -> None:
        """Count the end of a request by one of REASONS."""
        self.ended[reason] += 1
        self._success.labels(reason).inc()
