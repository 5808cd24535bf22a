"""The fleet as plain JSON values: names carry units, unknown is None, and what a silent node last said is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import numpy as np

from opsconsole.core.alarm import Alarm
from opsconsole.core.alarm_book import SHIFT
from opsconsole.core.fleet import REACH_WORDS, Fleet, Model, Rack, Site, Worker
from opsconsole.core.money import site_usd_per_h
from opsconsole.core.power import drawn_w, gpus_of_feed
from opsconsole.core.severity import gpu_reasons, reasons, severities
from opsconsole.core.totals import (
    NODE_FIGURES,
    count_by_node,
    gpu_counts,
    in_flight_total,
    known_sum,
    node_column,
    node_state,
    worker_total,
    worker_worst,
)
from opsconsole.protocol import GPU_COLUMNS

Row = dict[str, Any]

_WHOLE = frozenset(("throttle", "ecc_corrected", "ecc_uncorrected", "xid", "mig", "gpus", "queue_depth", "running", "in_flight"))
"""Columns that count or encode: always an int."""
_WORKER_FIGURES = (
    "queue_depth", "running", "in_flight", "tokens_per_s", "requests_per_s", "ttft_p50_ms", "ttft_p95_ms", "itl_p50_ms", "itl_p95_ms",
    "kv_used_pct", "tokens_total", "prompt_tokens_total", "requests_total",
)


def at_text(at: float) -> str:
    """A moment (epoch seconds) as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: float | None, whole: bool = False) -> float | int | None:
    if value is None or not isfinite(value):
        return None
    return int(value) if whole or value == int(value) else round(float(value), 3)


def _column(values: np.ndarray, name: str) -> list[float | int | None]:
    whole = name in _WHOLE
    return [_plain(value, whole) for value in values.tolist()]


def nodes_json(fleet: Fleet, rows: Sequence[int] | None = None, last_known: bool = False) -> list[Row]:
    """Nodes as configured, or the given rows in their order. last_known: keep what silent nodes said last; age_s tells how old it is."""
    rows = range(len(fleet.roster.nodes)) if rows is None else rows
    shown = np.ones(len(fleet.roster.nodes), bool) if last_known else fleet.answering
    names = [name for name in NODE_FIGURES if name not in ("age_s", "gpus")]
    figures = {name: _column(np.where(shown, node_column(fleet, name), np.nan), name) for name in names}
    told = {
        "age_s": _column(fleet.age_s, "age_s"),
        "clock_offset_s": _column(fleet.clock_offset_s, "clock_offset_s"),
        "gpus": gpu_counts(fleet.roster).tolist(),
        "gpus_unread": count_by_node(fleet.roster, np.isnan(fleet.gpu("power_w"))).tolist(),
        "severity": severities(fleet).tolist(),
        "reason": reasons(fleet),
    }
    return [_node(fleet, row, figures, told) for row in rows]


def _node(fleet: Fleet, row: int, figures: dict[str, list], told: dict[str, list]) -> Row:
    facts = fleet.roster.nodes[row]
    return {
        "name": facts.name, "site": facts.site, "rack": facts.rack, "chip": facts.chip,
        "reach": REACH_WORDS[fleet.reach[row]], "state": node_state(fleet.workers_of_node.get(facts.name, ()), row in fleet.cordons),
        "reason": told["reason"][row], "severity": told["severity"][row], "age_s": told["age_s"][row],
        "gpus": told["gpus"][row], "gpus_unread": told["gpus_unread"][row] if fleet.answering[row] else told["gpus"][row],
        **{name: column[row] for name, column in figures.items()},
        "host_mem_total_mib": _plain(facts.mem_total_mib), "cpu_count": facts.cpu_count,
        "driver": facts.driver or None, "python": facts.python or None, "clock_offset_s": told["clock_offset_s"][row],
    }


def node_json(fleet: Fleet, row: int) -> Row:
    """One node."""
    return nodes_json(fleet, [row])[0]


def gpus_json(fleet: Fleet, rows: Sequence[int] | None = None, last_known: bool = False) -> list[Row]:
    """GPUs in node order, or the given rows of the roster in their order."""
    roster = fleet.roster
    rows = range(len(roster.gpu_uuid)) if rows is None else rows
    nodes = roster.gpu_node
    shown = np.ones(len(nodes), bool) if last_known else fleet.answering[nodes]
    figures = {name: _column(np.where(shown, fleet.gpu(name), np.nan), name) for name in GPU_COLUMNS}
    facts = {name: _column(roster.gpu_fact(name), name) for name in ("mem_total_mib", "power_min_w", "power_max_w", "mig")}
    ages, why, at_node = _column(fleet.age_s, "age_s"), gpu_reasons(fleet), nodes.tolist()
    return [
        {
            "node": roster.nodes[at_node[row]].name, "index": int(roster.gpu_index[row]),
            "uuid": roster.gpu_uuid[row], "name": roster.gpu_name[row],
            "reach": REACH_WORDS[fleet.reach[at_node[row]]], "reason": why[row], "age_s": ages[at_node[row]],
            **{name: column[row] for name, column in figures.items()}, **{name: column[row] for name, column in facts.items()},
        }
        for row in rows
    ]


def gpu_json(fleet: Fleet, row: int) -> Row:
    """One GPU, by row of the roster."""
    return gpus_json(fleet, [row])[0]


def workers_json(fleet: Fleet, workers: Iterable[Worker] | None = None, last_known: bool = False) -> list[Row]:
    """Workers in the fleet's order, or the given ones."""
    return [worker_json(fleet, worker, last_known) for worker in (fleet.workers if workers is None else workers)]


def worker_json(fleet: Fleet, worker: Worker, last_known: bool = False) -> Row:
    """One worker; its state is the last one its node told, its figures are None while the node does not answer."""
    row = fleet.roster.node_row.get(worker.node)
    shown = last_known or (row is not None and bool(fleet.answering[row]))
    return {
        "name": worker.name, "node": worker.node, "gpus": list(worker.gpus), "model": worker.model,
        "engine": worker.engine, "port": worker.port, "reach": None if row is None else REACH_WORDS[fleet.reach[row]],
        "state": worker.state, "phase": worker.phase, "reason": worker.reason,
        "age_s": None if row is None else _plain(fleet.age_s[row]), "pid": worker.pid, "slots": worker.slots,
        **{name: _plain(getattr(worker, name), name in _WHOLE) if shown else None for name in _WORKER_FIGURES},
        "started": None if worker.started_wall is None else at_text(worker.started_wall),
        "checkpoint": worker.checkpoint or None, "generation": worker.generation, "restarts": worker.restarts,
    }


def models_json(fleet: Fleet) -> list[Row]:
    """Configured models, then those that only workers know of."""
    configured = {model.name: model for model in fleet.roster.models}
    strangers = {name for name in fleet.workers_of_model if name} - configured.keys()
    return [model_json(fleet, model) for model in (*configured.values(), *(Model(name, engine="") for name in sorted(strangers)))]


def model_json(fleet: Fleet, model: Model) -> Row:
    """One model: sums over its workers on nodes that answer; latencies and kv_used_pct are those of the worst worker.

    queue_depth counts what waits at the router too.
    """
    workers = fleet.workers_of_model.get(model.name, ())
    heard = [worker for worker in workers if fleet.answering[fleet.roster.node_row[worker.node]]]
    ready = sum(worker.state == "READY" for worker in heard)
    return {
        "name": model.name, "engine": model.engine, "checkpoint": model.checkpoint, "gpus": model.gpus,
        "gpu_share": model.gpu_share, "slots": model.slots,
        "ready": ready, "workers": len(workers), "min_ready": model.min_ready,
        "objective": {"ttft_p95_ms": _plain(model.ttft_p95_ms), "itl_p95_ms": _plain(model.itl_p95_ms)},
        "tokens_per_day": _plain(model.tokens_per_day), "reason": _model_reason(model, ready, worker_worst(heard, "ttft_p95_ms")),
        "queue_depth": _plain(fleet.queue_of_model(model.name), True),
        **{name: _plain(worker_total(heard, name), name in _WHOLE) for name in ("running", "tokens_per_s", "requests_per_s")},
        **{name: _plain(worker_worst(heard, name)) for name in ("ttft_p95_ms", "itl_p95_ms", "kv_used_pct")},
        "in_flight": _plain(in_flight_total(heard), True) if len(heard) == len(workers) else None,
    }


def _model_reason(model: Model, ready: int, ttft_ms: float | None) -> str:
    parts = [f"{ready} ready, at least {model.min_ready} wanted"] if ready < model.min_ready else []
    if ttft_ms is not None and model.ttft_p95_ms is not None and ttft_ms > model.ttft_p95_ms:
        parts.append(f"TTFT p95 {ttft_ms:.0f} ms, objective {model.ttft_p95_ms:.0f} ms")
    return "; ".join(parts)


def sites_json(fleet: Fleet) -> list[Row]:
    """Configured sites, then those that only nodes name."""
    configured = {site.name: site for site in fleet.roster.sites}
    strangers = {node.site for node in fleet.roster.nodes if node.site} - configured.keys()
    return [site_json(fleet, site) for site in (*configured.values(), *(Site(name) for name in sorted(strangers)))]


def site_json(fleet: Fleet, site: Site) -> Row:
    """One site: power_w is what the GPUs of its answering nodes draw, feed_power_w that, with the nodes' rest, times PUE, to hold against
    the feed's budget."""
    rows = np.array([row for row, node in enumerate(fleet.roster.nodes) if node.site == site.name], dtype=np.int64)
    heard = rows[fleet.answering[rows]]
    sums = _sums(fleet, heard)
    rest_w = len(heard) * (site.node_overhead_w or 0.0)
    feed_w = None if sums["power_w"] is None else _plain((sums["power_w"] + rest_w) * (site.pue or 1.0))
    return {
        "name": site.name, "provider": site.provider, "nodes": len(rows), "nodes_answering": len(heard),
        "gpus": int(gpu_counts(fleet.roster)[rows].sum()),
        **sums, "feed_power_w": feed_w,
        "power_budget_w": None if site.power_budget_kw is None else _plain(site.power_budget_kw * 1e3), "pue": site.pue,
        "usd_per_h": _plain(site_usd_per_h(fleet, site, fleet.at)),
        "racks": [_rack_json(fleet, rack) for rack in fleet.roster.racks if rack.site == site.name],
        "reason": _site_reason(fleet, site, len(rows), len(heard), feed_w),
    }


def _rack_json(fleet: Fleet, rack: Rack) -> Row:
    """One rack with a budget: power_w is what the GPUs of its answering nodes draw at its feed."""
    heard = fleet.answering[fleet.roster.gpu_node[gpus_of_feed(fleet.roster, rack)]]
    drawn = _plain(drawn_w(fleet, rack)) if heard.any() else None
    return {"name": rack.name, "power_w": drawn, "power_budget_w": _plain(rack.power_budget_kw * 1e3)}


def _site_reason(fleet: Fleet, site: Site, nodes: int, answering: int, feed_w: float | None) -> str:
    parts = [f"{nodes - answering} of {nodes} nodes do not answer"] if answering < nodes else []
    if feed_w is not None and site.power_budget_kw is not None and feed_w > site.power_budget_kw * 1e3:
        parts.append(f"{feed_w / 1e3:.1f} kW drawn, budget {site.power_budget_kw:.1f} kW")
    parts += [f"rack {rack.name}: {drawn_kw:.1f} kW drawn, budget {rack.power_budget_kw:.1f} kW" for rack in fleet.roster.racks
              if rack.site == site.name and (drawn_kw := drawn_w(fleet, rack) / 1e3) > rack.power_budget_kw]
    return "; ".join(parts)


def _sums(fleet: Fleet, rows: np.ndarray) -> Row:
    names = ("power_w", "power_limit_w", "mem_used_mib", "mem_total_mib", "queue_depth", "running", "tokens_per_s", "requests_per_s")
    utils = fleet.gpu("util_pct")[np.isin(fleet.roster.gpu_node, rows)]
    known = utils[~np.isnan(utils)]
    sums = {name: _plain(known_sum(node_column(fleet, name)[rows].tolist()), name in _WHOLE) for name in names}
    return {"util_pct": _plain(known.mean()) if len(known) else None, **sums}


def status_json(fleet: Fleet, chosen: np.ndarray | None = None) -> Row:
    """The whole fleet in one object, or the chosen (N,) nodes of it; sums are over nodes that answer."""
    mask = np.ones(len(fleet.roster.nodes), bool) if chosen is None else chosen
    heard = np.flatnonzero(mask & fleet.answering)
    names = {fleet.roster.nodes[row].name for row in np.flatnonzero(mask)}
    workers = [worker for worker in fleet.workers if worker.node in names]
    fresh = [worker for worker in workers if fleet.answering[fleet.roster.node_row[worker.node]]]
    return {
        "at": at_text(fleet.at), "fleet": fleet.roster.fleet_name, "environment": fleet.roster.environment,
        "nodes": int(mask.sum()), "nodes_answering": len(heard),
        "reach": dict(Counter(REACH_WORDS[reach] for reach in fleet.reach[mask].tolist())),
        "gpus": int(gpu_counts(fleet.roster)[mask].sum()), "workers": dict(Counter(worker.state for worker in workers)),
        **_sums(fleet, heard), **({"queue_depth": _queue(fleet)} if mask.all() else {}), "power_budget_w": _budget_w(fleet, mask),
        "ttft_p95_ms": _plain(worker_worst(fresh, "ttft_p95_ms")), "itl_p95_ms": _plain(worker_worst(fresh, "itl_p95_ms")),
        "alarms": [alarm_json(alarm) for alarm in fleet.alarms if mask.all() or names.intersection(alarm.nodes)],
    }


def _queue(fleet: Fleet) -> float | int | None:
    """What waits in workers and at the router; the router's part belongs to no node."""
    models = {*fleet.workers_of_model, *fleet.router_queue}
    return _plain(known_sum(fleet.queue_of_model(model) for model in models), True)


def _budget_w(fleet: Fleet, chosen: np.ndarray) -> float | int | None:
    """Budget of the sites that hold chosen nodes; None unless each of them has one."""
    names = {node.site for node, taken in zip(fleet.roster.nodes, chosen.tolist(), strict=True) if taken}
    budgets = {site.name: site.power_budget_kw for site in fleet.roster.sites if site.power_budget_kw is not None}
    return _plain(sum(budgets[name] for name in names) * 1e3) if names and names <= budgets.keys() else None


def alarm_json(alarm: Alarm) -> Row:
    """One alarm; null where nobody has taken or silenced it."""
    return {
        "id": alarm.id, "severity": alarm.severity, "kind": alarm.kind, "subject": alarm.subject, "node": alarm.node or None,
        "text": alarm.text, "detail": alarm.detail, "since": at_text(alarm.since), "members": list(alarm.members),
        "likely_cause": alarm.cause or None, "is_over": alarm.is_over, "acked_by": alarm.acked_by or None,
        "acked_at": None if alarm.acked_at is None else at_text(alarm.acked_at), "silenced_by": alarm.silenced_by or None,
        "silenced_until": None if alarm.silenced_until is None else at_text(alarm.silenced_until),
        "silence_reason": alarm.silence_reason or None,
        "notes": [{"at": at_text(note.at), "actor": note.actor, "text": note.text} for note in alarm.notes],
    }


def alarms_json(fleet: Fleet) -> Row:
    """All alarms with the commands that plan their mend, what is silenced, and the notes of the shift."""
    from opsconsole.core.mends import mends  # here: plans are not needed to say how a fleet is

    return {
        "at": at_text(fleet.at),
        "alarms": [alarm_json(alarm) | {"mends": [mend.command for mend in mends(fleet, alarm)]} for alarm in fleet.alarms],
        "silences": [
            {"what": one.what, "until": at_text(one.until), "reason": one.reason, "actor": one.actor, "at": at_text(one.at)}
            for one in fleet.alarm_book.silences
        ],
        "shift_notes": [{"at": at_text(note.at), "actor": note.actor, "text": note.text} for note in fleet.alarm_book.notes_of(SHIFT)],
    }
