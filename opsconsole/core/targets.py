"""Whom an order means: workers by their names or their nodes' names, and why nothing can be asked of them now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from opsconsole.core.fleet import LIVE, REACH_WORDS, Fleet, Model, Worker
from opsconsole.core.room import GONE
from opsconsole.core.steps import Step

NAMED_LIMIT = 5
"""More names than these are counted, not listed."""


def named(names: Sequence[str]) -> str:
    """Names as a sentence has them: all when they are few, else the first ones and how many more."""
    more = f" and {len(names) - NAMED_LIMIT} more" if len(names) > NAMED_LIMIT else ""
    return ", ".join(names[:NAMED_LIMIT]) + more


def workers_meant(fleet: Fleet, names: Sequence[str], gone_too: bool = False) -> tuple[list[Worker], str]:
    """The workers meant by worker and node names, each once; or why a name means nothing."""
    by_name = {worker.name: worker for worker in fleet.workers}
    found: dict[str, Worker] = {}
    for name in names:
        here = [by_name[name]] if name in by_name else list(fleet.workers_of_node.get(name, ()))
        here = [worker for worker in here if gone_too or worker.state not in GONE]
        if not here and name not in fleet.roster.node_row and name not in by_name:
            return [], f"there is no worker and no node {name!r}"
        if not here:
            return [], f"{name} has no worker to drain" if not gone_too else f"{name} has no worker"
        found.update((worker.name, worker) for worker in here)
    return list(found.values()), ""


def nodes_meant(fleet: Fleet, names: Sequence[str]) -> tuple[list[int], str]:
    """Rows of the nodes of these names, each once; or why a name means nothing."""
    rows = {name: fleet.roster.node_row.get(name) for name in names}
    missing = [name for name, row in rows.items() if row is None]
    if missing:
        return [], f"there is no node {missing[0]!r} in the fleet file"
    return [row for row in rows.values() if row is not None], "" if rows else "no node is named"


def model_meant(fleet: Fleet, name: str) -> tuple[Model | None, str]:
    """The model of this name, or why there is none."""
    model = next((model for model in fleet.roster.models if model.name == name), None)
    known = named([model.name for model in fleet.roster.models]) or "none"
    return model, "" if model else f"there is no model {name!r} in the fleet file; known: {known}"


def silent_refusal(fleet: Fleet, row: int) -> str:
    """Why nothing can be asked of a node now; "" when it can."""
    if fleet.reach[row] == LIVE:
        return ""
    return f"{fleet.roster.nodes[row].name} is {REACH_WORDS[fleet.reach[row]]}: {fleet.cause[row] or 'nothing is known of it yet'}"


def unreachable(fleet: Fleet, workers: Iterable[Worker]) -> str:
    """Why it cannot be known what these workers hold; "" when it can."""
    for worker in workers:
        row = fleet.roster.node_row.get(worker.node)
        if row is None:
            return f"{worker.node}, where {worker.name} is, is not in the fleet file"
        if fleet.reach[row] != LIVE:
            return f"{worker.node} is {REACH_WORDS[fleet.reach[row]]}, so what {worker.name} has in flight is unknown"
    return ""


def busy(workers: Iterable[Worker], under_way: Collection[Step]) -> str:
    """Why another run keeps these workers from being ordered about; "" when none does."""
    names = {step.worker for step in under_way if step.worker}
    return next((f"another run is at work on {worker.name}" for worker in workers if worker.name in names), "")


def ready_names(fleet: Fleet, model: str) -> list[str]:
    """Workers of a model that are surely ready: what a silent node last told may be over, and no minimum may lean on it."""
    return [worker.name for worker in fleet.heard_workers_of_model.get(model, ()) if worker.state == "READY"]


def in_flight_text(worker: Worker) -> str:
    return "in flight unknown" if worker.in_flight is None else f"{worker.in_flight:.0f} in flight"


def gpus_text(gpus: Iterable[int]) -> str:
    return ",".join(str(gpu) for gpu in gpus)
