"""A modelled console: the production `advance`, a journal and an audit that outlive it, and a view of the fleet that is a little old."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np

from opsconsole.control.wire import run_in, run_out
from opsconsole.core import advance as production
from opsconsole.core.fleet import LIVE, STALE, STALE_AFTER_S, UNREACHABLE, Fleet, Model, NodeFacts, Policy, Rack, Site
from opsconsole.core.fleet import Worker as Seen
from opsconsole.core.run import ENDED, UNDER_WAY, Begun, NotSent, RouterSaid, Run, RunOrder, Ticked, Told
from opsconsole.core.steps import Plan, Step
from tests.telemetry import fleet_of
from tests.trial.nodes import Broken, Node

FLOOR = 2
LAUNCHES_AT_ONCE = 2
"""More would exceed the site's power budget below."""
NODES = ("n1", "n2", "n3")
RACKED, LAUNCHES_IN_RACK = ("n1", "n2"), 1
"""The nodes of the rack that has a budget; more launches there at once would exceed it."""
GPUS = 4
ROUTER_FAILS = 0.04
CRASHES = 0.01
"""How likely a console dies at each of the places where it may."""
PUE = 1.2
W_NOW, W_RISE = 400, 300
"""Of each GPU."""
BASE = fleet_of(
    nodes=NODES, models=(Model("m", min_ready=FLOOR),), policy=Policy(max_unavailable=3),
    sites=(Site("ams1", power_budget_kw=(GPUS * len(NODES) * W_NOW + (LAUNCHES_AT_ONCE + 0.5) * W_RISE) * PUE / 0.9 / 1000, pue=PUE),),
    racks=(Rack("r01", "ams1", (GPUS * len(RACKED) * W_NOW + (LAUNCHES_IN_RACK + 0.5) * W_RISE) / 0.9 / 1000),),
)
BASE = replace(BASE, roster=replace(BASE.roster, nodes=tuple(
    NodeFacts(name, "ams1", "r01" if name in RACKED else "r02", "H100") for name in NODES)))


class Crash(Exception):
    """The console's process ends here."""


class Console:
    """`send(console, node, order)` says whether the console believes that the order left. `journal` and `audit` are on disk."""

    def __init__(self, name: str, random: Random, nodes: dict[str, Node], send: Any) -> None:
        self.name, self.random, self.nodes, self.send = name, random, nodes, send
        self.journal: dict[str, dict] = {}
        self.audit: list[tuple[str, ...]] = []
        self.contents: dict[str, dict[str, Any]] = {}
        """Each order as it left first."""
        self.told_cancel: set[str] = set()
        """Runs that an operator has taken back."""
        self.numbers = 0
        self.may_crash = True
        self.forget()

    def forget(self) -> None:
        """What a process that ends takes with it."""
        self.runs: dict[str, Run] = {}
        self.seen: dict[str, list[Seen]] = {name: [] for name in NODES}
        self.is_linked = dict.fromkeys(NODES, False)
        self.sampled_at = dict.fromkeys(NODES, 0)

    def recover(self, now: int) -> None:
        for packed in self.journal.values():
            run = run_in(packed)
            if run.state == "OPEN":
                run, _ = production.advance(run, Told("let go", now))
                self.journal[run.id] = run_out(run)
            self.runs[run.id] = run

    def fleet(self, now: int) -> Fleet:
        return replace(
            BASE, at=float(now), mono=float(now), workers=tuple(worker for name in NODES for worker in self.seen[name]),
            reach=np.array([self._reach(name, now) for name in NODES], np.int8),
            sampled_mono=np.array([float(self.sampled_at[name]) for name in NODES]),
        )

    def _reach(self, name: str, now: int) -> int:
        if not self.is_linked[name]:
            return UNREACHABLE
        return STALE if now - self.sampled_at[name] > STALE_AFTER_S else LIVE

    def see(self, node: Node, now: int) -> None:
        self.sampled_at[node.name] = now
        self.seen[node.name] = [
            Seen(one.name, node.name, "m", "jax", one.gpus, 1, 1, one.state, running=one.in_flight, queue_depth=0,
                 generation=one.generation)
            for one in node.workers.values()
        ]

    def begin(self, steps: tuple[Step, ...], intent: Any, now: int) -> None:
        self.numbers += 1
        name = f"{self.name}r{self.numbers}"
        run = production.begin(Plan(intent, "trial", steps), name, [f"{name}s{number}" for number in range(len(steps))], float(now))
        self._may_crash()
        self.audit.append(("begin", name))
        self.journal[name] = run_out(run)
        self.runs[name] = run
        self.work(name, Begun(float(now)), now)

    def tell(self, name: str, word: str, now: int) -> None:
        if word == "cancel":
            self.told_cancel.add(name)
        self.work(name, Told(word, float(now)), now)

    def hear(self, event: Any, now: int) -> None:
        for name in list(self.runs):
            self.work(name, event, now)

    def tick(self, now: int) -> None:
        fleet = self.fleet(now)
        for name in list(self.runs):
            if self.runs[name].state == "OPEN":
                others = [run for run in self.runs.values() if run.id != name]
                self.work(name, Ticked(float(now), fleet, _steps(others, "OPEN"), _steps(others, "INTERRUPTED")), now)

    def work(self, name: str, event: Any, now: int) -> None:
        """As a real console: what the run has become is on disk before an order leaves, and each order's row too."""
        before = self.runs[name]
        run, orders = production.advance(before, event)
        if run is before:
            return
        self.runs[name] = run
        for was, one in zip(before.steps, run.steps, strict=True):
            if one.state in ENDED - {"SKIPPED"} and was.state not in ENDED:
                self.audit.append(("receipt", name, one.order_id))
        self._may_crash()
        self.journal[name] = run_out(run)
        self._may_crash()
        for order in orders:
            self._carry(run, order, now)

    def _carry(self, run: Run, order: RunOrder, now: int) -> None:
        if order.to == "router":
            is_out = self.random.random() >= ROUTER_FAILS
            if is_out:
                self.nodes[order.node].router.out.add(order.worker)
            self._may_crash()
            self.work(run.id, RouterSaid(order.order_id, is_out, "" if is_out else "it hangs", float(now)), now)
            return
        self.audit.append(("order", run.id, order.order_id))
        self._check(run, order, now)
        if not self.send(self.name, order.node, order.order):
            self.work(run.id, NotSent(order.order_id, "nothing was sent", float(now)), now)
        self._may_crash()

    def _may_crash(self) -> None:
        if self.may_crash and self.random.random() < CRASHES:
            raise Crash

    def _check(self, run: Run, order: RunOrder, now: int) -> None:
        """What must hold whenever an order leaves, said again in other words than the production code's."""
        kept = self.journal[run.id]
        own = order.order_id.removesuffix(production.CANCEL)
        number, step = next((number, one) for number, one in enumerate(kept["steps"]) if one["order_id"] == own)
        if ("begin", run.id) not in self.audit or self.audit[-1] != ("order", run.id, order.order_id) or step["state"] != "SENT":
            raise Broken(f"G6: {order.order_id} leaves and is not in audit and journal")
        if own != order.order_id and run.id not in self.told_cancel:
            raise Broken(f"G4: {order.order_id} leaves and nobody said so")
        first = self.contents.setdefault(order.order_id, order.order)
        if first != order.order:
            raise Broken(f"G5: {order.order_id} was {first}, is now {order.order}")
        if step["asked"] == 1 and own == order.order_id:
            self._check_first(run, number, now)

    def _check_first(self, run: Run, number: int, now: int) -> None:
        step = run.steps[number].step
        if any(run.steps[other].state != "DONE" for other in step.after):
            raise Broken(f"G3: {step.text} begins before what it depends on is done")
        mine = _steps(self.runs.values(), "OPEN", "INTERRUPTED")
        sees_all = all(self.is_linked.values())
        # a GPU rises once, also where two launches want it: its node refuses one of them
        rising = {(one.node, gpu) for one in mine if one.order["op"] == "launch" for gpu in one.order["gpus"]}
        if step.order["op"] == "launch" and sees_all:
            if len(rising) > LAUNCHES_AT_ONCE:
                raise Broken("G2: more launches at once than the power budget of the site takes")
            if step.node in RACKED and sum(node in RACKED for node, _ in rising) > LAUNCHES_IN_RACK:
                raise Broken("G2: more launches at once than the power budget of the rack takes")
        if step.order["op"] == "drain":
            leaving = {one.worker for one in mine if one.order["op"] == "drain"}
            ready = {one.name for seen in self.seen.values() for one in seen if one.state == "READY"}
            if step.worker in ready and len(ready - leaving) < min(FLOOR, len(ready)):
                raise Broken(f"G2: {step.text} leaves {len(ready - leaving)} of {len(ready)} ready, the floor is {FLOOR}")
            for launched in (run.steps[other].step for other in step.after if run.steps[other].step.order["op"] == "launch"):
                ready_at = self.nodes[launched.node].was_ready.get(launched.worker, -99)
                if now - ready_at > 5:
                    raise Broken(f"G3: {step.text} in exchange for {launched.worker}, which is not ready")


def _steps(runs: Iterable[Run], *states: str) -> tuple[Step, ...]:
    """What is, or may be, under way of the runs in such states."""
    return tuple(one.step for run in runs if run.state in states for one in run.steps if one.state in UNDER_WAY)
