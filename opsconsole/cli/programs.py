"""The long-running programs under one roof: the collector here, the data plane's by handing the process over."""

from __future__ import annotations

import os
import sys

import click

from opsconsole.cli.extras import need_worker_extra
from opsconsole.cli.session import locate


@click.command()
@click.option("--until-idle", is_flag=True, help="End when no front is attached and no run is open (fronts start it so).")
@click.pass_obj
def collect(settings, until_idle: bool) -> int:
    """Watch the fleet and keep its history, without a screen; other commands attach to it."""
    config_path, state_dir = locate(settings)
    from opsconsole.control.collector import run_collector

    return run_collector(config_path, state_dir, until_idle)


class Program(click.Command):
    """A command that becomes `python -m opsconsole.NAME` with all its arguments, so that the process carries nothing of the console."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.args = list(args)  # untouched: they are that program's, --help and -- among them
        return []

    def invoke(self, ctx: click.Context) -> None:
        need_worker_extra(f"`{self.name}`")
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", f"opsconsole.{self.name}", *ctx.args])


worker = Program("worker", help="Run an inference worker (the data plane).")
gateway = Program("gateway", help="Run the gateway that holds the queue (the data plane).")
