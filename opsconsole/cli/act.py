"""The commands that change something: each makes a plan, shows it in full, asks, and prints the receipt."""

from __future__ import annotations

from collections.abc import Callable

import click

from opsconsole.cli.acting import actor, carried_out, confirm, refused, show_plan
from opsconsole.cli.moments import Duration
from opsconsole.cli.output import CommandError, Exit
from opsconsole.cli.session import open_session
from opsconsole.core.steps import Drain, Intent, Launch, Undrain
from opsconsole.core.text import clean


def _acting(command: Callable) -> Callable:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="The plan, or the receipt, as one JSON object."),
        click.option("--wait/--no-wait", default=True, help="Wait for the end (default), or return once it is under way."),
        click.option("--reason", default="", help="Why, for those who read it later."),
        click.option("--yes", is_flag=True, help="Do it without asking."),
        click.option("--plan", "only_plan", is_flag=True, help="Print the plan and stop."),
    ):
        command = option(command)
    return click.pass_obj(command)


def _gpus(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    try:
        gpus = tuple(int(part) for part in value.split(",")) if value else ()
    except ValueError:
        raise click.BadParameter(f"{value!r} are no GPU numbers; write 0 or 0,1", ctx, param) from None
    if len(set(gpus)) < len(gpus) or any(gpu < 0 for gpu in gpus):
        raise click.BadParameter(f"{value!r}: each GPU once, counted from 0", ctx, param)
    return gpus


@click.command()
@click.argument("model")
@click.option("--node", default="", help="On this node; without it the fleet finds the place.")
@click.option("--gpu", "gpus", callback=_gpus, metavar="I,J", help="On these GPUs of the node.")
@click.option("--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many workers.")
@_acting
def launch(settings, model: str, node: str, gpus: tuple[int, ...], count: int, reason: str, **how: bool) -> int:
    """Start workers of MODEL. Each is ready only after it has generated a token."""
    if gpus and not node:
        raise click.UsageError("--gpu needs --node: a GPU number means nothing without its node")
    return _act(settings, Launch(model, node, gpus, count, clean(reason), actor()), **how)


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="WORKER|NODE...")
@click.option("--deadline", type=Duration(), default="10m", show_default=True, help="How long requests may take to finish.")
@click.option("--on-deadline", type=click.Choice(("hold", "migrate", "abort")), default="hold",
              show_default=True, help="Then keep waiting, let other workers go on with them, or stop anyway.")
@_acting
def drain(settings, targets: tuple[str, ...], deadline: float, on_deadline: str, reason: str, **how: bool) -> int:
    """Take workers, or all workers of nodes, out: no new requests, what is in flight finishes, then they stop."""
    return _act(settings, Drain(targets, deadline, on_deadline, clean(reason), actor()), **how)


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="WORKER|NODE...")
@_acting
def undrain(settings, targets: tuple[str, ...], reason: str, **how: bool) -> int:
    """Let draining workers, or all of them on nodes, take requests again."""
    return _act(settings, Undrain(targets, clean(reason), actor()), **how)


def _act(settings, intent: Intent, only_plan: bool, yes: bool, wait: bool, as_json: bool) -> int:
    if settings.read_only and not only_plan:
        raise CommandError("this is read-only (--read-only): nothing may be changed; --plan shows what would be done", Exit.REFUSED)
    with open_session(settings) as session:
        environment = session.first_fleet().roster.environment
        plan = session.plan(intent)
        show_plan(plan, as_json, as_data=only_plan or (as_json and bool(plan.refusal)))
        if plan.refusal:
            return refused(plan)
        if only_plan:
            return Exit.DONE
        if not yes:
            confirm(plan, environment)
        return carried_out(session, plan, wait, as_json)
