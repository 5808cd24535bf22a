"""The one path of every command that changes something: the plan shown in full, the yes, the progress, the receipt, the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import click

from opsconsole.cli.output import CommandError, Exit, narrate, print_data, print_json
from opsconsole.cli.plans import is_held, plan_json, plan_lines, progress_line, receipt_json, receipt_lines
from opsconsole.cli.session import open_session
from opsconsole.core.confirmation import phrase_for, stops_serving
from opsconsole.core.steps import Intent, Plan, Progress
from opsconsole.core.wording import at_text


def acting(command: Callable) -> Callable:
    """Gives a command the options that all of these share."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="The plan, or the receipt, as one JSON object."),
        click.option("--wait/--no-wait", default=True, help="Wait for the end (default), or return once it is under way."),
        click.option("--reason", default="", help="Why, for those who read it later."),
        click.option("--yes", is_flag=True, help="Do it without asking."),
        click.option("--plan", "only_plan", is_flag=True, help="Print the plan and stop."),
    ):
        command = option(command)
    return click.pass_obj(command)


def actor() -> str:
    """Who runs this command, for the plan and the audit."""
    from opsconsole.control.identity import actor  # here, because --help needs nobody

    return actor()


def act(settings, intent: Intent, only_plan: bool, yes: bool, wait: bool, as_json: bool) -> int:
    """Plans an intent and, once it is confirmed, carries it out; the exit code. Raises CommandError."""
    if settings.read_only and not only_plan:
        raise CommandError("this is read-only (--read-only): nothing may be changed; --plan shows what would be done", Exit.REFUSED)
    with open_session(settings) as session:
        environment = session.first_fleet().roster.environment
        plan = session.plan(intent)
        nothing = bool(plan.refusal) or not plan.steps
        show_plan(plan, as_json, as_data=only_plan or (as_json and nothing))
        if plan.refusal:
            return refused(plan)
        if only_plan or not plan.steps:
            return Exit.DONE
        if not yes:
            confirm(plan, environment)
        return carried_out(session, plan, wait, as_json)


def refused(plan: Plan) -> Exit:
    """Says why, and how a command ends with it."""
    narrate(f"refused: {plan.refusal}")
    return Exit.CONFLICT if plan.conflict else Exit.REFUSED


def show_plan(plan: Plan, as_json: bool, as_data: bool) -> None:
    """A plan is data where it is what was asked for; before an action it is narration."""
    if as_data and as_json:
        print_json({"plan": plan_json(plan)})
    elif as_data:
        print_data("\n".join(plan_lines(plan)))
    else:
        print("\n".join(plan_lines(plan)), file=sys.stderr, flush=True)


def confirm(plan: Plan, environment: str) -> None:
    """Returns when the person says yes. Raises CommandError else."""
    if not sys.stdin.isatty():
        raise CommandError("there is nobody to ask (stdin is no terminal): say --yes to do it, or --plan to see it only", Exit.USAGE)
    if environment == "production" and stops_serving(plan):
        name = phrase_for(plan)
        typed = click.prompt(f"This stops serving in production. Type {name} to do it", default="", show_default=False, err=True)
        agreed = typed.strip() == name
    else:
        agreed = click.confirm("Do it?", err=True)
    if not agreed:
        raise CommandError("not confirmed, nothing was done", Exit.FAILED)


def carried_out(session, plan: Plan, wait: bool, as_json: bool) -> int:
    """Carries out a plan that was said yes to; how the command ends."""
    said = session.act(plan)
    confirmed = next(said)
    if confirmed.refusal:
        return refused(confirmed)
    narrate(f"run {confirmed.run}")
    goes_on = f"what was confirmed goes on in the collector; watch it with: opsconsole runs {confirmed.run}"
    if not wait:
        narrate(goes_on)
        _print_receipt(confirmed, [], as_json)
        return Exit.DONE
    try:
        receipts = follow(said, len(confirmed.steps))
    except KeyboardInterrupt:
        narrate(f"interrupted; {goes_on}")
        return Exit.INTERRUPTED
    _print_receipt(confirmed, receipts, as_json)
    return _exit_of(receipts, len(confirmed.steps))


def follow(said: Iterator[Progress], steps: int) -> list[Progress]:
    """Tells every step's progress on stderr; the last word on each, in the order of the steps."""
    last: dict[int, Progress] = {}
    told = ""
    for progress in said:
        last[progress.step] = progress
        line = progress_line(progress, steps)
        if line != told:
            print(line, file=sys.stderr, flush=True)
        told = line
    return [last[step] for step in sorted(last)]


def _print_receipt(plan: Plan, receipts: list[Progress], as_json: bool) -> None:
    if as_json:
        from time import time

        receipt = [receipt_json(progress) for progress in receipts]
        print_json({"at": at_text(time()), "run": plan.run or None, "plan": plan_json(plan), "receipts": receipt})
    elif receipts:
        print_data("\n".join(receipt_lines(receipts, len(plan.steps))))


def _exit_of(receipts: list[Progress], steps: int) -> int:
    if any(progress.detail.get("conflict") for progress in receipts):
        return Exit.CONFLICT
    if len(receipts) < steps or any(not progress.done or not (progress.ok or is_held(progress)) for progress in receipts):
        return Exit.FAILED
    return Exit.HELD if any(is_held(progress) for progress in receipts) else Exit.DONE
