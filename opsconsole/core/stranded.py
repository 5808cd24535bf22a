"""GPUs that stand idle and can take no worker: why, what they cost, and what would free them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from opsconsole.core.fleet import LIVE, Fleet, Model, Site
from opsconsole.core.learned import NOTHING_LEARNED, Learned
from opsconsole.core.money import gpu_prices
from opsconsole.core.power import W_PER_KW, allowed_w, at_site, overhead_w, pue_of, reckoned_w, rises_w
from opsconsole.core.room import GONE, places_of_nodes, room_of_gpus
from opsconsole.core.speeds import BANDWIDTH_GB_S, chips_of
from opsconsole.core.targets import gpus_text

WHOLE = 1.0 - 1e-6


@dataclass(frozen=True, slots=True)
class Stranded:
    """Idle GPUs of one node (of one site for "power") that cannot be used for one reason."""

    reason: str
    """cordoned: the node takes no workers; memory: somebody else has it; too few: no model needs so few on one node; chip: no model is in
    time there, or nothing is known of it; power: the site has no watts for it; broken: the GPU reports an error."""
    site: str
    node: str
    """"" when several nodes share the reason."""
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
        """Free GPUs that a site has no watts for: as many as do not fit under its budget with each at its limit."""
        gone = np.zeros(len(self.idle), bool)
        gone[[gpu for row in self.rows() for _, gpus in self.parts(row) for gpu in gpus]] = True
        rises = rises_w(self.fleet)
        for site in self.roster.sites:
            may_w = allowed_w(self.fleet, site)
            free = np.flatnonzero(self.idle & ~gone & at_site(self.fleet, site.name))
            if may_w is None or not len(free):
                continue
            left_w = max(may_w - reckoned_w(self.fleet, site), 0.0)
            asked_w = np.sort(rises[free]) * pue_of(site)
            fitting = int(np.searchsorted(np.cumsum(asked_w), left_w, side="right"))
            if fitting < len(free):
                yield self._without_power(site, free, len(free) - fitting, left_w, float(asked_w.sum()))

    def _without_power(self, site: Site, free: np.ndarray, count: int, left_w: float, asked_w: float) -> Stranded:
        dearest = np.sort(self.prices[free])[::-1][:count]
        chips = {self.chips[self.roster.gpu_node[gpu]] for gpu in free.tolist()}
        text = (f"{len(free)} free GPUs may rise by {asked_w / W_PER_KW:.1f} kW, {site.name} has {left_w / W_PER_KW:.1f} kW left "
                f"of {site.power_budget_kw:.1f} kW")
        spare_w = (reckoned_w(self.fleet, site) + asked_w) / pue_of(site)
        mend = f"opsconsole cap {site.name} --watts {_fair_w(self.fleet, site, spare_w):.0f} --plan"
        cost = float(dearest.sum())
        return Stranded("power", site.name, "", "/".join(sorted(chips)), count, text, mend, None if cost != cost else cost)


def _fair_w(fleet: Fleet, site: Site, asked_w: float) -> float:
    """W of all GPUs of a site together with which all of them fit under its budget."""
    return min(asked_w, max((allowed_w(fleet, site) or 0.0) / pue_of(site) - overhead_w(fleet, site), 0.0))


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
