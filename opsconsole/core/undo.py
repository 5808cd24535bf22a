"""Takes back what a run has done, as a fresh plan: each done step's opposite, the last one first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from opsconsole.core.drain import drain_step, undrain_step
from opsconsole.core.effects import changes_of
from opsconsole.core.fleet import Fleet, Model, Worker
from opsconsole.core.guards import LEAVING, cordon_text, engine_refusal, out_refusal, plan_refusal, with_floors
from opsconsole.core.launch import launch_step, new_names
from opsconsole.core.moments import chained
from opsconsole.core.nodes import cap_step, cordon_step, uncordon_step
from opsconsole.core.place import Place
from opsconsole.core.room import GONE, free_gpus, promised_by, room_of_gpus
from opsconsole.core.steps import Drain, Plan, Step, Undo
from opsconsole.core.targets import busy, gpus_text, silent_refusal


def make_undo(fleet: Fleet, undo: Undo, title: str, done_steps: Sequence[Step], under_way: Collection[Step] = ()) -> Plan:
    """The plan that takes back the steps which a run has done (its held drains among them). title: of the run's plan."""
    work = _Work(fleet, undo, under_way)
    told = f"undo: {title}"
    for step in reversed(done_steps):
        refusal, conflict = work.take_back(step)
        if refusal:
            return Plan(undo, told, refusal=refusal, conflict=conflict)
    steps = with_floors(fleet, chained(work.steps))
    if not steps:
        nothing = "there is nothing to take back: the run has changed nothing that is still so"
        return Plan(undo, told, checks=(nothing, *work.checks))
    if refusal := plan_refusal(fleet, steps, under_way):
        return Plan(undo, told, refusal=refusal)
    return Plan(undo, told, steps, tuple(work.checks), tuple(work.warnings), changes_of(fleet, steps))


@dataclass
class _Work:
    """An undo in the making."""

    fleet: Fleet
    undo: Undo
    under_way: Collection[Step]
    steps: list[Step] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def take_back(self, step: Step) -> tuple[str, bool]:
        """Adds the opposite of one step, or says why that cannot be: (refusal, whether somebody else is at it)."""
        row = self.fleet.roster.node_row.get(step.node)
        if row is None:
            return f"{step.node} is no longer in the fleet file", False
        worker = next((worker for worker in self.fleet.workers if step.worker and worker.name == step.worker), None)
        if worker is not None and (found := busy([worker], self.under_way)):
            return found, True
        back = _BACK.get(step.order.get("op", ""))
        refusal = silent_refusal(self.fleet, row)
        return refusal or (back(self, row, step, worker) if back else f"{step.text!r} cannot be taken back"), False

    def _launched(self, row: int, step: Step, worker: Worker | None) -> str:
        """What was launched is drained."""
        if worker is None or worker.state in GONE:
            self.checks.append(f"{step.worker} is gone already")
            return ""
        taken = {other.worker for other in self.steps if other.order["op"] in LEAVING}
        refusal = out_refusal(self.fleet, worker.model, {worker.name}) if not taken else ""
        self.steps.append(drain_step(worker, Drain((worker.name,), reason=self.undo.reason)))
        return refusal

    def _left(self, row: int, step: Step, worker: Worker | None) -> str:
        """What was drained is let in again where it is still there, else launched as it was."""
        if worker is not None and worker.state in ("DRAINING", "DRAINED"):
            self.steps.append(undrain_step(worker))
            return ""
        if worker is not None and worker.state not in GONE:
            self.checks.append(f"{worker.name} is {worker.state} again")
            return ""
        was = step.order.get("was") or {}
        if was.get("state") == "FAILED":
            self.checks.append(f"{step.worker} had failed before it was stopped")
            return ""
        model = next((model for model in self.fleet.roster.models if model.name == (was.get("model") or (worker and worker.model))), None)
        gpus = tuple(was.get("gpus") or (worker.gpus if worker else ()))
        if model is None or not gpus:
            return f"it is not known any more what {step.worker} was: launch a worker in its place"
        checkpoint = was.get("checkpoint") or (worker.checkpoint if worker else "") or model.checkpoint
        return self._launch_again(row, step, replace(model, checkpoint=checkpoint), gpus)

    def _launch_again(self, row: int, step: Step, model: Model, gpus: tuple[int, ...]) -> str:
        if row in self.fleet.cordons:
            return cordon_text(self.fleet, row)
        if refusal := engine_refusal(self.fleet, model.name, model.engine):
            return refusal
        leaving = {other.worker for other in self.steps if other.order["op"] in LEAVING}
        room = room_of_gpus(self.fleet, promised_by(self.fleet, [*self.under_way, *self.steps]), leaving)
        free = free_gpus(self.fleet, row, room, model.gpu_share)
        if not set(gpus) <= set(free):
            return f"{step.worker} was on GPU {gpus_text(gpus)} of {step.node}; free there now: {gpus_text(free) or 'none'}"
        meant = {other.worker for other in (*self.under_way, *self.steps)}
        name = new_names(self.fleet, model.name, 1, meant)[0]
        self.steps.append(launch_step(model, name, Place(step.node, gpus), f", as {step.worker} was"))
        return ""

    def _let_in(self, row: int, step: Step, worker: Worker | None) -> str:
        """What was let in again is drained again."""
        if worker is None or worker.state != "READY":
            self.checks.append(f"{step.worker} does not serve")
            return ""
        self.steps.append(drain_step(worker, Drain((worker.name,))))
        return out_refusal(self.fleet, worker.model, {worker.name})

    def _cordoned(self, row: int, step: Step, worker: Worker | None) -> str:
        if row in self.fleet.cordons:
            self.steps.append(uncordon_step(self.fleet, row))
        else:
            self.checks.append(f"{step.node} is not cordoned")
        return ""

    def _uncordoned(self, row: int, step: Step, worker: Worker | None) -> str:
        if row in self.fleet.cordons:
            self.checks.append(f"{step.node} is cordoned again")
        else:
            self.steps.append(cordon_step(self.fleet, row, self.undo.reason or (step.order.get("was") or {}).get("reason", "")))
        return ""

    def _capped(self, row: int, step: Step, worker: Worker | None) -> str:
        """A limit is lifted; one that was lifted is set again as it was."""
        before = (step.order.get("was") or {}).get("watts")
        if step.order.get("watts") is None and before is None:
            return f"the limits that {step.node} had before are not known: set them with opsconsole cap {step.node} --watts W"
        self.steps.append(cap_step(self.fleet, row, step.order["gpus"], before if step.order.get("watts") is None else None))
        return ""


_BACK = {
    "launch": _Work._launched, "drain": _Work._left, "stop": _Work._left, "undrain": _Work._let_in,
    "cordon": _Work._cordoned, "uncordon": _Work._uncordoned, "cap": _Work._capped,
}
