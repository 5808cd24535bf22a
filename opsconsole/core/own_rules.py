"""Rules that the fleet file adds: any figure that nodes tell against a limit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from opsconsole.core.alarm_memory import Found
from opsconsole.core.alarm_rules import Rule
from opsconsole.core.fleet import Fleet, Worker
from opsconsole.core.headlines import fresh_gpus
from opsconsole.core.totals import max_by_node
from opsconsole.core.wording import number_text
from opsconsole.protocol import GPU_COLUMNS, NODE_COLUMNS

WORKER_FIGURES = (
    "queue_depth", "running", "tokens_per_s", "requests_per_s", "ttft_p50_ms", "ttft_p95_ms", "itl_p50_ms", "itl_p95_ms", "kv_used_pct",
    "restarts",
)
_MODEL_SUMS = ("running", "tokens_per_s", "requests_per_s")
_MODEL_WORST = ("ttft_p95_ms", "itl_p95_ms", "kv_used_pct")
MODEL_FIGURES = ("queue_depth", "ready", *_MODEL_SUMS, *_MODEL_WORST)
METRICS = (
    *(f"gpu.{name}" for name in (*GPU_COLUMNS, "mem_used_pct") if name not in ("throttle", "xid")),
    *(f"node.{name}" for name in NODE_COLUMNS), *(f"worker.{name}" for name in WORKER_FIGURES),
    *(f"model.{name}" for name in MODEL_FIGURES),
)
"""What a rule of the fleet file may look at. Of a node's GPUs the highest counts, or, below a limit, the lowest."""


def find_own_figures(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    kind, _, column = rule.metric.partition(".")
    yield from _FINDERS[kind](fleet, rule, column, stands)


def _found(rule: Rule, subject: str, value: float, node: str = "", groups: tuple[str, ...] = ()) -> Found:
    unit, side = _unit(rule.metric), "below" if rule.is_below else "above"
    brief = f"{rule.name}: {rule.metric} {side} {number_text(rule.limit, unit=unit)}"
    words = f"{subject}  {rule.name}: {number_text(value, 1 if abs(value) < 10 else 0, unit)}, {side} {number_text(rule.limit, unit=unit)}"
    return Found(rule.name, subject, rule.severity, words, rule.metric, node, brief, groups=groups)


def _unit(metric: str) -> str:
    units = (("_per_s", "/s"), ("_mib_s", "MiB/s"), ("_pct", "%"), ("_mib", "MiB"), ("_ms", "ms"), ("_mhz", "MHz"), ("_w", "W"),
             ("_c", "°C"), ("_j", "J"))
    return next((unit for ending, unit in units if metric.endswith(ending)), "")


def _of_gpus(fleet: Fleet, rule: Rule, column: str, stands: set[str]) -> Iterator[Found]:
    if not fleet.gpu_values.shape[1]:
        return
    if column == "mem_used_pct":
        values = fresh_gpus(fleet, "mem_used_mib") / fleet.roster.gpu_fact("mem_total_mib") * 100.0
    else:
        values = fresh_gpus(fleet, column)
    by_node = -max_by_node(fleet.roster, -values) if rule.is_below else max_by_node(fleet.roster, values)
    yield from _of_rows(fleet, rule, by_node, stands)


def _of_nodes(fleet: Fleet, rule: Rule, column: str, stands: set[str]) -> Iterator[Found]:
    yield from _of_rows(fleet, rule, np.where(fleet.answering, fleet.node(column), np.nan), stands)


def _of_rows(fleet: Fleet, rule: Rule, values: np.ndarray, stands: set[str]) -> Iterator[Found]:
    limits = [limit for limit in (rule.limit, rule.clear_limit) if limit is not None]
    with np.errstate(invalid="ignore"):
        near = values < max(limits) if rule.is_below else values > min(limits)
    for row in np.flatnonzero(near).tolist():
        name = fleet.roster.nodes[row].name
        if rule.is_beyond(values[row], name in stands):
            yield _found(rule, name, float(values[row]), name)


def _of_workers(fleet: Fleet, rule: Rule, column: str, stands: set[str]) -> Iterator[Found]:
    for worker in fleet.heard_workers:
        value = getattr(worker, column)
        if value is not None and rule.is_beyond(value, worker.name in stands):
            yield _found(rule, worker.name, value, worker.node, (f"model {worker.model}",))


def _of_models(fleet: Fleet, rule: Rule, column: str, stands: set[str]) -> Iterator[Found]:
    for model in fleet.roster.models:
        value = _of_model(fleet, model.name, column)
        if value is not None and rule.is_beyond(value, model.name in stands):
            yield _found(rule, model.name, value)


def _of_model(fleet: Fleet, model: str, column: str) -> float | None:
    workers: tuple[Worker, ...] = fleet.heard_workers_of_model.get(model, ())
    if column == "queue_depth":
        return fleet.queue_of_model(model)
    if column == "ready":
        return float(sum(worker.state == "READY" for worker in workers))
    known = [value for worker in workers if (value := getattr(worker, column)) is not None]
    if not known:
        return None
    return float(sum(known)) if column in _MODEL_SUMS else float(max(known))


_FINDERS = {"gpu": _of_gpus, "node": _of_nodes, "worker": _of_workers, "model": _of_models}
