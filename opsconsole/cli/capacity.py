"""The command `capacity`: what is left, when it ends, what it costs, and what would be so after a change; and the same beside listings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from opsconsole.cli.output import CommandError, Exit, print_data, print_json
from opsconsole.cli.past import fleet_at, history_file
from opsconsole.cli.session import open_session, tell_silent
from opsconsole.core.amounts import amount_of

if TYPE_CHECKING:
    from opsconsole.cli.root import Settings
    from opsconsole.core.fleet import Fleet
    from opsconsole.core.learned import Learned

TOKENS_MOST = 1e18
LEARN_AGAIN_S = 60.0


class Tokens(click.ParamType):
    """An amount of tokens such as 20T."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        amount = amount_of(value) if isinstance(value, str) else value
        if amount is None or not 0 < amount <= TOKENS_MOST:
            self.fail(f"{value!r} is no amount of tokens; write a number with K, M, G, T or P behind it, such as 20T", param, ctx)
        return amount


@click.command()
@click.option("--what-if", "what_if", metavar="EXPR", default="", help="After a change: 'lose site ams1', 'surge 30%', 'cap ams1 400', ...")
@click.option("--target-tokens-per-day", "target", type=Tokens(), metavar="N", help="What so many a day would need, such as 20T.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--at", metavar="TIME", help="As it was then: 03:12, 20m (ago) or an ISO time.")
@click.option("--file", type=click.Path(), help="From this history, as `incident save` writes one; its end, without --at.")
@click.pass_obj
def capacity(settings: Settings, what_if: str, target: float | None, as_json: bool, at: str | None, file: str | None) -> int:
    """Headroom, shortfall, time to saturation, stranded GPUs, power and money.

    --what-if takes one change, or several with commas between: lose node|rack|site|provider NAME (a rack as SITE/RACK), surge [MODEL] 30%,
    price CHIP +20% [at SITE], cap NODE|SITE W (each GPU), budget SITE -10%, add K nodes CHIP [at SITE].
    """
    from opsconsole.cli.forecast import capacity_lines
    from opsconsole.core.outlook import outlook, outlook_json
    from opsconsole.core.whatif import WhatIfError

    past = at is not None or file is not None
    fleet = fleet_at(settings, at, file) if past else _fleet_now(settings)
    try:
        now, then = outlook(fleet, learned_of(settings, fleet, file), what_if, target)
    except WhatIfError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    told = outlook_json(now, then)
    if as_json:
        print_json(told)
    else:
        print_data("\n".join(capacity_lines(told)))
    return tell_silent(fleet, list(range(len(fleet.roster.nodes))), "did not answer" if past else "do not answer")


def _fleet_now(settings: Settings) -> Fleet:
    with open_session(settings) as session:
        return session.first_fleet()


def with_headroom(settings: Settings, name: str, fleet: Fleet, rows: list[dict[str, Any]], file: str | None = None) -> list[dict[str, Any]]:
    """Rows of models or sites with their figures of `capacity` beside; others as they are. file: the history, None for our own."""
    if name not in ("models", "sites"):
        return rows
    from opsconsole.core.headroom import MODEL_FIELDS, SITE_FIELDS, headroom_json

    told = headroom_json(fleet, _learned_lately(settings, fleet, file), name)
    nothing = dict.fromkeys(MODEL_FIELDS if name == "models" else SITE_FIELDS)
    return [row | told.get(row["name"], nothing) for row in rows]


_lately: dict[str, Learned] = {}
"""What was learned last of a history ("": our own), for LEARN_AGAIN_S: a listing that is watched asks every second."""


def _learned_lately(settings: Settings, fleet: Fleet, file: str | None) -> Learned:
    known = _lately.get(file or "")
    if known is None or not 0 <= fleet.at - known.until < LEARN_AGAIN_S:
        known = _lately[file or ""] = learned_of(settings, fleet, file)
    return known


def learned_of(settings: Settings, fleet: Fleet, file: str | None = None) -> Learned:
    """What a history, that of the state directory unless a file is named, teaches about a fleet."""
    from opsconsole.control.learned import learn

    return learn(history_file(settings, file), fleet)
