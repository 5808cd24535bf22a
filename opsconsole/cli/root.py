"""The command line's entrance: one line of help a command, and each command imported only when it is called."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple

import click

from opsconsole import __version__
from opsconsole.cli.output import CommandError, Exit, narrate, plain_streams

COMMANDS = {
    "status": ("opsconsole.cli.views", "The fleet in a few lines, with its alarms."),
    "nodes": ("opsconsole.cli.views", "Nodes, worst first."),
    "gpus": ("opsconsole.cli.views", "GPUs, those of the worst nodes first."),
    "workers": ("opsconsole.cli.views", "Workers, those in trouble first."),
    "models": ("opsconsole.cli.views", "Models with their ready workers, queue and objective."),
    "sites": ("opsconsole.cli.views", "Sites with their power and its budget."),
    "capacity": ("opsconsole.cli.capacity", "What is left, when it ends, what it costs; --what-if and a day's target."),
    "alarms": ("opsconsole.cli.alarms", "What deserves a person; ack, silence, note, and test the rules on the past."),
    "launch": ("opsconsole.cli.act", "Start workers of a model."),
    "drain": ("opsconsole.cli.act", "Take workers out without losing a request, then stop them."),
    "undrain": ("opsconsole.cli.act", "Let draining workers take requests again."),
    "stop": ("opsconsole.cli.act", "Stop workers that have nothing in flight."),
    "rebalance": ("opsconsole.cli.act", "Make the fewest moves of workers that help most."),
    "rollout": ("opsconsole.cli.act", "Replace a model's workers by those of another checkpoint."),
    "cordon": ("opsconsole.cli.places", "Let no new workers onto nodes."),
    "uncordon": ("opsconsole.cli.places", "Let new workers onto nodes again."),
    "cap": ("opsconsole.cli.places", "Limit the power of GPUs."),
    "runs": ("opsconsole.cli.runs", "Plans under way and past, step by step."),
    "resume": ("opsconsole.cli.runs", "Go on with an interrupted run, or take it back."),
    "history": ("opsconsole.cli.history", "Any series of the past, as a chart, JSON or CSV; or what SQL asks."),
    "replay": ("opsconsole.cli.replay", "The screen in the past, also of a colleague's file."),
    "export": ("opsconsole.cli.export", "Any span of the past as CSV, Parquet or a plain SQLite file."),
    "incident": ("opsconsole.cli.incident", "Cut a span of the past into a file for others, and look into one."),
    "audit": ("opsconsole.cli.audit", "Who did what, why, and how it ended; --verify checks the record."),
    "config": ("opsconsole.cli.admin", "Write, check and show the fleet file."),
    "plugins": ("opsconsole.cli.plugins", "Plugins that are installed, what each adds, and why one is off."),
    "doctor": ("opsconsole.cli.doctor", "Find out what keeps nodes from being watched, and the mend."),
    "collect": ("opsconsole.cli.programs", "Watch and keep history without a screen."),
    "worker": ("opsconsole.cli.programs", "Run an inference worker (the data plane)."),
    "gateway": ("opsconsole.cli.programs", "Run the gateway that holds the queue (the data plane)."),
    "demo": ("opsconsole.cli.demo", "A whole fleet on this machine, with no GPU."),
}
"""Command -> the module that holds it under its own name, and its line of help: kept here so that --help imports none of them."""


NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class Settings(NamedTuple):
    """The global options as typed; None where the environment, the fleet file or the default decides."""

    config: str | None = None
    state_dir: str | None = None
    read_only: bool = False
    run_screen: Callable[..., int] | None = None
    """The other front, given by the roof, because neither front knows the other: (settings, and a cli.replay.Replay for the past)."""


class _ReaderLeft(Exception):
    """Who read our stdout has had enough, as in `| head -1`."""


class Commands(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        try:
            return getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        except ModuleNotFoundError as error:
            raise CommandError(f"`{cmd_name}` needs the package {error.name}, which is not installed") from None

    def invoke(self, ctx: click.Context) -> int | None:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ReaderLeft from None  # click itself would end with 1

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(), help="The fleet file. [env: OPSCONSOLE_CONFIG]")
@click.option("--state-dir", type=click.Path(), help="Where history and the collector live. [env: OPSCONSOLE_STATE_DIR]")
@click.option("--read-only", is_flag=True, help="Refuse every command that changes something.")
@click.version_option(__version__, message="opsconsole %(version)s")
@click.pass_context
def opsconsole(ctx: click.Context, config: str | None, state_dir: str | None, read_only: bool) -> int | None:
    """See, remember, foresee and act on a fleet of GPU inference nodes over SSH. Without a command: the screen."""
    ctx.obj = Settings(config, state_dir, read_only, ctx.obj)
    if ctx.invoked_subcommand is not None:
        return None
    if ctx.obj.run_screen is None:
        raise CommandError("there is no screen here; name a command, see opsconsole --help", Exit.USAGE)
    return ctx.obj.run_screen(ctx.obj)


def run(arguments: Sequence[str], run_screen: Callable[..., int] | None = None) -> int:
    """Runs one command line and returns its exit code; every failure ends as one sentence on stderr."""
    plain_streams()
    try:
        code = opsconsole.main(list(arguments), prog_name="opsconsole", standalone_mode=False, obj=run_screen)
        sys.stdout.flush()
        return int(code or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except CommandError as error:
        narrate(str(error))
        return int(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        narrate("interrupted")
        return int(Exit.INTERRUPTED)
    except (_ReaderLeft, BrokenPipeError):
        _drop_output()
        return int(Exit.DONE)
    except Exception as error:
        return _full(error) if isinstance(error, OSError) and error.errno in NO_SPACE else _internal(error)


def _drop_output() -> None:
    """What is left in stdout's buffer goes nowhere: the interpreter flushes once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _full(error: OSError) -> int:
    narrate(f"cannot write {error.filename or 'the output'}: {error.strerror}")
    _drop_output()
    return int(Exit.FAILED)


def _internal(error: Exception) -> int:
    if os.environ.get("OPSCONSOLE_DEBUG") == "1":
        raise error
    text = " ".join(str(error).split())[:300]
    narrate(f"internal error: {type(error).__name__}: {text} (OPSCONSOLE_DEBUG=1 shows where)")
    return int(Exit.FAILED)
