"""The commands about plans under way and past: see them, go on with an interrupted one, or take it back."""

from __future__ import annotations

import time

import click

from opsconsole.cli.acting import actor, carried_out, confirm, follow, refused, show_plan
from opsconsole.cli.output import CommandError, Exit, print_data, print_json
from opsconsole.cli.session import open_session
from opsconsole.core.run import Run, StepRun
from opsconsole.core.steps import Progress, Undo
from opsconsole.core.text import clean
from opsconsole.core.wording import age_text, at_text

EXITS = {"DONE": Exit.DONE, "HELD": Exit.HELD}
"""How a command ends that has followed a run to such a state; FAILED for any other."""


@click.command()
@click.argument("run_id", default="", metavar="[ID]")
@click.option("--let-go", is_flag=True, help="Stop following this run: what nodes have begun goes on there, `resume` takes it up again.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def runs(settings, run_id: str, let_go: bool, as_json: bool) -> int:
    """Show plans under way and past, or every step of one."""
    if let_go and not run_id:
        raise click.UsageError("--let-go needs the ID of a run")
    if let_go and settings.read_only:
        raise CommandError("this is read-only (--read-only): no run may be let go of", Exit.REFUSED)
    with open_session(settings) as session:
        if let_go:
            session.tell(run_id, "let go", actor())
            list(session.watch(run_id))
        found = session.runs(run_id)
    if as_json:
        print_json({"runs": [run_json(run) for run in found]})
    else:
        print_data("\n".join(_one(found[0]) if run_id else _list(found)))
    return Exit.DONE


@click.command()
@click.argument("run_id", metavar="ID")
@click.option("--back", is_flag=True, help="Take it back: begin nothing more, then undo what was done, as a plan of its own.")
@click.option("--yes", is_flag=True, help="Undo without asking.")
@click.option("--plan", "only_plan", is_flag=True, help="With --back: print the plan that would undo it, and stop.")
@click.option("--reason", default="", help="With --back: why, for those who read it later.")
@click.option("--json", "as_json", is_flag=True, help="The run, or the receipt of the undo, as one JSON object.")
@click.pass_obj
def resume(settings, run_id: str, back: bool, yes: bool, only_plan: bool, reason: str, as_json: bool) -> int:
    """Go on with a run that its console let go of or did not outlive, or take it back."""
    if only_plan and not back:
        raise click.UsageError("--plan goes with --back: what a resumed run does is shown by `runs ID`")
    if reason and not back:
        raise click.UsageError("--reason goes with --back: a resumed run keeps the reason that it was begun with")
    if settings.read_only and not only_plan:
        raise CommandError("this is read-only (--read-only): no run may go on; --back --plan shows what would be undone", Exit.REFUSED)
    with open_session(settings) as session:
        return _back(session, run_id, clean(reason), yes, only_plan, as_json) if back else _resume(session, run_id, as_json)


def _resume(session, run_id: str, as_json: bool) -> int:
    session.tell(run_id, "resume", actor())
    run = _to_its_end(session, run_id)
    if as_json:
        print_json(run_json(run))
    else:
        print_data("\n".join(_one(run)))
    has_conflict = any(one.detail.get("conflict") for one in run.steps)
    return Exit.CONFLICT if has_conflict else EXITS.get(run.state, Exit.FAILED)


def _back(session, run_id: str, reason: str, yes: bool, only_plan: bool, as_json: bool) -> int:
    (run,) = session.runs(run_id)
    if not only_plan and run.state in ("OPEN", "INTERRUPTED"):
        session.tell(run_id, "cancel", actor())
        _to_its_end(session, run_id)
    session.first_fleet()  # a plan must not be made of what a collector that has just started does not know yet
    plan = session.plan(Undo(run.id, reason or f"takes back {run.plan.title}", actor()))
    show_plan(plan, as_json, as_data=only_plan or (as_json and (bool(plan.refusal) or not plan.steps)))
    if plan.refusal:
        return refused(plan)
    if only_plan or not plan.steps:
        return Exit.DONE
    if not yes:
        confirm(plan, session.first_fleet().roster.environment)
    return carried_out(session, plan, True, as_json)


def _to_its_end(session, run_id: str) -> Run:
    """Tells on stderr how the run goes; the run as it has become."""
    seen: list[Run] = []

    def progress():
        for news in session.watch(run_id):
            if isinstance(news, Progress):
                yield news
            else:
                seen.append(news)

    try:
        follow(progress(), len(session.runs(run_id)[0].steps))
    except KeyboardInterrupt:
        goes_on = f"the run goes on in the collector; watch it with: opsconsole runs {clean(run_id)}"
        raise CommandError(f"interrupted; {goes_on}", Exit.INTERRUPTED) from None
    return seen[-1]


def _list(found: list[Run]) -> list[str]:
    if not found:
        return ["no runs yet"]
    lines = [("ID", "STATE", "BEGAN", "STEPS", "TITLE")]
    for run in found:
        done = sum(one.state == "DONE" for one in run.steps)
        lines.append((run.id, run.state, at_text(run.began_at), f"{done}/{len(run.steps)}", run.plan.title))
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return [clean("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[4]]), 400) for line in lines]


def _one(run: Run) -> list[str]:
    intent = run.plan.intent
    lines = [f"run {run.id}  {run.state}  {run.plan.title}" + (f": {run.text}" if run.text else "")]
    lines.append(f"  began {at_text(run.began_at)} by {intent.actor or 'unknown'}" + (f": {intent.reason}" if intent.reason else ""))
    for number, one in enumerate(run.steps, 1):
        figures = [f"{name.replace('_', ' ')} {one.detail[name]}" for name in ("in_flight", "phase") if one.detail.get(name) is not None]
        figures += [age_text(_elapsed_s(one))] if one.began_at else []
        lines.append(f"  {number}. {one.state:8} {one.step.text}" + (f"  [{', '.join(figures)}]" if figures else ""))
        if one.text:
            lines.append(f"     {one.text}")
    if run.state == "INTERRUPTED":
        lines.append(f"  go on with: opsconsole resume {run.id}    take it back with: opsconsole resume {run.id} --back")
    return [clean(line, 400) for line in lines]


def _elapsed_s(one: StepRun) -> float | None:
    if one.began_at is None:
        return None
    return max((time.time() if one.ended_at is None else one.ended_at) - one.began_at, 0.0)


def run_json(run: Run) -> dict:
    """A run for scripts; elapsed_s of a step that goes on is up to now."""
    steps = [
        {
            "text": one.step.text, "node": one.step.node, "worker": one.step.worker, "state": one.state, "said": one.text,
            "detail": one.detail, "elapsed_s": _elapsed_s(one), "after": [number + 1 for number in one.step.after],
        }
        for one in run.steps
    ]
    return {
        "id": run.id, "title": run.plan.title, "state": run.state, "text": run.text, "actor": run.plan.intent.actor,
        "reason": run.plan.intent.reason, "began_at": at_text(run.began_at), "ended_at": at_text(run.ended_at) if run.ended_at else None,
        "steps_done": sum(one["state"] == "DONE" for one in steps), "steps_total": len(steps), "steps": steps,
    }
