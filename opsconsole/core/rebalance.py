"""The plan of a rebalance: the fewest moves that help most become single ordered steps, each with its reason.

A worker starts before another leaves wherever GPUs and power allow both at once, else the one that leaves goes first; every step waits
for the one before, so that the first guard that fails stops the rest.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from opsconsole.core.drain import drain_step
from opsconsole.core.effects import changes_of
from opsconsole.core.fleet import Fleet, Worker
from opsconsole.core.guards import plan_refusal, with_floors
from opsconsole.core.launch import launch_step, new_names
from opsconsole.core.moments import chained
from opsconsole.core.moves import Counts, best_counts
from opsconsole.core.place import Place, place
from opsconsole.core.room import promised_by
from opsconsole.core.situation import HELPS_S, Class, Situation
from opsconsole.core.steps import Drain, Plan, Rebalance, Step
from opsconsole.core.targets import model_meant, named
from opsconsole.core.wording import number_text, power_text

OBJECTIVES = ("queue", "power", "cost")


def plan_rebalance(fleet: Fleet, intent: Rebalance, under_way: Collection[Step]) -> Plan:
    title = f"rebalance {intent.model or 'all models'} for {intent.objective}"
    if intent.objective not in OBJECTIVES:
        return Plan(intent, title, refusal=f"there is no objective {intent.objective!r}; known: {', '.join(OBJECTIVES)}")
    if intent.model:
        model, refusal = model_meant(fleet, intent.model)
        if model is None:
            return Plan(intent, title, refusal=refusal)
    situation = Situation(fleet, promised_by(fleet, under_way), under_way, intent.objective, intent.model)
    work = _Work(situation, under_way, best_counts(situation))
    work.settle()
    steps = work.ordered()
    if not steps:
        return Plan(intent, title, checks=(_why_nothing(situation),))
    return Plan(intent, title, steps, tuple(work.reasons(steps)), changes=changes_of(fleet, steps, situation.speeds))


def _why_nothing(situation: Situation) -> str:
    """Why no move helps, with the numbers."""
    short, over = situation.short(), situation.over_w()
    if situation.objective == "power":
        if not over:
            return "no site and no rack draws more than its budget less the headroom: nothing needs to move"
        told = ", ".join(f"{site} by {power_text(watts)}" for site, watts in sorted(over.items()))
        return f"above budget: {told}; but no worker can leave there without going below a minimum or below what its model is asked for"
    if situation.objective == "cost":
        if not any(map(situation.price, situation.classes)):
            return "no site has a price list (price_per_gpu_hour): what would be cheaper is not known"
        return "no move makes the same service cheaper"
    if not situation.fleet.answering.any():
        return "no node answers: what waits and what is served is not known"
    if not short:
        return f"no model has requests that wait {HELPS_S:.0f} s or longer and lacks workers: nothing needs to move"
    free = int((situation.room >= 1.0 - 1e-6).sum())
    told = named([f"{number_text(situation.loads[model].waiting)} requests of {model} wait" for model in sorted(short)])
    where = f"none of the {free} free GPUs fits with the power and the model" if free else "no GPU is free"
    return f"{told}; but {where}, and no other model can spare a worker"


@dataclass
class _Work:
    """A rebalance in the making: counts of moves become workers and places."""

    situation: Situation
    under_way: Collection[Step]
    counts: Counts
    launches: list[tuple[Step, list[str]]] = field(default_factory=list)
    """Each with the names of the workers that must have left before."""
    leaving: dict[str, Worker] = field(default_factory=dict)
    """All that leave, in order."""

    def settle(self) -> None:
        """Finds a place for each start, and those who leave for it; the largest first, because they fit in fewer places."""
        models = self.situation.models
        left = {key: list(self.situation.givers[key[0]][key[1]]) for key in self.counts.leaves}
        quota = dict(self.counts.leaves)
        for model, cls in sorted(self.counts.starts, key=lambda key: (-models[key[0]].gpus, key)):
            for _ in range(self.counts.starts[model, cls]):
                self._start(model, cls, left, quota)
        if self.situation.objective != "queue":
            for key in sorted(quota):
                for worker in [worker for worker in left[key] if worker.name not in self.leaving][: quota[key]]:
                    self.leaving[worker.name] = worker

    def _start(self, model: str, cls: Class, left: dict, quota: dict) -> None:
        nodes = [row for row, own in enumerate(self.situation.class_of) if own == cls]
        where = self._place(model, nodes, self.leaving)
        needed: list[str] = []
        if where is not None:
            needed = self._freed_by(where)
        elif found := self._with_givers(model, nodes, cls, left, quota):
            where, givers = found
            needed = [*self._freed_by(where), *(worker.name for worker in givers)]
            for worker in givers:
                self.leaving[worker.name] = worker
                quota[worker.model, cls] -= 1
        if where is not None:
            meant = {step.worker for step in (*self.under_way, *(step for step, _ in self.launches))}
            name = new_names(self.situation.fleet, model, 1, meant)[0]
            self.launches.append((launch_step(self.situation.models[model], name, where), list(dict.fromkeys(needed))))

    def _place(self, model: str, nodes: list[int], leaving: Collection[str]) -> Place | None:
        promised = {**self.situation.promised}
        for step, _ in self.launches:
            for gpu in step.order["gpus"]:
                promised[step.node, gpu] = promised.get((step.node, gpu), 0.0) + step.order.get("gpu_share", 1.0)
        known = self.situation.models[model]
        meant = (*self.under_way, *(step for step, _ in self.launches))
        found = place(self.situation.fleet, known, 1, promised, leaving, self.situation.speeds, meant, only=nodes)
        return found[0] if found else None

    def _freed_by(self, where: Place) -> list[str]:
        """Those among the leaving who hold GPUs of a place now."""
        return [worker.name for worker in self.leaving.values() if worker.node == where.node and set(worker.gpus) & set(where.gpus)]

    def _with_givers(self, model: str, nodes: list[int], cls: Class, left: dict, quota: dict) -> tuple[Place, list[Worker]] | None:
        """A place that comes free when as few workers as possible of one node leave, and these."""
        here: dict[str, list[Worker]] = {}
        for key, workers in left.items():
            if key[1] == cls and quota[key] > 0:
                for worker in workers:
                    if worker.name not in self.leaving:
                        here.setdefault(worker.node, []).append(worker)
        best: tuple[Place, list[Worker]] | None = None
        rows = self.situation.fleet.roster.node_row
        for node in sorted(here, key=lambda node: rows[node]):
            givers: list[Worker] = []
            spent = dict(quota)
            for worker in here[node]:
                if spent[worker.model, cls] <= 0 or (best and len(givers) + 1 >= len(best[1])):
                    continue
                spent[worker.model, cls] -= 1
                givers.append(worker)
                where = self._place(model, [rows[node]], {*self.leaving, *(giver.name for giver in givers)})
                if where is not None:
                    best = where, [giver for giver in givers if set(giver.gpus) & set(where.gpus)] or givers
                    break
            if best and len(best[1]) == 1:
                break
        return best

    def ordered(self) -> tuple[Step, ...]:
        """Starts that wait for nobody first, then those that must be made room for, then those who just leave; what a guard forbids is
        left out with what depends on it."""
        steps: list[Step] = []
        gone: set[str] = set()
        for step, needed in sorted(self.launches, key=lambda move: len(move[1])):
            before = [self._leave(name) for name in needed if name not in gone]
            if self._holds([*steps, *before, step]):
                steps += [*before, step]
                gone.update(needed)
        needed_by_any = {name for _, needed in self.launches for name in needed}
        for name in self.leaving:
            if name not in gone and name not in needed_by_any and self._holds([*steps, self._leave(name)]):
                steps.append(self._leave(name))
        return with_floors(self.situation.fleet, chained(steps))

    def _leave(self, name: str) -> Step:
        return drain_step(self.leaving[name], Drain((name,)))

    def _holds(self, steps: list[Step]) -> bool:
        return not plan_refusal(self.situation.fleet, chained(steps), self.under_way)

    def reasons(self, steps: Collection[Step]) -> list[str]:
        """Why each move, with its numbers."""
        return [self._reason(number, step) for number, step in enumerate(steps, 1)]

    def _reason(self, number: int, step: Step) -> str:
        model = step.order["model"] if step.order["op"] == "launch" else self.leaving[step.worker].model
        load = self.situation.loads[model]
        figures = (f"asked for {number_text(load.demand_tokens_per_s)} tokens/s, its {len(load.ready)} ready workers give "
                   f"{number_text(load.capacity_tokens_per_s)}")
        if step.order["op"] == "launch":
            waits = f"{number_text(load.waiting)} requests of {model} wait" if load.waiting else f"{model} keeps what it is asked for"
            return f"{number}: {waits}; {figures}"
        row = self.situation.fleet.roster.node_row[step.node]
        price = self.situation.price(self.situation.class_of[row]) * len(self.leaving[step.worker].gpus)
        where = self._hot_feed(row)
        why = {"queue": "can spare one", "cost": f"saves {price:.2f} $/h there", "power": f"draws less at {where}"}
        return f"{number}: {model} {why[self.situation.objective]}; {figures}"

    def _hot_feed(self, row: int) -> str:
        """The feed of a node that gives furthest beyond its budget, else its site."""
        over, cls = self.situation.over_w(), self.situation.class_of[row]
        return max((name for name in cls.feeds if name in over), key=over.__getitem__, default=cls.site)
