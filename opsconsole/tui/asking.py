"""What a key on a screen asks for, as an intent: about what is marked there, else about what is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsconsole.core.steps import Cap, Cordon, Drain, Intent, Rebalance, Rollout, Stop, Uncordon, Undo, Undrain

if TYPE_CHECKING:
    from opsconsole.core.run import Run
    from opsconsole.tui.screens.view import View

_OUT = ("DRAINING", "DRAINED")


def targets(view: View) -> tuple[str, ...]:
    """Names of nodes or workers."""
    return tuple(sorted(view.app.sight.marked)) or tuple(filter(None, (view.chosen_name(),)))


def drain(view: View) -> None:
    if _mends(view, "drain"):
        return
    _ask(view, Drain(names) if (names := targets(view)) else None, "nothing is chosen to drain")


def stop(view: View) -> None:
    _ask(view, Stop(names) if (names := targets(view)) else None, "nothing is chosen to stop")


def launch(view: View) -> None:
    if _mends(view, "launch"):
        return
    node = view.chosen_name()
    model = view.app.sight.model if view.view_name == "workers" else ""
    view.app.open_palette(f"launch {model}", f" on {node}" if node and view.view_name in ("fleet", "node") else "")


def rebalance(view: View) -> None:
    if _mends(view, "rebalance"):
        return
    _ask(view, Rebalance(view.app.sight.model if view.view_name == "workers" else ""), "")


def rollout(view: View) -> None:
    """Of the chosen model; elsewhere than on the workers screen, of the first one that runs on the chosen node."""
    models = [worker.model for worker in view.frame.fleet.workers_of_node.get(view.app.sight.node, ())] if view.frame else []
    model = view.app.sight.model if view.view_name == "workers" or not models else models[0]
    _ask(view, Rollout(model, "") if model else None, "no model is chosen to roll out: choose one with 3 workers")


def cordon(view: View) -> None:
    """Cordon; or uncordon when all that is chosen is cordoned."""
    if _mends(view, "cordon"):
        return
    nodes = _nodes(view)
    rows = {view.frame.roster.node_row[name] for name in nodes} if view.frame else set()
    if nodes and rows <= view.frame.fleet.cordons.keys():
        _ask(view, Uncordon(nodes), "")
    else:
        _ask(view, Cordon(nodes) if nodes else None, "no node is chosen to cordon")


def cap(view: View) -> None:
    if _mends(view, "cap"):
        return
    nodes = _nodes(view)
    _ask(view, Cap(nodes[0], None) if len(nodes) == 1 else None, "a cap takes one node: choose it, or a site in its plan")


def undo(view: View) -> None:
    """Let what is chosen take requests again when it is draining; else take the last run back."""
    leaving = _draining(view, set(targets(view)))
    run = view.app.acting.last_run()
    if leaving:
        _ask(view, Undrain(leaving), "")
    elif run is None:
        view.app.say("no run is known to undo")
    else:
        take_back(view, run)


def take_back(view: View, run: Run) -> None:
    """Undo what a run has done; of one that is under way, let the workers that it drains take requests again."""
    leaving = _draining(view, {step.step.worker for step in run.steps}) if run.state == "OPEN" else ()
    if run.state == "OPEN" and not leaving:
        acting = view.app.acting
        view.app.say(f"{run.plan.title} is under way: {acting.key('cancel')} on the plans screen ({acting.key('plans')}) cancels it")
    else:
        _ask(view, Undrain(leaving) if leaving else Undo(run.id), "")


def _draining(view: View, names: set[str]) -> tuple[str, ...]:
    workers = view.frame.fleet.workers if view.frame else ()
    return tuple(sorted(worker.name for worker in workers if worker.state in _OUT and names & {worker.name, worker.node}))


def _nodes(view: View) -> tuple[str, ...]:
    """The nodes that are meant, those of chosen workers among them."""
    if view.frame is None:
        return ()
    node_of = {worker.name: worker.node for worker in view.frame.fleet.workers}
    found = (name if name in view.frame.roster.node_row else node_of.get(name, "") for name in targets(view))
    return tuple(sorted({name for name in found if name in view.frame.roster.node_row}))


def _mends(view: View, action: str) -> bool:
    """Whether the key does something about the alarm that is chosen; then its plan is asked for."""
    intent = view.mend_of(action)
    if intent is not None:
        view.app.acting.ask(intent)
    return intent is not None


def _ask(view: View, intent: Intent | None, otherwise: str) -> None:
    if intent is None:
        view.app.say(otherwise)
    else:
        view.app.acting.ask(intent)
