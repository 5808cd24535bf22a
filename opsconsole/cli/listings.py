"""What each listing shows: its rows for scripts, its rows for people in their order, and its columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from opsconsole.cli.table import MARKS, Column, Row
from opsconsole.core import wording
from opsconsole.core.filter import Filter
from opsconsole.core.fleet import Fleet
from opsconsole.core.wording import UNKNOWN, age_text, count_text, mib_text, number_text, power_text


@dataclass(frozen=True)
class Listing:
    """One kind of thing. rows(fleet, filter, for_people): as JSON rows; people get the worst first and what silent nodes said last."""

    name: str
    rows: Callable[[Fleet, Filter, bool], list[Row]]
    columns: Sequence[Column]


def _text(title: str, key: str, optional: bool = False) -> Column:
    return Column(title, lambda row: str(row[key] or ""), optional=optional)


def _number(title: str, key: str, say: Callable[[float | None], str] = number_text) -> Column:
    return Column(title, lambda row: say(row[key]), right=True)


def _usd(value: float | None) -> str:
    return number_text(value, 2)


def _share(title: str, key: str, whole: str, say: Callable[[float | None], str]) -> Column:
    return Column(title, lambda row: f"{say(row[key])} / {say(row[whole])}" if row[whole] is not None else say(row[key]), right=True)


_MARK = Column("", lambda row: MARKS[row["severity"]], optional=True)
_REASON = _text("REASON", "reason", optional=True)
_AGE = _number("AGE", "age_s", age_text)


def _in_order(fleet: Fleet, chosen: np.ndarray, for_people: bool) -> list[int]:
    rows = wording.worst_first(fleet) if for_people else range(len(chosen))
    return [row for row in rows if chosen[row]]


def _nodes(fleet: Fleet, filter: Filter, for_people: bool) -> list[Row]:
    return wording.nodes_json(fleet, _in_order(fleet, filter.nodes(fleet), for_people), last_known=for_people)


def _gpus(fleet: Fleet, filter: Filter, for_people: bool) -> list[Row]:
    chosen = filter.gpus(fleet)
    nodes = wording.worst_first(fleet) if for_people else range(len(fleet.roster.nodes))
    gpus = [gpu for node in nodes for gpu in range(fleet.roster.gpu_start[node], fleet.roster.gpu_start[node + 1]) if chosen[gpu]]
    rows = wording.gpus_json(fleet, gpus, last_known=for_people)
    return [row | {"severity": wording.WARNING if row["reason"] else wording.OK} for row in rows] if for_people else rows


def _worker_severity(row: Row) -> int:
    if row["state"] == "FAILED":
        return wording.CRITICAL
    return wording.WARNING if row["state"] == "NOT_READY" or row["reach"] != "LIVE" else wording.OK


def _workers(fleet: Fleet, filter: Filter, for_people: bool) -> list[Row]:
    rows = wording.workers_json(fleet, filter.workers(fleet), last_known=for_people)
    if not for_people:
        return rows
    marked = [row | {"severity": _worker_severity(row)} for row in rows]
    return sorted(marked, key=lambda row: (-row["severity"], row["state"] == "READY"))


def _models(fleet: Fleet, filter: Filter, for_people: bool) -> list[Row]:
    return _marked(filter.choose(wording.models_json(fleet), "model"), for_people)


def _sites(fleet: Fleet, filter: Filter, for_people: bool) -> list[Row]:
    return _marked(filter.choose(wording.sites_json(fleet), "site"), for_people)


def _marked(rows: list[Row], for_people: bool) -> list[Row]:
    if not for_people:
        return rows
    marked = [row | {"severity": wording.WARNING if row["reason"] else wording.OK} for row in rows]
    return sorted(marked, key=lambda row: -row["severity"])


def _latency(title: str, key: str) -> Column:
    return Column(title, lambda row: _against(row[key], row["objective"][key]), right=True)


def _against(value: float | None, objective: float | None) -> str:
    return f"{number_text(value)} / {number_text(objective)}" if objective is not None else number_text(value)


def _gpu_list(row: Row) -> str:
    return ",".join(map(str, row["gpus"])) or UNKNOWN


LISTINGS = {
    listing.name: listing
    for listing in (
        Listing("nodes", _nodes, (
            _MARK, _text("NODE", "name"), _text("SITE", "site", True), _text("CHIP", "chip", True), _number("GPUS", "gpus"),
            _number("UTIL %", "util_pct"), _share("MEMORY", "mem_used_mib", "mem_total_mib", mib_text),
            _number("POWER", "power_w", power_text), _number("°C", "temp_c"), _number("QUEUE", "queue_depth", count_text),
            _number("TOK/S", "tokens_per_s", count_text), _AGE, _text("REACH", "reach"), _text("STATE", "state"), _REASON)),
        Listing("gpus", _gpus, (
            _MARK, _text("NODE", "node"), _number("GPU", "index"), _text("NAME", "name", True), _number("UTIL %", "util_pct"),
            _share("MEMORY", "mem_used_mib", "mem_total_mib", mib_text), _share("POWER", "power_w", "power_limit_w", power_text),
            _number("°C", "temp_c"), _number("SM MHZ", "sm_clock_mhz"), _AGE, _text("REACH", "reach"), _REASON)),
        Listing("workers", _workers, (
            _MARK, _text("WORKER", "name"), _text("NODE", "node"), Column("GPUS", _gpu_list), _text("MODEL", "model"),
            _text("STATE", "state"), _text("PHASE", "phase", True), _number("RUN", "running", count_text),
            _number("QUEUE", "queue_depth", count_text), _number("TOK/S", "tokens_per_s", count_text),
            _number("TTFT P95 MS", "ttft_p95_ms"), _number("KV %", "kv_used_pct"), _AGE, _text("REACH", "reach"), _REASON)),
        Listing("models", _models, (
            _MARK, _text("MODEL", "name"), _text("ENGINE", "engine"), _share("READY", "ready", "workers", number_text),
            _number("LEAST", "min_ready"), _number("QUEUE", "queue_depth", count_text), _number("TOK/S", "tokens_per_s", count_text),
            _number("CAN SERVE", "capacity_tokens_per_s", count_text), _number("FULL %", "load_pct"),
            _number("$/M", "usd_per_million_tokens", _usd), _latency("TTFT P95 MS", "ttft_p95_ms"), _latency("ITL P95 MS", "itl_p95_ms"),
            _number("KV %", "kv_used_pct"), _REASON)),
        Listing("sites", _sites, (
            _MARK, _text("SITE", "name"), _text("PROVIDER", "provider", True), _share("NODES", "nodes_answering", "nodes", number_text),
            _number("GPUS", "gpus"), _number("UTIL %", "util_pct"), _share("FEED POWER", "feed_power_w", "power_budget_w", power_text),
            _number("FREE", "gpus_free"), _number("STRANDED", "gpus_stranded"), _number("QUEUE", "queue_depth", count_text),
            _number("TOK/S", "tokens_per_s", count_text), _number("$/H", "usd_per_h", _usd), _REASON)),
    )
}


def status_lines(status: Row) -> list[str]:
    """The fleet's status for people: a line a subject, then the alarms."""
    silent = {word: count for word, count in status["reach"].items() if word != "LIVE"}
    lines = [
        f"{status['fleet'] or 'fleet'} ({status['environment'] or 'no environment named'}) at {status['at']}",
        f"nodes    {status['nodes_answering']} of {status['nodes']} answer" + _counts(silent),
        f"gpus     {status['gpus']}, util {number_text(status['util_pct'], 0, '%')}, memory "
        f"{mib_text(status['mem_used_mib'])} / {mib_text(status['mem_total_mib'])}",
        f"power    {power_text(status['power_w'])} drawn by GPUs, budget {power_text(status['power_budget_w'])}",
        f"workers  {sum(status['workers'].values())}" + _counts(status["workers"]),
        f"traffic  queue {count_text(status['queue_depth'])}, running {count_text(status['running'])}, "
        f"{count_text(status['tokens_per_s'])} tokens/s, TTFT p95 {number_text(status['ttft_p95_ms'], 0, 'ms')}",
    ]
    alarms = [f"{MARKS[alarm['severity']]} {alarm['text']}{alarm['detail'] and ': ' + alarm['detail']}" for alarm in status["alarms"]]
    return lines + (["alarms", *(f"  {alarm}" for alarm in alarms)] if alarms else ["alarms   none"])


def _counts(counts: dict[str, int]) -> str:
    return " (" + ", ".join(f"{count} {word}" for word, count in counts.items()) + ")" if counts else ""
