"""A site's price list: what a GPU of a chip costs an hour on demand, reserved or on the spot market, and from when to when."""

from __future__ import annotations

from datetime import UTC, date, datetime

from opsconsole.config.table import Table
from opsconsole.core.declared import Price
from opsconsole.core.money import KINDS


def read_prices(site: Table) -> tuple[Price, ...]:
    """The entries of `prices`. Raises ConfigError."""
    found = []
    for table in site.entries("prices"):
        kind = table.text("kind", "on-demand")
        if kind not in KINDS:
            table.refuse("kind", f"is {kind!r}; write one of {', '.join(KINDS)}")
        gpus = table.whole("gpus", 0, 0, 10_000_000)
        if kind == "reserved" and not gpus:
            table.refuse("gpus", "is missing; say how many GPUs are reserved")
        usd = table.number("usd_per_gpu_hour", None, 0.0, 1e6)
        if usd is None:
            table.refuse("usd_per_gpu_hour", "is missing; write what one GPU costs an hour")
        since, until = _moment(table, "from"), _moment(table, "until")
        if since is not None and until is not None and since >= until:
            table.refuse("until", "is not after `from`; the price would never hold")
        found.append(Price(table.name("chip"), kind, usd, gpus, since, until))
        table.finish()
    return tuple(found)


def _moment(table: Table, key: str) -> float | None:
    """A TOML date (its midnight in UTC) or date and time (UTC unless it says another zone), as epoch seconds; None when it is not there."""
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    table.refuse(key, f"is {value!r}; write a date without quotes, such as 2026-07-01")
