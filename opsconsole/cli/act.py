"""The commands that start and stop workers: each makes a plan, shows it in full, asks, and prints the receipt."""

from __future__ import annotations

import click

from opsconsole.cli.acting import act, acting
from opsconsole.cli.moments import Duration
from opsconsole.control.identity import actor
from opsconsole.core.steps import Drain, Launch, Rebalance, Rollout, Stop, Undrain
from opsconsole.core.text import clean

AT_DEADLINE = ("hold", "extend", "migrate", "abort")


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
@acting
def launch(settings, model: str, node: str, gpus: tuple[int, ...], count: int, reason: str, **how: bool) -> int:
    """Start workers of MODEL. Each is ready only after it has generated a token."""
    if gpus and not node:
        raise click.UsageError("--gpu needs --node: a GPU number means nothing without its node")
    return act(settings, Launch(model, node, gpus, count, clean(reason), actor()), **how)


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="WORKER|NODE...")
@click.option("--deadline", type=Duration(), default="10m", show_default=True, help="How long requests may take to finish.")
@click.option("--on-deadline", type=click.Choice(AT_DEADLINE), default="hold", show_default=True,
              help="Then keep waiting, give as much time again, let other workers go on with them, or stop anyway.")
@acting
def drain(settings, targets: tuple[str, ...], deadline: float, on_deadline: str, reason: str, **how: bool) -> int:
    """Take workers, or all workers of nodes, out: no new requests, what is in flight finishes, then they stop."""
    return act(settings, Drain(targets, deadline, on_deadline, clean(reason), actor()), **how)


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="WORKER|NODE...")
@acting
def undrain(settings, targets: tuple[str, ...], reason: str, **how: bool) -> int:
    """Let draining workers, or all of them on nodes, take requests again."""
    return act(settings, Undrain(targets, clean(reason), actor()), **how)


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="WORKER|NODE...")
@acting
def stop(settings, targets: tuple[str, ...], reason: str, **how: bool) -> int:
    """Stop workers that have nothing in flight: drained, failed or idle ones."""
    return act(settings, Stop(targets, clean(reason), actor()), **how)


@click.command()
@click.option("--model", default="", help="Only for this model; without it for all.")
@click.option("--objective", type=click.Choice(("queue", "power", "cost")), default="queue", show_default=True,
              help="Shorten what waits, fit under caps and budgets, or serve the same for less.")
@acting
def rebalance(settings, model: str, objective: str, reason: str, **how: bool) -> int:
    """Make the fewest moves of workers that help most."""
    return act(settings, Rebalance(model, objective, clean(reason), actor()), **how)


@click.command()
@click.argument("model")
@click.option("--to", required=True, metavar="REVISION", help="The checkpoint that the new workers serve.")
@click.option("--deadline", type=Duration(), default="10m", show_default=True, help="How long requests of an old worker may take.")
@click.option("--on-deadline", type=click.Choice(AT_DEADLINE), default="hold", show_default=True, help="As for drain.")
@acting
def rollout(settings, model: str, to: str, deadline: float, on_deadline: str, reason: str, **how: bool) -> int:
    """Replace the workers of MODEL by workers of another checkpoint, new beside old, one at a time."""
    return act(settings, Rollout(model, to, deadline, on_deadline, clean(reason), actor()), **how)
