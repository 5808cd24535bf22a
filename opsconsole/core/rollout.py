"""The plan that replaces a model's workers by workers of another checkpoint: new beside old, one at a time.

A new worker takes a free place, and once it is ready the old one is drained; the GPUs that come free are the next one's place, so one
spare place is enough for any number of workers. Without any, the old one is drained first and its GPUs are taken, where the model's
minimum allows that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from opsconsole.core.drain import drain_step, migrate_refusal
from opsconsole.core.effects import changes_of
from opsconsole.core.fleet import Fleet, Model, Worker
from opsconsole.core.guards import engine_refusal, out_names, out_refusal, plan_refusal, with_floors
from opsconsole.core.launch import launch_step, new_names
from opsconsole.core.moments import chained
from opsconsole.core.place import Place, place
from opsconsole.core.power import power_refusal
from opsconsole.core.room import GONE, promised_by
from opsconsole.core.steps import Plan, Rollout, Step
from opsconsole.core.targets import busy, in_flight_text, model_meant, named, ready_names, unreachable

COMING = ("PENDING", "STARTING", "STOPPING")
"""States in which a worker is on its way and nothing can be asked of it."""


def plan_rollout(fleet: Fleet, intent: Rollout, under_way: Collection[Step]) -> Plan:
    title = f"rollout {intent.model} to {intent.to}"
    model, refusal = model_meant(fleet, intent.model)
    if model is None:
        return Plan(intent, title, refusal=refusal)
    if not intent.to.strip():
        return Plan(intent, title, refusal="a rollout needs the checkpoint to roll out: --to REVISION")
    if refusal := engine_refusal(fleet, model.name, model.engine):
        return Plan(intent, title, refusal=refusal)
    there = [worker for worker in fleet.workers_of_model.get(model.name, ()) if worker.state not in GONE]
    old = sorted((worker for worker in there if worker.checkpoint != intent.to), key=lambda worker: worker.state == "READY")
    if not old:
        why = f"all {len(there)} workers of {model.name} serve {intent.to} already" if there else f"{model.name} has no worker to replace"
        return Plan(intent, title, checks=(why,), warnings=_warnings(model, intent, ()))
    if found := busy(there, under_way):
        return Plan(intent, title, refusal=found, conflict=True)
    refusal = unreachable(fleet, old) or _unsettled(fleet, model, old) or _cannot_move(fleet, intent, old)
    if refusal:
        return Plan(intent, title, refusal=refusal)
    work = _Work(fleet, intent, replace(model, checkpoint=intent.to), under_way)
    refusal = next((refusal for worker in old if (refusal := work.exchange(worker))), "")
    steps = with_floors(fleet, chained(work.steps))
    refusal = refusal or plan_refusal(fleet, steps, under_way)
    if refusal:
        return Plan(intent, title, refusal=refusal)
    checks = [f"{worker.name} answers, {in_flight_text(worker)}" for worker in old]
    checks += [f"{worker.name} serves {intent.to} already and is left alone" for worker in there if worker.checkpoint == intent.to]
    return Plan(intent, title, steps, tuple(checks), _warnings(model, intent, old), changes_of(fleet, steps))


def _warnings(model: Model, intent: Rollout, old: Sequence[Worker]) -> tuple[str, ...]:
    warnings = []
    if model.checkpoint != intent.to:
        warnings.append(f"the fleet file still names {model.checkpoint or 'no checkpoint'} for {model.name}: "
                        f"workers launched later start with that until it says {intent.to}")
    unknown = [worker.name for worker in old if not worker.checkpoint]
    if unknown:
        warnings.append(f"what {named(unknown)} serve is not known: they are replaced too")
    return tuple(warnings)


def _unsettled(fleet: Fleet, model: Model, old: Sequence[Worker]) -> str:
    """Why a rollout must wait: workers on their way, or more of them out already than may be."""
    coming = [f"{worker.name} ({worker.state})" for worker in old if worker.state in COMING]
    if coming:
        return f"{named(coming)} of {model.name} are on their way: wait until they are ready or gone"
    first = next((worker for worker in old if worker.state == "READY"), None)
    mine = {worker.name for worker in old}
    return out_refusal(fleet, model.name, {first.name}, out_names(fleet, model.name) - mine) if first else ""


def _cannot_move(fleet: Fleet, intent: Rollout, old: Sequence[Worker]) -> str:
    if intent.on_deadline != "migrate":
        return ""
    nobody = "at the end no worker of the old checkpoint is left that could go on with requests; use hold, extend or abort"
    return next((refusal for worker in old if (refusal := migrate_refusal(fleet, worker))), "") or nobody


@dataclass
class _Work:
    """A rollout in the making."""

    fleet: Fleet
    intent: Rollout
    model: Model
    """With the new checkpoint."""
    under_way: Collection[Step]
    steps: list[Step] = field(default_factory=list)
    spare: list[Place] = field(default_factory=list)
    """Places that old workers have left."""
    replaced: int = 0

    def exchange(self, old: Worker) -> str:
        """Adds the two steps that replace one worker, or says why it cannot be done."""
        where = self._spare_place()
        if where is not None:
            steps = [self._launch(where), drain_step(old, self.intent)]
        elif refusal := self._in_place_refusal(old):
            return refusal
        else:
            own = Place(old.node, tuple(old.gpus))
            steps = [drain_step(old, self.intent), self._launch(own, ", in its place")]
        self.steps += steps
        self.replaced += 1
        if where is not None and self._may_take(old):
            self.spare.append(Place(old.node, tuple(old.gpus)))
        return ""

    def _spare_place(self) -> Place | None:
        for where in reversed(self.spare):
            if not power_refusal(self.fleet, (*self.under_way, *self.steps, self._launch(where))):
                return self._taken(where)
        promised = promised_by(self.fleet, [*self.under_way, *self.steps])
        leaving = {step.worker for step in self.steps if step.order["op"] == "drain"}
        found = place(self.fleet, self.model, 1, promised, leaving, meant=(*self.under_way, *self.steps))
        return self._taken(found[0]) if found else None

    def _taken(self, where: Place) -> Place:
        """The place, which is spare no more."""
        self.spare = [one for one in self.spare if one.node != where.node or not set(one.gpus) & set(where.gpus)]
        return where

    def _may_take(self, old: Worker) -> bool:
        """Whether a new worker could stand where an old one did: as many GPUs, none broken, none shared, no cordon."""
        row, rows = self.fleet.roster.node_row[old.node], self.fleet.roster.gpu_row
        whole = all((old.node, gpu) in rows and rows[old.node, gpu] not in self.fleet.gpu_errors for gpu in old.gpus)
        return row not in self.fleet.cordons and whole and len(old.gpus) == self.model.gpus

    def _in_place_refusal(self, old: Worker) -> str:
        ready = len(ready_names(self.fleet, self.model.name))
        left = ready - (old.state == "READY")
        need = f"{self.model.name} needs {self.model.gpus} free GPUs on one node to start beside {old.name}, and none has them"
        if not self._may_take(old):
            return f"{need}; those of {old.node} cannot be taken: cordoned, broken, or not {self.model.gpus}"
        if left < max(self.model.min_ready, 1):
            return (f"{need}; replacing it in place would leave {left} ready workers of {ready}, "
                    f"at least {max(self.model.min_ready, 1)} must stay")
        return ""

    def _launch(self, where: Place, why: str = "") -> Step:
        meant = {step.worker for step in (*self.under_way, *self.steps)}
        name = new_names(self.fleet, self.model.name, 1, meant)[0]
        return launch_step(self.model, name, where, f" with {self.intent.to}{why}")
