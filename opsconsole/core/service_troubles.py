"""What can be wrong with workers, models, sites and the console itself at one moment: one finder a rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np

from opsconsole.core.alarm import WARNING
from opsconsole.core.alarm_memory import Found, Memory
from opsconsole.core.alarm_rules import Rule
from opsconsole.core.burning import wait_s, worst_burn
from opsconsole.core.fleet import ANSWERING, CONNECTING, STALE, Fleet, Worker
from opsconsole.core.headlines import worst_of
from opsconsole.core.power import W_PER_KW, drawn_w, feed_name, feeds
from opsconsole.core.wording import age_text

STARTING = ("PENDING", "STARTING")
PEERS_LEAST = 3
"""Workers of a model on one chip among which one can be told to be slower."""
DEMAND_SEEN_S = 30.0
"""Before that what grows is what is known: nodes are still being found."""
GROWTH_LEAST = 0.02
"""Of all slots a minute: what grows by less wanders."""
IMBALANCE_LEAST_MS = 5.0
"""A smaller distance from the peers is no trouble, whatever the ratio."""


def find_workers(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    for worker in fleet.heard_workers:
        if worker.state in ("FAILED", "NOT_READY"):
            severity = rule.severity if worker.state == "FAILED" else WARNING
            yield Found("worker", worker.name, severity, f"{worker.name}  {worker.state}", worker.reason, worker.node, worker.state,
                        at_once=worker.state == "FAILED", groups=(f"model {worker.model}",))


def find_crash_loops(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    restarted = fleet.alarm_memory.restarted
    if not restarted:
        return
    for worker in fleet.heard_workers:
        times = len(restarted.get(worker.name, ()))
        if times > rule.limit:
            words = f"started again {times} times within 10 min"
            yield Found("crash-loop", worker.name, rule.severity, f"{worker.name}  {words}", worker.reason, worker.node, "crash loop",
                        groups=(f"model {worker.model}",))


def find_short_models(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    """Workers on a node that was heard seconds ago count as they were: a late sample must not page anybody."""
    if (fleet.reach == CONNECTING).any():
        return
    lately = {node.name for node, reach in zip(fleet.roster.nodes, fleet.reach.tolist(), strict=True) if reach in (*ANSWERING, STALE)}
    for model in fleet.roster.models:
        workers = fleet.workers_of_model.get(model.name, ()) if model.min_ready else ()
        ready = sum(worker.state == "READY" and worker.node in lately for worker in workers)
        if ready >= model.min_ready:
            continue
        unheard = [worker.node for worker in workers if worker.state == "READY" and worker.node not in lately]
        starting = sum(worker.state in STARTING and worker.node in lately for worker in workers)
        detail = f"{starting} starting" if starting else "none starting"
        detail += f", {len(unheard)} not heard" if unheard else ""
        because = tuple(dict.fromkeys(unheard)) if ready + len(unheard) >= model.min_ready else ()
        words = f"{model.name}  {ready} of {model.min_ready} workers ready"
        yield Found("ready", model.name, WARNING if starting else rule.severity, words, detail, because=because)


def find_latencies(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    """Of TTFT or ITL, as the rule is called: how fast the budget burns decides, the newest figure is told."""
    for model in fleet.roster.models:
        objective_ms = model.ttft_p95_ms if rule.name == "ttft" else model.itl_p95_ms
        burn = _burn(fleet, rule, model.name, stands) if objective_ms is not None else None
        if burn is None:
            continue
        worst_ms = worst_of(fleet.heard_workers_of_model.get(model.name, ()), f"{rule.name}_p95_ms")
        queue = fleet.queue_of_model(model.name)
        shown = f"{worst_ms:.0f} ms" if worst_ms == worst_ms else "not known"
        words = f"{model.name}  {rule.name.upper()} p95 {shown}, objective {objective_ms:.0f} ms"
        waiting = "" if queue is None else f"{queue:.0f} queued, "
        yield Found(rule.name, model.name, rule.severity, words, waiting + _burn_words(burn), brief=f"{rule.name.upper()} over objective")


def find_queues(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    """Workers measure from when they get a request: what waits at the router beyond the objective is seen only here."""
    for model in fleet.roster.models:
        burn = _burn(fleet, rule, model.name, stands) if model.ttft_p95_ms is not None else None
        if burn is None:
            continue
        waiting_s = wait_s(fleet, model, fleet.heard_workers_of_model.get(model.name, ()))
        queue = fleet.queue_of_model(model.name) or 0.0
        words = f"{model.name}  {queue:.0f} queued, a wait of {waiting_s:.0f} s" if waiting_s is not None else (
            f"{model.name}  requests waited too long, {queue:.0f} queued now")
        yield Found("queue", model.name, rule.severity, words, f"objective {model.ttft_p95_ms:.0f} ms, {_burn_words(burn)}",
                    brief="requests wait")


def _burn(fleet: Fleet, rule: Rule, model: str, stands: set[str]) -> tuple[float, float] | None:
    burns = fleet.alarm_memory.burns.get((rule.name, model))
    limit = rule.clear_limit if model in stands and rule.clear_limit is not None else rule.limit
    return worst_burn(burns, limit) if burns is not None else None


def _burn_words(burn: tuple[float, float]) -> str:
    rate, window_s = burn
    return f"error budget burns {rate:.0f}x over {age_text(window_s)}"


def find_saturation(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    for model, (ahead_s, level, slots) in saturations(fleet, fleet.alarm_memory).items():
        if rule.is_beyond(ahead_s, model in stands):
            when = f"in {age_text(ahead_s)}" if ahead_s > 0 else "now"
            yield Found("saturation", model, rule.severity, f"{model}  all {slots:.0f} slots taken {when}",
                        f"{level:.0f} requests in flight or waiting", brief="saturated soon")


def saturations(fleet: Fleet, memory: Memory) -> dict[str, tuple[float, float, float]]:
    """(seconds until all slots are taken, requests in flight, slots) of each model whose demand grows, or has taken them all."""
    found = {}
    for model, demand in memory.demands.items():
        workers = fleet.heard_workers_of_model.get(model, ())
        slots = float(sum(worker.slots or 1 for worker in workers if worker.state == "READY"))
        level = min(demand.level, demand.now)
        if not slots or level < slots / 2:
            continue  # half empty: a slope measured on so few requests says nothing of the next minutes
        if level >= slots:
            found[model] = 0.0, level, slots
        elif demand.seen_s >= DEMAND_SEEN_S and demand.slope_per_s * 60.0 > GROWTH_LEAST * slots:
            found[model] = (slots - level) / demand.slope_per_s, level, slots
    return found


def find_imbalance(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    for model, workers in fleet.heard_workers_of_model.items():
        if len(workers) >= PEERS_LEAST:
            for peers in _peers(fleet, workers):
                yield from _slower(rule, stands, model, peers)


def _peers(fleet: Fleet, workers: Sequence[Worker]) -> Iterator[list[tuple[Worker, float]]]:
    """READY workers that decode, with their ITL, by chip."""
    nodes, row_of = fleet.roster.nodes, fleet.roster.node_row
    by_chip: dict[str, list[tuple[Worker, float]]] = {}
    for worker in workers:
        if worker.state == "READY" and worker.itl_p50_ms is not None and worker.running and worker.node in row_of:
            by_chip.setdefault(nodes[row_of[worker.node]].chip, []).append((worker, worker.itl_p50_ms))
    yield from (peers for peers in by_chip.values() if len(peers) >= PEERS_LEAST)


def _slower(rule: Rule, stands: set[str], model: str, peers: list[tuple[Worker, float]]) -> Iterator[Found]:
    middle_ms = median([itl_ms for _, itl_ms in peers])
    for worker, itl_ms in peers:
        if itl_ms - middle_ms > IMBALANCE_LEAST_MS and rule.is_beyond(itl_ms / max(middle_ms, 1e-9), worker.name in stands):
            words = f"{worker.name}  decodes in {itl_ms:.0f} ms a token, its {len(peers) - 1} peers in {middle_ms:.0f} ms"
            yield Found("imbalance", worker.name, rule.severity, words, f"of {model}", worker.node, "slower than its peers",
                        groups=(f"model {model}",))


def find_stranded(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    """GPUs that do nothing for anybody, on nodes that take workers, while requests of some model wait."""
    waiting = {model.name: queue for model in fleet.roster.models if (queue := fleet.queue_of_model(model.name) or 0.0) >= 1}
    if not waiting or not fleet.gpu_values.shape[1]:
        return
    free = fleet.answering[fleet.roster.gpu_node] & (fleet.gpu("util_pct") < 1)
    for row in fleet.cordons:
        free[fleet.roster.gpus_of(row)] = False
    if not free.any():
        return
    for worker in fleet.workers:
        free[[row for index in worker.gpus if (row := fleet.roster.gpu_row.get((worker.node, index))) is not None]] = False
    sites = np.array([node.site for node in fleet.roster.nodes])[fleet.roster.gpu_node]
    worst = max(waiting, key=waiting.get)
    for site in sorted(set(sites[free].tolist())):
        count = int((free & (sites == site)).sum())
        if count > rule.limit:
            words = f"{site or fleet.roster.fleet_name or 'fleet'}  {count} GPUs without a worker"
            yield Found("stranded", site or "fleet", rule.severity, words, f"while {waiting[worst]:.0f} requests of {worst} wait",
                        size=count)


def find_power(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    for feed in feeds(fleet.roster):
        if feed.power_budget_kw:
            drawn_kw, name = drawn_w(fleet, feed) / W_PER_KW, feed_name(feed)
            if rule.is_beyond(drawn_kw / feed.power_budget_kw * 100.0, name in stands):
                yield Found("power", name, rule.severity, f"{name}  {drawn_kw:.1f} kW drawn, budget {feed.power_budget_kw:.1f} kW")


def find_router(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    if fleet.router_cause:
        words = "keeps old routes" if fleet.router_queue else "does not answer"
        yield Found("router", "router", rule.severity, f"router  {words}", fleet.router_cause)


def find_history(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    if fleet.history_cause:
        yield Found("history", "history", rule.severity, "history  pauses, nothing is kept", fleet.history_cause)


_OWN_WORDS = {"audit": "audit  at risk: without it nothing is done", "notify": "notify  alarms do not reach those who should be told"}


def find_own(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    """What is wrong with the console itself, as the collector told it."""
    if cause := fleet.own_causes.get(rule.name, ""):
        yield Found(rule.name, rule.name, rule.severity, _OWN_WORDS[rule.name], cause)
