"""One seed, one history: consoles act on shared nodes while orders are lost, answers come late or twice, agents and consoles die."""

from __future__ import annotations

import heapq
import itertools
from random import Random
from typing import Any

from opsconsole.core.run import ENDED, NodeBack, NodeSaid
from opsconsole.core.steps import Drain, Step
from tests.trial.consoles import GPUS, NODES, Console, Crash
from tests.trial.nodes import Broken, Node, Router, Worker

FAULTY_S, QUIET_S = 90, 210
"""Faults happen in the first part; in the second all that was begun must come to its end."""


class Trial:
    """run() raises Broken, which names the promise, with what has happened in `log`."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.now = 0
        self.log: list[str] = []
        self._due: list[tuple[int, int, Any]] = []
        self._numbers = itertools.count()
        self._names = itertools.count(1)
        self._free: list[tuple[str, int]] = []
        self.router = Router()
        self.nodes = {name: Node(name, GPUS, self.router, random, self._say_from(name)) for name in NODES}
        for number in range(random.randint(2, 5)):
            worker = Worker(f"w{number}", (number % GPUS,), in_flight=random.randint(0, 4))
            self.nodes[NODES[number % 3]].workers[worker.name] = worker
        self.consoles = {name: Console(name, random, self.nodes, self._send) for name in ("a", "b")[:random.randint(1, 2)]}
        self.down_until = dict.fromkeys(self.consoles, 0)
        pairs = list(itertools.product(self.consoles, NODES))
        self.cut_until = dict.fromkeys(pairs, 0)
        self.noticed_at = dict.fromkeys(pairs, 0)
        """When a console sees that a link was cut."""
        self.era = dict.fromkeys(pairs, 0)
        """Counts connections: what was said in one is not heard in the next."""
        self.linked_in = dict.fromkeys(pairs, -1)
        """The connection that a console has been told of."""

    def run(self) -> None:
        for self.now in range(1, FAULTY_S + QUIET_S):
            faulty = self.now < FAULTY_S
            if faulty:
                self._break_something()
            for node in self.nodes.values():
                node.tick(self.now)
            for name, console in self.consoles.items():
                console.may_crash = faulty
                if self.now >= self.down_until[name]:
                    self._safely(name, lambda console=console, faulty=faulty: self._second(console, faulty))
            self._deliver()
            if not faulty and self._is_settled():
                break
        self._judge()

    def _is_settled(self) -> bool:
        runs = [run for console in self.consoles.values() for run in console.runs.values()]
        are_up = all(self.now > until for until in self.down_until.values())
        return are_up and not self._due and all(run.state in ("DONE", "HELD", "FAILED") for run in runs)

    def _break_something(self) -> None:
        random = self.random
        for pair in self.cut_until:
            if random.random() < 0.02 and self.cut_until[pair] <= self.now:
                self._cut(pair, random.randint(1, 25), random.randint(0, 4))
            if random.random() < 0.005:
                self._cut(pair, 0, 0)  # an agent that dies alone is started again at once
        for name in self.consoles:
            if random.random() < 0.005:
                self._safely(name, self._crash)

    def _cut(self, pair: tuple[str, str], for_s: int, unseen_s: int) -> None:
        self._note(f"{pair} cut for {for_s} s")
        self.era[pair] += 1
        self.cut_until[pair], self.noticed_at[pair] = self.now + for_s, self.now + unseen_s
        later_s = self.random.randint(0, 5)
        era = self.era[pair]
        self._at(later_s, lambda: self.nodes[pair[1]].agent_died(pair[0]) if self.era[pair] == era and self._is_cut(pair) else None)
        if not for_s:
            self.nodes[pair[1]].agent_died(pair[0])
            self.consoles[pair[0]].is_linked[pair[1]] = False

    def _is_cut(self, pair: tuple[str, str]) -> bool:
        return self.cut_until[pair] > self.now

    def _second(self, console: Console, faulty: bool) -> None:
        """One second of a console: its links, what its operators want, its runs."""
        for name in NODES:
            self._link(console, name)
        for run in list(console.runs.values()):
            if run.state == "INTERRUPTED" and self.random.random() < (0.1 if faulty else 1.0):
                console.tell(run.id, "cancel" if self.random.random() < 0.2 else "resume", self.now)
            elif run.state == "OPEN" and faulty and self.random.random() < 0.01:
                console.tell(run.id, self.random.choice(("let go", "cancel")), self.now)
        if faulty and self.random.random() < 0.15:
            self._want(console)
        console.tick(self.now)

    def _link(self, console: Console, name: str) -> None:
        pair = (console.name, name)
        if self._is_cut(pair):
            if self.now >= self.noticed_at[pair]:
                console.is_linked[name] = False
            return
        # a connection that broke is made anew, also where nobody had seen that it was broken
        was_linked = console.is_linked[name] and self.linked_in[pair] == self.era[pair]
        console.is_linked[name], self.linked_in[pair] = True, self.era[pair]
        if self.random.random() < 0.8 or not was_linked:
            console.see(self.nodes[name], self.now)
        if not was_linked:
            console.hear(NodeBack(name, float(self.now)), self.now)

    def _want(self, console: Console) -> None:
        seen = [worker for workers in console.seen.values() for worker in workers]
        held = {(worker.node, gpu) for worker in seen if worker.state not in ("STOPPED", "FAILED") for gpu in worker.gpus}
        self._free = [place for place in itertools.product(NODES, range(GPUS)) if place not in held]
        ready, draining = ([worker for worker in seen if worker.state == state] for state in ("READY", "DRAINING"))
        steps = self._plan(ready, draining)
        if steps:
            self._note(f"{console.name} wants {[step.text for step in steps]}")
            console.begin(steps, Drain((), actor=console.name), self.now)

    def _plan(self, ready: list, draining: list) -> tuple[Step, ...]:
        """What an operator may have confirmed; whether it still holds is for the guards."""
        random, kind = self.random, self.random.choice(("launch", "launches", "drain", "drains", "exchange", "roll", "undrain", "stop"))
        if kind in ("undrain", "stop"):
            return tuple(_step(kind, worker.node, worker.name) for worker in (draining or ready)[:1])
        if kind in ("launch", "launches"):
            return tuple(self._launch() for _ in range(random.randint(1, 4) if kind == "launches" else 1))
        old = random.sample(ready, min(len(ready), random.randint(1, 3) if kind in ("drains", "roll") else 1))
        if kind in ("drain", "drains"):
            return tuple(self._drain(worker) for worker in old)
        steps: list[Step] = []
        for worker in old:
            steps.append(self._launch((len(steps) - 1,) if steps else ()))
            steps.append(self._drain(worker, (len(steps) - 1,)))
        return tuple(steps)

    def _launch(self, after: tuple[int, ...] = ()) -> Step:
        node, gpu = self.random.choice(self._free or [("n1", 0)])
        return _step("launch", node, f"x{next(self._names)}", after, gpus=[gpu], model="m", engine="jax")

    def _drain(self, worker: Any, after: tuple[int, ...] = ()) -> Step:
        how = self.random.choice(("hold", "hold", "abort"))
        return _step("drain", worker.node, worker.name, after, deadline_s=self.random.randint(2, 30), on_deadline=how)

    def _send(self, console: str, node: str, order: dict[str, Any]) -> bool:
        pair = (console, node)
        if not self.consoles[console].is_linked[node]:
            return False
        if not self._is_cut(pair):
            self._at(self.random.randint(0, 2), self._in_era(pair, lambda: self.nodes[node].receive(console, order, self.now)))
        self._note(f"{console} -> {node} {order['op']} {order['id']}{' (lost)' if self._is_cut(pair) else ''}")
        return True

    def _say_from(self, node: str) -> Any:
        def say(console: str, order_id: str, ok: bool, done: bool, text: str, detail: dict[str, Any]) -> None:
            for _ in range(2 if self.random.random() < 0.05 else 1):
                late_s = self.random.choice((0, 0, 1, 1, 2, 8))
                event = NodeSaid(order_id, ok, done, text, detail, float(self.now + late_s))
                self._at(late_s, self._in_era((console, node), lambda event=event: self._heard(console, event)))

        return say

    def _heard(self, console: str, event: NodeSaid) -> None:
        if self.now >= self.down_until[console]:
            self._note(f"{console} hears {event.order_id} ok={event.ok} done={event.done} {event.text}")
            self._safely(console, lambda: self.consoles[console].hear(event, self.now))

    def _in_era(self, pair: tuple[str, str], act: Any) -> Any:
        """Done only while the connection is the one that it was said in."""
        era = self.era[pair]
        return lambda: act() if self.era[pair] == era and not self._is_cut(pair) else None

    def _at(self, later_s: int, act: Any) -> None:
        heapq.heappush(self._due, (self.now + later_s, next(self._numbers), act))

    def _deliver(self) -> None:
        while self._due and self._due[0][0] <= self.now:
            heapq.heappop(self._due)[2]()

    def _safely(self, name: str, act: Any) -> None:
        """A console that crashes is started again after a while."""
        try:
            act()
        except Crash:
            self._note(f"{name} crashes")
            console = self.consoles[name]
            console.forget()
            for node in NODES:
                self.era[name, node] += 1
                self.nodes[node].agent_died(name)
            self.down_until[name] = self.now + self.random.randint(1, 20)
            self._at(self.down_until[name] - self.now, lambda: console.recover(self.now))

    @staticmethod
    def _crash() -> None:
        raise Crash

    def _note(self, text: str) -> None:
        self.log.append(f"{self.now:4} {text}")

    def _judge(self) -> None:
        """After the quiet part: what each console believes is what its nodes know."""
        for console in self.consoles.values():
            for run in console.runs.values():
                if run.state not in ("DONE", "HELD", "FAILED"):
                    raise Broken(f"G5: {run.id} is {run.state} long after the last fault: {[(one.state, one.text) for one in run.steps]}")
                for one in run.steps:
                    self._judge_step(console, one)

    def _judge_step(self, console: Console, one: Any) -> None:
        taken = self.nodes[one.step.node].taken.get(one.order_id)
        done_at_node = taken is not None and taken.answer is not None and taken.answer[0]
        if one.state not in ENDED:
            raise Broken(f"G5: {one.order_id} has not ended: {one.state}")
        if one.state == "DONE" and not done_at_node and not one.cancel:
            raise Broken(f"G5: {one.order_id} is said to be done, its node does not know of it")
        if one.state in ("FAILED", "HELD", "SKIPPED") and done_at_node and not one.cancel:
            raise Broken(f"G5: {one.order_id} is said to be {one.state} ({one.text}), its node has done it")
        if one.state != "SKIPPED" and not any(row[0] == "receipt" and row[2] == one.order_id for row in console.audit if len(row) > 2):
            raise Broken(f"G6: {one.order_id} has ended without a receipt")


def _step(op: str, node: str, worker: str, after: tuple[int, ...] = (), **order: Any) -> Step:
    return Step(f"{op} {worker} on {node}", node, worker, {"op": op, "worker": worker, **order}, after)


def broken_at(seed: int) -> str:
    """"" when every promise held, else which did not and what had happened last."""
    trial = Trial(seed)
    try:
        trial.run()
    except AssertionError as error:
        return f"seed {seed}, second {trial.now}: {error}\n" + "\n".join(trial.log[-40:])
    return ""
