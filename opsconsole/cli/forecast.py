"""The answer of `capacity` in lines for people: what is there, when it ends, and what would change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opsconsole.cli.table import Column, table, terminal_width
from opsconsole.core.text import clean
from opsconsole.core.wording import UNKNOWN, age_text, count_text, number_text, power_text

Row = dict[str, Any]
ASSUMED_INDENT = "  - "


def _in(seconds: float | None, else_text: str = "") -> str:
    return else_text if seconds is None else "now" if seconds == 0 else f"in {age_text(seconds)}"


def _pct(value: float | None) -> str:
    return number_text(value, 0, "%")


def usd_text(value: float | None, digits: int = 2) -> str:
    return UNKNOWN if value is None else f"{value:,.{0 if abs(value) >= 10_000 else digits}f} $"


def chips_text(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {chip}" for chip, count in counts.items()) or "none"


def _spread(row: Row) -> str:
    spread = row["capacity_spread_pct"]
    return count_text(row["capacity_tokens_per_s"]) + (f" ±{spread:.0f}%" if spread is not None else "")


def _burn(row: Row) -> str:
    told = [number_text(burn["burn"], 1) for burn in row["burn"] if burn["burn"] is not None][:2]
    return " / ".join(told) + " x" if told else UNKNOWN


def _joules(row: Row) -> str:
    return ", ".join(f"{chip} {number_text(joules, 2)}" for chip, joules in row["joules_per_token"].items()) or UNKNOWN


def _expected(row: Row) -> str:
    mean, low, high = (count_text(row[f"expected_tokens_per_s{edge}"]) for edge in ("", "_low", "_high"))
    return f"{mean} ({low} to {high})" if mean != UNKNOWN else UNKNOWN


def _today(row: Row) -> str:
    """Tokens since midnight against what the day's target wants by now; nothing without a target."""
    wanted = row["tokens_today_wanted"]
    return f"{count_text(row['tokens_today'])} of {count_text(wanted)}" if wanted else ""


def _ahead(row: Row) -> str:
    ahead = row["forecast"]
    if ahead is None:
        return UNKNOWN
    low, peak, high = (count_text(ahead[f"peak_tokens_per_s{edge}"]) for edge in ("_low", "", "_high"))
    return f"{peak} ({low} to {high}) within {age_text(ahead['horizon_s'])}, error {_pct(ahead['backtest_error_pct'])}"


def _right(title: str, say) -> Column:
    return Column(title, say, right=True)


MODELS = (
    Column("MODEL", lambda row: row["name"]), _right("READY", lambda row: str(row["ready"])),
    _right("ASKED", lambda row: count_text(row["demand_tokens_per_s"])), _right("CAN SERVE", _spread),
    _right("FULL", lambda row: _pct(row["load_pct"])), _right("CAN ADD", lambda row: count_text(row["addable_tokens_per_s"])),
    _right("BURN 5m / 1h", _burn), _right("$/M TOKENS", lambda row: number_text(row["usd_per_million_tokens"], 2)),
    Column("TODAY", _today, right=True, optional=True), Column("J/TOKEN", _joules), Column("HIGHEST AHEAD", _ahead),
)
SITES = (
    Column("SITE", lambda row: row["name"]), _right("GPUS", lambda row: str(row["gpus"])),
    _right("SERVING", lambda row: str(row["gpus_serving"])), _right("FREE", lambda row: str(row["gpus_free"])),
    _right("STRANDED", lambda row: str(row["gpus_stranded"])),
    _right("DRAWN", lambda row: power_text(row["drawn_w"])), _right("AT CAPS", lambda row: power_text(row["capped_w"])),
    _right("BUDGET", lambda row: power_text(row["power_budget_w"])), _right("PUE", lambda row: number_text(row["pue"], 2)),
    _right("$/H", lambda row: number_text(row["usd_per_h"], 2)), _right("TODAY", lambda row: usd_text(row["usd_today"], 0)),
    Column("HELD BACK", lambda row: ", ".join(f"{count} by {text}" for text, count in row["throttled_gpus"].items()), optional=True),
)
STRANDED = (
    _right("GPUS", lambda row: str(row["gpus"])), Column("CHIP", lambda row: row["chip"]),
    Column("WHERE", lambda row: row["node"] or row["site"]), Column("WHY", lambda row: f"{row['reason']}: {row['text']}"),
    _right("$/H", lambda row: number_text(row["usd_per_h"], 2)), Column("WHAT FREES THEM", lambda row: row["mend"]),
)


def capacity_lines(told: Row) -> list[str]:
    """The whole answer; with a change what it changes first."""
    changed = "before" in told
    lines = [f"capacity at {told['at']}" + ("; the tables show what would be after the change" if changed else "")]
    lines += changes(told["before"], told["after"]) if changed else []
    lines += ["", *_summary(told), "", *_table(MODELS, told["models"], "the fleet file names no model")]
    lines += ["", *_table(SITES, told["sites"], "the fleet file names no site")]
    lines += ["", "what ends first", *(line for one in told["saturation"] for line in _ends(one))]
    if told["stranded"]:
        lines += ["", "stranded GPUs", *_table(STRANDED, told["stranded"], "")]
    lines += _power_limits(told["power_limits"])
    return lines + ["", "assumed", *(ASSUMED_INDENT + clean(text) for text in told["assumptions"])]


def _ends(one: Row) -> list[str]:
    return [f"  {clean(one['text'])}", *([f"      {clean(one['mend'])}"] if one["mend"] else [])]


def _table(columns: Sequence[Column], rows: list[Row], empty: str) -> list[str]:
    return table(columns, rows, terminal_width()) if rows else [empty]


def _summary(told: Row) -> list[str]:
    gpus = told["gpus"]
    unheard = f", {gpus['unheard']} not heard" if gpus["unheard"] else ""
    racks = f"{told['racks_short']} rack{'s' * (told['racks_short'] != 1)}"
    short = f", {chips_text(told['gpus_short'])} short ({racks})" if told["gpus_short"] else ""
    needed = f"{number_text(told['mw_needed'], 4, 'MW')}, {usd_text(told['usd_per_day'])} a day"
    return [
        f"GPUs    {gpus['total']}: {gpus['serving']} serve, {gpus['free']} free, {gpus['stranded']} stranded{unheard}",
        f"needed  {chips_text(told['gpus_needed'])}{short}; {needed}",
        f"power   {number_text(told['mw_drawn'], 4, 'MW')} drawn",
        f"money   {usd_text(told['usd_per_h_rented'])} an hour; today {usd_text(told['usd_today'])} so far, "
        f"{usd_text(told['usd_today_projected'])} by midnight; idle GPUs {usd_text(told['idle_usd_per_h'])} an hour, of that stranded "
        f"{usd_text(told['stranded_usd_per_h'])}",
    ]


def changes(before: Row, after: Row) -> list[str]:
    """Before and after, a line a figure that a change can move."""
    old = {row["name"]: row for row in before["models"]}
    pairs = [("GPUs needed", chips_text(before["gpus_needed"]), chips_text(after["gpus_needed"])),
             ("GPUs short", chips_text(before["gpus_short"]), chips_text(after["gpus_short"])),
             ("megawatts needed", number_text(before["mw_needed"], 4), number_text(after["mw_needed"], 4)),
             ("$ a day needed", usd_text(before["usd_per_day"]), usd_text(after["usd_per_day"])),
             ("$ an hour rented", usd_text(before["usd_per_h_rented"]), usd_text(after["usd_per_h_rented"])),
             ("stranded GPUs", str(before["gpus"]["stranded"]), str(after["gpus"]["stranded"]))]
    for row in after["models"]:
        was = old[row["name"]]
        pairs += [(f"{row['name']}: asked for, tokens/s", count_text(was["demand_tokens_per_s"]), count_text(row["demand_tokens_per_s"])),
                  (f"{row['name']}: can serve, tokens/s", _spread(was), _spread(row)),
                  (f"{row['name']}: will serve, tokens/s", _expected(was), _expected(row)),
                  (f"{row['name']}: full", _pct(was["load_pct"]), _pct(row["load_pct"])),
                  (f"{row['name']}: workers to launch", str(was["launches"]), str(row["launches"]))]
    columns = (Column("", lambda pair: pair[0]), _right("BEFORE", lambda pair: pair[1]), _right("AFTER", lambda pair: pair[2]))
    return ["", *table(columns, pairs)]


def _power_limits(offers: list[Row]) -> list[str]:
    lines = []
    for offer in offers:
        gives = f"{number_text(offer['tokens_per_joule'], 2)} tokens/J, now {number_text(offer['now_tokens_per_joule'], 2)}"
        where = f"{offer['model']} on {offer['chip']} ({len(offer['nodes'])} nodes)"
        limits = f"{offer['watts_per_gpu']:.0f} W a GPU instead of {offer['now_watts_per_gpu']:.0f}"
        lines += [f"  {where}: {limits} carries what is asked: {gives}", f"      {offer['mend']}"]
    return ["", "power limits that history shows to be better", *map(clean, lines)] if lines else []
