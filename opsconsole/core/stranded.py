"""GPUs that stand idle and can take no worker: why, what they cost, and what would free them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from opsconsole.core.fleet import LIVE, Fleet, Model, Site
from opsconsole.core.learned import NOTHING_LEARNED, Learned
from opsconsole.core.money import gpu_prices
from opsconsole.core.power import (
    W_PER_KW,
    Feed,
    allowed_w,
    feed_name,
    feeds,
    feeds_of_nodes,
    gpus_of_feed,
    overhead_w,
    pue_of,
    reckoned_w,
    rises_w,
)
from opsconsole.core.room import GONE, places_of_nodes, room_of_gpus
from opsconsole.core.speeds import BANDWIDTH_GB_S, chips_of
from opsconsole.core.targets import gpus_text

WHOLE = 1.0 - 1e-6


@dataclass(frozen=True, slots=True)
class Stranded:
    """Idle GPUs of one node (of one site or rack for "power") that cannot be used for one reason."""

    reason: str
    """cordoned: the node takes no workers; memory: somebody else has it; too few: no model needs so few on one node; chip: no model is in
    time there, or nothing is known of it; power: the site has no watts for it; broken: the GPU reports an error."""
    site: str
    node: str
    """"" for a site without power, "rack R of S" for a rack without."""
    chip: str
    gpus: int
    text: str
    """Why, with the numbers."""
    mend: str
    """What would free it: a command, or what to do."""
    usd_per_h: float | None
    """What they cost meanwhile; None without a price."""


def stranded(fleet: Fleet, learned: Learned = NOTHING_LEARNED) -> tuple[Stranded, ...]:
    """All idle GPUs on nodes that answer which no worker of any model may take now, those that cost most first."""
    finder = _Finder(fleet, learned)
    found = [one for row in finder.rows() for one in finder.of_node(row)] + list(finder.by_power())
    return tuple(sorted(found, key=lambda one: (-(one.usd_per_h or 0.0), -one.gpus, one.site, one.node, one.reason)))


class _Finder:
    def __init__(self, fleet: Fleet, learned: Learned) -> None:
        self.fleet, self.roster, self.learned = fleet, fleet.roster, learned
        self.chips, self.prices = chips_of(fleet.roster), gpu_prices(fleet)
        self.room = room_of_gpus(fleet, {})
        taken = [row for worker in fleet.workers if worker.state not in GONE for gpu in worker.gpus
                 if (row := fleet.roster.gpu_row.get((worker.node, gpu))) is not None]
        self.idle = fleet.answering[fleet.roster.gpu_node].copy()
        self.idle[taken] = False
        self.places = {model.name: places_of_nodes(fleet, model, self.room) for model in fleet.roster.models}
        self.served = [model for model in fleet.roster.models if model.engine in fleet.roster.engines] or list(fleet.roster.models)

    def rows(self) -> list[int]:
        """Nodes with an idle GPU."""
        return np.unique(self.roster.gpu_node[self.idle]).tolist()

    def of_node(self, row: int) -> Iterator[Stranded]:
        for reason, gpus in self.parts(row):
            node = self.roster.nodes[row]
            text, mend = _WORDS[reason](self, row, gpus)
            cost = float(self.prices[gpus].sum())
            yield Stranded(reason, node.site, node.name, self.chips[row], len(gpus), text, mend, None if cost != cost else cost)

    def parts(self, row: int) -> Iterator[tuple[str, list[int]]]:
        """(reason, rows of GPUs): of the idle GPUs of a node, the first reason that holds for each; none for those that can be used."""
        span = self.roster.gpus_of(row)
        idle = [gpu for gpu in range(span.start, span.stop) if self.idle[gpu]]
        broken = [gpu for gpu in idle if gpu in self.fleet.gpu_errors]
        if broken:
            yield "broken", broken
        idle = [gpu for gpu in idle if gpu not in self.fleet.gpu_errors]
        if row in self.fleet.cordons and idle:
            yield "cordoned", idle
            return
        occupied = [gpu for gpu in idle if self.room[gpu] < WHOLE]
        if occupied:
            yield "memory", occupied
        idle = [gpu for gpu in idle if self.room[gpu] >= WHOLE]
        fitting = [model for model in self.served if not self._too_slow(model, row)]
        if idle and self.served and not fitting:
            yield "chip", idle
        elif idle and self.served and not any(self.places[model.name][row] for model in fitting):
            yield "too few", idle

    def _too_slow(self, model: Model, row: int) -> bool:
        """Whether a model is known not to keep its ITL objective on a chip even with one request, or nothing is known of the chip."""
        rate = self.learned.rates.get((model.name, self.chips[row]))
        if rate is None:
            return self.chips[row] not in BANDWIDTH_GB_S and not self._was_seen(model.name, row)
        return rate.running_within(model.slots, model.itl_p95_ms, None)[0] < 1.0

    def _was_seen(self, model: str, row: int) -> bool:
        rows = self.roster.node_row
        return any(self.chips[rows[worker.node]] == self.chips[row] for worker in self.fleet.workers_of_model.get(model, ())
                   if worker.node in rows)

    def by_power(self) -> Iterator[Stranded]:
        """Free GPUs that a site or a rack has no watts for: those that do not fit under its budget, each at its limit, the thriftiest
        first."""
        gone = np.zeros(len(self.idle), bool)
        gone[[gpu for row in self.rows() for _, gpus in self.parts(row) for gpu in gpus]] = True
        rises, hang, free = rises_w(self.fleet), feeds_of_nodes(self.roster), np.flatnonzero(self.idle & ~gone)
        left_w = {feed_name(feed): may_w - reckoned_w(self.fleet, feed) for feed in feeds(self.roster)
                  if (may_w := allowed_w(self.fleet, feed)) is not None}
        lost: dict[str, list[int]] = {}
        for gpu in free[np.argsort(rises[free], kind="stable")].tolist():
            here = [(feed_name(feed), float(rises[gpu]) * pue_of(feed)) for feed in hang[self.roster.gpu_node[gpu]]]
            short = next((name for name, watts in here if watts > left_w.get(name, np.inf)), None)
            if short is not None:
                lost.setdefault(short, []).append(gpu)
                continue
            for name, watts in here:
                left_w[name] = left_w.get(name, np.inf) - watts
        named = {feed_name(feed): feed for feed in feeds(self.roster)}
        for name, gpus in lost.items():
            yield self._without_power(named[name], free[np.isin(free, gpus_of_feed(self.roster, named[name]))], gpus)

    def _without_power(self, feed: Feed, free: np.ndarray, lost: list[int]) -> Stranded:
        """free: all free GPUs on the feed; lost: those of them that it cannot feed."""
        may_w, now_w = allowed_w(self.fleet, feed) or 0.0, reckoned_w(self.fleet, feed)
        asked_w, cost = float(rises_w(self.fleet)[free].sum()) * pue_of(feed), float(self.prices[lost].sum())
        text = (f"{len(free)} free GPUs may rise by {asked_w / W_PER_KW:.1f} kW, {feed_name(feed)} has "
                f"{max(may_w - now_w, 0.0) / W_PER_KW:.1f} kW left of {feed.power_budget_kw:.1f} kW")
        chips = sorted({self.chips[self.roster.gpu_node[gpu]] for gpu in lost})
        fair_w = max(may_w / pue_of(feed) - overhead_w(self.fleet, feed), 0.0)
        site = feed.name if isinstance(feed, Site) else feed.site
        cap = f"opsconsole cap {site} --watts {fair_w:.0f} --plan"
        mend, where = (cap, "") if isinstance(feed, Site) else ("opsconsole rebalance --objective power --plan", feed_name(feed))
        return Stranded("power", site, where, "/".join(chips), len(lost), text, mend, None if cost != cost else cost)


def _broken(finder: _Finder, row: int, gpus: list[int]) -> tuple[str, str]:
    node = finder.roster.nodes[row].name
    return finder.fleet.gpu_errors[gpus[0]], f"cordon {node}, drain it and reset the GPU or have it replaced"


def _cordoned(finder: _Finder, row: int, gpus: list[int]) -> tuple[str, str]:
    node, cordon = finder.roster.nodes[row].name, finder.fleet.cordons[row]
    return f"cordoned by {cordon.actor or 'somebody'}: {cordon.reason or 'no reason given'}", f"opsconsole uncordon {node}"


def _memory(finder: _Finder, row: int, gpus: list[int]) -> tuple[str, str]:
    span, fleet = finder.roster.gpus_of(row), finder.fleet
    used = float(np.nansum(fleet.gpu("mem_used_mib")[gpus])) / 1024
    known = [process for process in fleet.processes.get(row, ()) if process.gpu + span.start in gpus]
    whose = ", ".join(f"{process.name} (pid {process.pid})" for process in known[:2]) or "a process that its driver does not name"
    indexes = gpus_text(finder.roster.gpu_index[gpus].tolist())
    if fleet.reach[row] != LIVE:
        return f"{finder.roster.nodes[row].name} reads no GPU", "opsconsole doctor"
    return f"{used:.1f} GiB of GPU {indexes} are in use by {whose}", f"end {whose} on {finder.roster.nodes[row].name}"


def _too_few(finder: _Finder, row: int, gpus: list[int]) -> tuple[str, str]:
    least = min(model.gpus for model in finder.served)
    node = finder.roster.nodes[row].name
    return f"{len(gpus)} free on the node, a worker takes {least} or more", f"drain a small worker of {node}, then launch"


def _chip(finder: _Finder, row: int, gpus: list[int]) -> tuple[str, str]:
    chip = finder.chips[row] or "of no known chip"
    if chip in BANDWIDTH_GB_S:
        return f"no model keeps its ITL objective on {chip}, as measured", "serve a smaller model there, or give its nodes back"
    text = f"nothing is known of the chip {chip}: no data sheet here, no model was seen on it"
    return text, "launch one worker there by name to measure it"


_WORDS = {"broken": _broken, "cordoned": _cordoned, "memory": _memory, "too few": _too_few, "chip": _chip}
