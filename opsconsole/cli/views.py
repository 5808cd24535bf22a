"""The commands that show the fleet, as typed: what they need to show it is imported when they run, not for their help."""

from __future__ import annotations

import click


def _command(name: str, text: str, is_of_a_site: bool = True) -> click.Command:
    @click.command(name, help=text)
    @click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
    @click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C.")
    @click.option("--filter", "expression", default="", help="Only what matches, as in: site:ams1 util>90 !drained")
    @click.option("--at", metavar="TIME", help="As it was then: 03:12, 20m (ago; with --file before its end) or an ISO time.")
    @click.option("--file", type=click.Path(), help="From this history, as `incident save` writes one; its end, without --at.")
    @click.pass_obj
    def command(settings, as_json: bool, watch: bool, expression: str, at: str | None, file: str | None, site: str | None = None) -> int:
        from opsconsole.cli.show import show

        if watch and (at is not None or file is not None):
            raise click.UsageError("--watch follows the fleet as it is, --at and --file show one past second: choose one")
        return show(settings, name, expression, site, as_json, watch, past=(at, file) if at is not None or file is not None else None)

    return click.option("--site", help="Only this site.")(command) if is_of_a_site else command


status = _command("status", "The fleet in a few lines, with its alarms.")
nodes = _command("nodes", "Nodes, worst first.")
gpus = _command("gpus", "GPUs, those of the worst nodes first.")
workers = _command("workers", "Workers, those in trouble first.")
models = _command("models", "Models with their ready workers, queue and objective.", is_of_a_site=False)
sites = _command("sites", "Sites with their power and its budget.")
