"""What the gateway tells about itself: counters for Prometheus, and the state the console reads back before it calls a worker drained."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from opsconsole.gateway.balancer import Balancer

PREFIX = "opsconsole_gateway_"
STATES = ("ready", "draining", "gone")
WAIT_BUCKETS_S = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The counters. `outcome` of a request is one of:

    ok            the worker's answer was passed on whole, whatever its status below 500
    worker_error  the worker answered 5xx by itself, and that was passed on
    broken        the worker died, or its answer ended early, after it may have begun
    cancelled     the client left first
    queue_full, queue_timeout, too_late, expired, unknown_model, bad_request, stopping    refused here; no worker saw it

    Nothing is counted by tenant: their names come from clients, and there may be any number of them.
    """

    def __init__(self, balancer: Balancer) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Depths(balancer))
        self.requests = self._counter("requests", "Requests that have ended", "model", "outcome")
        self.retries = self._counter("retries", "Requests queued again since a worker did not take them", "model", "worker")
        self.moves = self._counter("moves", "Streams that went on at another worker when this one cut them", "model", "worker")
        self.expired = self._counter("expired", "Requests that left the queue because their time was over", "model")
        self.routes_broken = self._counter("routes_broken", "Times the routes file could not be used")
        self.queue_wait_s = self._histogram("queue_wait_seconds", "Time from arrival to a worker that took it")
        self.ttft_s = self._histogram("time_to_first_token_seconds", "Time from arrival to the first bytes of a stream")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(PREFIX + name, text, ("model",), registry=self._registry, buckets=WAIT_BUCKETS_S)

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Depths:
    """Gauges read from the balancer when asked, so that a request need not keep them."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer

    def collect(self) -> Iterator[Metric]:
        queue_depth = GaugeMetricFamily(PREFIX + "queue_depth", "Requests waiting for a worker", labels=["model"])
        queue_tokens = GaugeMetricFamily(PREFIX + "queue_tokens", "Tokens of the requests waiting for a worker", labels=["model"])
        in_flight = GaugeMetricFamily(PREFIX + "in_flight", "Requests a worker holds", labels=["model", "worker"])
        slots = GaugeMetricFamily(PREFIX + "slots", "Requests a worker may hold; 0 for one that gets none", labels=["model", "worker"])
        for model, state in read_state(self._balancer)["models"].items():
            queue_depth.add_metric([model], state["queued"])
            queue_tokens.add_metric([model], self._balancer.queued_tokens(model))
            for worker, held in state["workers"].items():
                in_flight.add_metric([model, worker], held["in_flight"])
                slots.add_metric([model, worker], held["slots"])
        yield from (queue_depth, queue_tokens, in_flight, slots)


def read_state(balancer: Balancer) -> dict:
    """{"workers": [{"worker", "model", "in_flight", "queued", "state"}],
    "models": {MODEL: {"queued", "in_flight", "workers": {WORKER: {"in_flight", "assigned", "slots", "routed", "state"}}}}}.

    state: "ready"; "draining": the routes name it and it gets no more requests; "gone": the routes do not name it any more, and it is
    listed until its last request has ended. A worker's own `queued` is 0: what waits here waits for any worker of its model. `assigned`
    counts what was ever given to it.
    """
    models = {model: _read_model(balancer, model) for model in balancer.models()}
    workers = [
        {"worker": name, "model": model, "in_flight": held["in_flight"], "queued": 0, "state": held["state"]}
        for model, state in models.items() for name, held in state["workers"].items()
    ]
    return {"workers": workers, "models": models}


def _read_model(balancer: Balancer, model: str) -> dict:
    """A worker replaced under its old name has two seats for a while: it is as ready as the readier one of them."""
    workers: dict[str, dict] = {}
    for seat in sorted(balancer.seats(model), key=lambda seat: STATES.index(seat.state)):
        known = workers.setdefault(
            seat.worker.name, {"in_flight": 0, "assigned": 0, "slots": 0, "routed": seat.routed, "state": seat.state})
        known["in_flight"] += seat.in_flight
        known["assigned"] += seat.assigned
        known["slots"] += seat.worker.slots if seat.routed else 0
    in_flight = sum(worker["in_flight"] for worker in workers.values())
    return {"queued": balancer.queued(model), "in_flight": in_flight, "workers": workers}
