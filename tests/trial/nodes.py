"""Modelled nodes and their router: what a real agent promises (ids done once, one order a worker, generations) and what may befall it."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

SIGTERM_AFTER_LOOKS = 2
RIVAL_MAY = {("undrain", "drain"), ("cancel", "launch")}
"""(order, the order under way at its worker which it ends)."""


class Broken(AssertionError):
    """A promise did not hold."""


@dataclass
class Worker:
    name: str
    gpus: tuple[int, ...]
    state: str = "READY"
    in_flight: int = 0
    generation: int = 1
    ready_at: int = 0
    fails: bool = False
    quiet_looks: int = 0


@dataclass
class Taken:
    """An order that the node has begun. by: whose agent works on it, "" when that has died; answer: its last word, None before."""

    order: dict[str, Any]
    by: str
    at: int
    answer: tuple[bool, str, dict[str, Any]] | None = None


@dataclass
class Router:
    """Shared by all consoles. out: workers that get no more requests."""

    out: set[str] = field(default_factory=set)


class Node:
    """say(console, order_id, ok, done, text, detail) carries an answer away."""

    def __init__(self, name: str, gpus: int, router: Router, random: Random, say: Any) -> None:
        self.name, self.gpus, self.router, self.random, self.say = name, gpus, router, random, say
        self.workers: dict[str, Worker] = {}
        self.taken: dict[str, Taken] = {}
        self.refused: dict[str, dict[str, tuple[bool, str, dict[str, Any]]]] = {}
        """What an agent has said no to, by its console; it dies with the agent."""
        self.launched: dict[str, int] = {}
        """How often each order started a process."""
        self.was_ready: dict[str, int] = {}
        """When each worker was READY last."""

    def receive(self, console: str, order: dict[str, Any], now: int) -> None:
        known, refused = self.taken.get(order["id"]), self.refused.get(console, {}).get(order["id"])
        if known is not None and known.answer is not None and known.answer[0]:
            self._tell(console, order["id"], *known.answer)
        elif refused is not None:
            self._tell(console, order["id"], *refused)
        elif known is not None and known.answer is None:
            known.by = console
            self.say(console, order["id"], True, False, "goes on", {})
        elif refusal := self._refusal(order):
            self._refuse(console, order["id"], refusal, {"conflict": True})
        else:
            self._take(console, order, now)

    def _refuse(self, console: str, order_id: str, text: str, detail: dict[str, Any]) -> None:
        self.refused.setdefault(console, {})[order_id] = (False, text, detail)
        self._tell(console, order_id, False, text, detail)

    def _refusal(self, order: dict[str, Any]) -> str:
        worker = self.workers.get(order["worker"])
        if "generation" in order and order["generation"] != (worker.generation if worker else None):
            return "another order has been taken since"
        busy = self._under_way(order["worker"])
        if busy and (order["op"], busy.order["op"]) not in RIVAL_MAY:
            return "another order has this worker"
        return ""

    def _under_way(self, worker: str) -> Taken | None:
        doing = (one for one in self.taken.values() if one.order["worker"] == worker and one.answer is None)
        return next((one for one in doing if one.by), None)

    def _take(self, console: str, order: dict[str, Any], now: int) -> None:
        taken = self.taken[order["id"]] = Taken(order, console, now)
        worker = self.workers.get(order["worker"])
        if worker is not None:
            worker.generation += 1
        getattr(self, f"_{order['op']}")(taken, worker, now)

    def _launch(self, taken: Taken, worker: Worker | None, now: int) -> None:
        gpus = tuple(taken.order["gpus"])
        held = {gpu for one in self.workers.values() if one.state not in ("STOPPED", "FAILED") for gpu in one.gpus}
        if (worker is not None and worker.state not in ("STOPPED", "FAILED")) or held & set(gpus):
            self._end(taken, False, "the name or a GPU is taken")
            return
        order_id = taken.order["id"]
        self.launched[order_id] = self.launched.get(order_id, 0) + 1
        if self.launched[order_id] > 1:
            raise Broken(f"G5: {order_id} started a process twice")
        generation = worker.generation if worker else 1
        fails = self.random.random() < 0.25
        self.workers[taken.order["worker"]] = Worker(
            taken.order["worker"], gpus, "STARTING", generation=generation, ready_at=now + self.random.randint(2, 9), fails=fails)
        self.router.out.discard(taken.order["worker"])

    def _drain(self, taken: Taken, worker: Worker | None, now: int) -> None:
        if worker is None or worker.state in ("STOPPED", "FAILED"):
            self._end(taken, True, "was not running")
            return
        self._must_be_out(taken)
        worker.state, worker.quiet_looks = "DRAINING", 0

    def _must_be_out(self, taken: Taken) -> None:
        if taken.order["worker"] not in self.router.out:
            raise Broken(f"G1: {taken.order['op']} of {taken.order['worker']} while the router still sends to it")

    def _stop(self, taken: Taken, worker: Worker | None, now: int) -> None:
        self._must_be_out(taken)
        if worker is not None and worker.in_flight:
            self._end(taken, False, f"{worker.in_flight} in flight")
            return
        if worker is not None:
            self._sigterm(worker, taken)
        self._end(taken, True, "stopped")

    def _undrain(self, taken: Taken, worker: Worker | None, now: int) -> None:
        for other in list(self.taken.values()):
            if other is not taken and other.order["worker"] == taken.order["worker"] and other.answer is None:
                self._end(other, False, "taken back by an undrain", taken_back=True)
        if worker is None or worker.state not in ("DRAINING", "READY"):
            self._end(taken, False, "there is nothing to take back")
            return
        worker.state = "READY"
        self.router.out.discard(worker.name)
        self._end(taken, True, "admits requests again")

    def _cancel(self, taken: Taken, worker: Worker | None, now: int) -> None:
        if worker is None or worker.state != "STARTING":
            self._end(taken, False, f"{worker.state if worker else 'no worker'}")
            return
        worker.state = "STOPPED"
        for other in list(self.taken.values()):
            if other.order["op"] == "launch" and other.order["worker"] == worker.name and other.answer is None:
                self._end(other, False, "cancelled")
        self._end(taken, True, "ended")

    def tick(self, now: int) -> None:
        for worker in self.workers.values():
            self._serve(worker, now)
        for taken in list(self.taken.values()):
            if taken.answer is None:
                self._go_on(taken, now)

    def _serve(self, worker: Worker, now: int) -> None:
        if worker.state == "STARTING" and now >= worker.ready_at:
            worker.state = "FAILED" if worker.fails else "READY"
        if worker.state in ("READY", "DRAINING"):
            arriving = 0 if worker.name in self.router.out else self.random.randint(0, 2)
            worker.in_flight = max(0, worker.in_flight + arriving - self.random.randint(0, 2))
            if self.random.random() < 0.002:
                worker.state, worker.in_flight = "FAILED", 0
        if worker.state == "READY":
            self.was_ready[worker.name] = now

    def _go_on(self, taken: Taken, now: int) -> None:
        """A launch goes on without an agent, for its worker does; a drain waits until its order is asked for again."""
        worker = self.workers[taken.order["worker"]]
        if taken.order["op"] == "launch":
            if worker.state != "STARTING":
                self._end(taken, worker.state == "READY", worker.state)
        elif taken.by:
            self._drain_on(taken, worker, now)

    def _drain_on(self, taken: Taken, worker: Worker, now: int) -> None:
        if worker.state != "DRAINING":
            self._end(taken, False, f"died: {worker.state}")
            return
        worker.quiet_looks = worker.quiet_looks + 1 if worker.in_flight == 0 else 0
        is_late = now - taken.at >= taken.order["deadline_s"]
        if worker.quiet_looks >= SIGTERM_AFTER_LOOKS or (is_late and taken.order["on_deadline"] == "abort"):
            self._sigterm(worker, taken)
            self._end(taken, True, "stopped")
        elif is_late:
            self._end(taken, False, "deadline; held", held=True)
        else:
            self.say(taken.by, taken.order["id"], True, False, f"{worker.in_flight} in flight", {"in_flight": worker.in_flight})

    @staticmethod
    def _sigterm(worker: Worker, taken: Taken) -> None:
        if worker.in_flight and taken.order.get("on_deadline") != "abort":
            raise Broken(f"G1: SIGTERM to {worker.name} with {worker.in_flight} in flight")
        worker.state, worker.in_flight = "STOPPED", 0

    def _end(self, taken: Taken, ok: bool, text: str, **detail: Any) -> None:
        taken.answer = (ok, text, detail)
        if not ok and taken.by:
            self.refused.setdefault(taken.by, {})[taken.order["id"]] = taken.answer
        self._tell(taken.by, taken.order["id"], ok, text, detail)

    def _tell(self, console: str, order_id: str, ok: bool, text: str, detail: dict[str, Any]) -> None:
        if console:
            self.say(console, order_id, ok, True, text, detail)

    def agent_died(self, console: str) -> None:
        """What a console's agent was at is let go of; the workers live on."""
        self.refused.pop(console, None)
        for taken in self.taken.values():
            if taken.by == console:
                taken.by = ""
