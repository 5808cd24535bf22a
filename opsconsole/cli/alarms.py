"""The commands about alarms: see them, take one, silence what is known, write down what the next shift must know, try rules on the past."""

from __future__ import annotations

import click

from opsconsole.cli.moments import Duration
from opsconsole.cli.output import CommandError, Exit, print_data, print_json
from opsconsole.cli.session import open_session


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C.")
@click.option("--at", metavar="TIME", help="As it was then: 03:12, 20m (ago; with --file before its end) or an ISO time.")
@click.option("--file", type=click.Path(), help="From this history, as `incident save` writes one; its end, without --at.")
@click.pass_context
def alarms(ctx: click.Context, as_json: bool, watch: bool, at: str | None, file: str | None) -> int | None:
    """What deserves a person: alarms with their id, age, likely cause and the command that plans the mend.

    Silenced and taken ones come last, and are counted.
    """
    is_past = at is not None or file is not None
    if ctx.invoked_subcommand is not None:
        if as_json or watch or is_past:
            raise click.UsageError("--json, --watch, --at and --file are for the list: write them behind the command, or leave them out")
        return None
    if watch and is_past:
        raise click.UsageError("--watch follows the fleet as it is, --at and --file show one past second: choose one")
    from opsconsole.cli.alarm_list import list_alarms

    return list_alarms(ctx.obj, as_json, watch, (at, file) if is_past else None)


_AS_JSON = click.option("--json", "as_json", is_flag=True, help="What was done, as one JSON object.")


@alarms.command()
@click.argument("alarm_id", metavar="ID")
@click.option("--note", "text", default="", help="Why, or what you do about it.")
@_AS_JSON
@click.pass_obj
def ack(settings, alarm_id: str, text: str, as_json: bool) -> int:
    """Take an alarm: others see who has it. It counts again once it becomes graver or twice as large."""
    return _say(settings, "ack", alarm_id, as_json, text)


@alarms.command()
@click.argument("alarm_id", metavar="ID")
@_AS_JSON
@click.pass_obj
def unack(settings, alarm_id: str, as_json: bool) -> int:
    """Give an alarm back: it waits for a person again."""
    return _say(settings, "unack", alarm_id, as_json)


@alarms.command()
@click.argument("what", metavar="RULE|SUBJECT|ID")
@click.option("--for", "for_s", type=Duration(), required=True, help="How long: 30m, 2h, 3d. Every silence ends.")
@click.option("--reason", required=True, help="Why, for whoever wonders why nothing is heard.")
@_AS_JSON
@click.pass_obj
def silence(settings, what: str, for_s: float, reason: str, as_json: bool) -> int:
    """Hear nothing of a rule, or of a node, rack, jump host, site, model, worker or single alarm, for some time."""
    return _say(settings, "silence", what, as_json, reason, for_s)


@alarms.command()
@click.argument("what", metavar="RULE|SUBJECT|ID")
@_AS_JSON
@click.pass_obj
def unsilence(settings, what: str, as_json: bool) -> int:
    """End a silence before its time."""
    return _say(settings, "unsilence", what, as_json)


@alarms.command()
@click.argument("about", metavar="ID|shift")
@click.argument("words", nargs=-1, required=True)
@_AS_JSON
@click.pass_obj
def note(settings, about: str, words: tuple[str, ...], as_json: bool) -> int:
    """Write down what whoever comes next must know: of an alarm, or, with the word shift, of none in particular."""
    return _say(settings, "note", about, as_json, " ".join(words))


@alarms.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def rules(settings, as_json: bool) -> int:
    """Show the rules as the fleet file has them: from when on each is raised, and when it is over."""
    from opsconsole.cli.alarm_list import list_rules

    return list_rules(settings, as_json)


@alarms.command()
@click.option("--since", default="7d", show_default=True, help="15m, 2h, 1d (ago), 14:30 or an ISO time.")
@click.option("--step", "step_s", type=Duration(), help="Look every so often, as in 10s. By default so that it takes about a minute.")
@click.option("--rule", "only", help="Only this rule.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def test(settings, since: str, step_s: float | None, only: str | None, as_json: bool) -> int:
    """Try the fleet file's rules on the recorded past: how often each would have fired, and for how long."""
    from opsconsole.cli.alarm_test import test_rules

    return test_rules(settings, since, step_s, only, as_json)


def _say(settings, word: str, what: str, as_json: bool, text: str = "", for_s: float | None = None) -> int:
    from opsconsole.cli.acting import actor
    from opsconsole.control.alarm_desk import said_now

    if settings.read_only:
        raise CommandError("this is read-only (--read-only): alarms may be looked at, not taken, silenced or noted on", Exit.REFUSED)
    with open_session(settings) as session:
        done = session.say(said_now(word, what, actor(), text, for_s))
    if as_json:
        print_json({"done": done})
    else:
        print_data(done)
    return Exit.DONE
