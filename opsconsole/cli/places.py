"""The commands that concern nodes and sites: who gets new workers, and how much power GPUs may draw."""

from __future__ import annotations

import click

from opsconsole.cli.acting import act, acting, actor
from opsconsole.core.steps import Cap, Cordon, Uncordon
from opsconsole.core.text import clean


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="NODE...")
@acting
def cordon(settings, targets: tuple[str, ...], reason: str, **how: bool) -> int:
    """Let no new workers onto nodes; those that are there go on."""
    return act(settings, Cordon(targets, clean(reason), actor()), **how)


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="NODE...")
@acting
def uncordon(settings, targets: tuple[str, ...], reason: str, **how: bool) -> int:
    """Let new workers onto nodes again."""
    return act(settings, Uncordon(targets, clean(reason), actor()), **how)


@click.command()
@click.argument("target", metavar="NODE|SITE")
@click.option("--watts", type=click.FloatRange(min=0, min_open=True), metavar="W",
              help="Of each GPU of a node, or of all GPUs of a site together.")
@click.option("--restore", is_flag=True, help="Give back the limits from before the first cap.")
@acting
def cap(settings, target: str, watts: float | None, restore: bool, reason: str, **how: bool) -> int:
    """Limit the power of the GPUs of a node or a site."""
    if (watts is None) != restore:
        raise click.UsageError("say either --watts W or --restore")
    return act(settings, Cap(target, watts, clean(reason), actor()), **how)
