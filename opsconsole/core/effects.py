"""What a plan changes, in figures: now, at the worst moment while it is under way, and after it.

Every figure starts from what is measured now; what follows is the simplest model that errs on the careful side, named at its function.
What is not known is said as "–". The words are made here once, so that a screen, a text and JSON say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from opsconsole.core.fleet import Fleet, Rack, Site, Worker
from opsconsole.core.guards import LEAVING, ready_at
from opsconsole.core.load import Load, load_of
from opsconsole.core.moments import Moment, moments
from opsconsole.core.money import gpu_prices
from opsconsole.core.power import (
    Feed,
    allowed_w,
    draws_w,
    falls_w,
    feed_name,
    feeds,
    feeds_of_nodes,
    gpus_of_feed,
    limits_w,
    pue_of,
    reckoned_w,
    rises_w,
)
from opsconsole.core.room import GONE
from opsconsole.core.speeds import Speeds
from opsconsole.core.steps import Change, Step
from opsconsole.core.wording import UNKNOWN, mib_text, number_text, power_text

GROWS = "grows"
"""Said of a queue that is filled faster than it is emptied."""
RACKS_SHOWN = 3
"""A plan names the power of no more racks than these."""


def changes_of(fleet: Fleet, steps: Sequence[Step], speeds: Speeds | None = None) -> tuple[Change, ...]:
    """The changes by launches, drains, stops and undrains among steps; () when there are none."""
    if not steps:
        return ()
    scene = _Scene(fleet, steps, speeds or Speeds(fleet))
    return (*scene.model_changes(), *scene.power_changes(), *scene.memory_change(), *scene.price_change())


def queue_wait_s(load: Load, capacity: float | None) -> float | None:
    """Seconds that a request which comes now waits: the waiting tokens over the rate at which ready workers serve when full (first come,
    first served; Little's law for the queue alone). inf: workers can serve less than is served now, so the queue grows. None: unknown."""
    if capacity is None or load.waiting is None:
        return None
    if capacity < (load.served_tokens_per_s or 0.0) * 0.999 or (capacity == 0 and load.waiting > 0):
        return float("inf")
    if load.waiting == 0:
        return 0.0
    return None if load.waiting_tokens is None or not capacity else load.waiting_tokens / capacity


def ttft_p95_ms(now_ms: float | None, wait_now_s: float | None, wait_then_s: float | None) -> float | None:
    """TTFT when the wait changes: what is measured now, with the difference of the waits; the rest (prefill, network) stays as it is, and
    what no queue explains never falls below a tenth of the present value. None: unknown."""
    if now_ms is None or wait_now_s is None or wait_then_s is None or not np.isfinite(wait_now_s):
        return None
    return max(now_ms + (wait_then_s - wait_now_s) * 1000.0, now_ms * 0.1)


def _seconds(value: float | None) -> str:
    if value is not None and np.isinf(value):
        return GROWS
    return number_text(value, 0 if value is not None and value >= 10 else 1, "s")


def _milliseconds(value: float | None) -> str:
    return GROWS if value is not None and np.isinf(value) else number_text(value, 0, "ms")


def _highest(values: Sequence[float | None]) -> float | None:
    return None if None in values else max(values)


class _Scene:
    """A plan laid over the fleet: what is there at each of its moments."""

    def __init__(self, fleet: Fleet, steps: Sequence[Step], speeds: Speeds) -> None:
        self.fleet, self.steps, self.speeds = fleet, steps, speeds
        self.moments = moments(steps)
        everything = frozenset(range(len(steps)))
        self.now, self.end = Moment(frozenset(), frozenset()), Moment(everything, everything)
        self.workers = {worker.name: worker for worker in fleet.workers}

    def model_changes(self) -> list[Change]:
        """For each model that the plan touches: ready workers, queue wait, TTFT p95."""
        touched = sorted({self._model(step) for step in self.steps} - {""})
        ready = ready_at(self.fleet, self.steps, (self.now, *self.moments, self.end))
        found = []
        for model in touched:
            load = load_of(self.fleet, model, self.speeds)
            counts = [ready[moment][model] for moment in (self.now, *self.moments, self.end)]
            found.append(Change(f"ready workers of {model}", str(counts[0]), str(min(counts)), str(counts[-1])))
            waits = [queue_wait_s(load, self._capacity(load, model, moment)) for moment in (self.now, *self.moments, self.end)]
            worst = _highest(waits[:-1])
            found.append(Change(f"queue wait of {model}", _seconds(waits[0]), _seconds(worst), _seconds(waits[-1])))
            told = [worker.ttft_p95_ms for worker in load.ready if worker.ttft_p95_ms is not None]
            now_ms = max(told, default=None)
            then = [_milliseconds(ttft_p95_ms(now_ms, waits[0], wait)) for wait in (worst, waits[-1])]
            found.append(Change(f"TTFT p95 of {model}", _milliseconds(now_ms), *then))
        return found

    def _model(self, step: Step) -> str:
        if step.order["op"] == "launch":
            return step.order["model"]
        worker = self.workers.get(step.worker)
        return worker.model if worker is not None and step.order["op"] in (*LEAVING, "undrain") else ""

    def _capacity(self, load: Load, model: str, moment: Moment) -> float | None:
        """Tokens a second that the ready workers of a model can serve at a moment."""
        leaving = {self.steps[number].worker for number in moment.begun if self.steps[number].order["op"] in LEAVING}
        staying = self.speeds.total(worker for worker in load.ready if worker.name not in leaving)
        coming = [self._speed(self.steps[number]) for number in moment.ended
                  if self._model(self.steps[number]) == model and self.steps[number].order["op"] in ("launch", "undrain")]
        return None if staying is None or None in coming else staying + sum(coming)

    def _speed(self, step: Step) -> float | None:
        row = self.fleet.roster.node_row.get(step.node)
        return None if row is None else self.speeds.of(self._model(step), self.speeds.chips[row])

    def power_changes(self) -> list[Change]:
        """W of each feed touched: what is drawn now; launched GPUs at their limit, because that is what they may draw; GPUs of workers
        that have surely gone as if idle, in the end only."""
        rises, falls = rises_w(self.fleet), falls_w(self.fleet)
        launched = {moment: self._launched(moment.begun) for moment in (self.now, *self.moments)}
        risen = self._launched(self.end.ended)
        found = []
        for feed in _feeds_at(self.fleet, {self.fleet.roster.node_row[step.node] for step in self.steps
                                           if step.order["op"] in ("launch", *LEAVING) and step.node in self.fleet.roster.node_row}):
            here, pue = gpus_of_feed(self.fleet.roster, feed), pue_of(feed)
            now_w = reckoned_w(self.fleet, feed) if here.size else float("nan")
            peak_w = now_w + max(float(rises[here][begun[here]].sum()) for begun in launched.values()) * pue
            gone_w = float(falls[here][(self._emptied & ~risen)[here]].sum())
            found.append((feed, now_w, peak_w, now_w + (float(rises[here][risen[here]].sum()) - gone_w) * pue))
        return _power_changes(self.fleet, found)

    def _launched(self, numbers: frozenset[int]) -> np.ndarray:
        """GPUs that launches among these steps take, (G,) bool."""
        return self._marked((step.node, gpu) for number in numbers if (step := self.steps[number]).order["op"] == "launch"
                            for gpu in step.order["gpus"])

    @cached_property
    def _emptied(self) -> np.ndarray:
        """GPUs of which no worker is left after the plan, though there is one now, (G,) bool."""
        leaving = {step.worker for step in self.steps if step.order["op"] in LEAVING}
        there = [worker for worker in self.fleet.workers if worker.state not in GONE]
        gone = self._marked((worker.node, gpu) for worker in there if worker.name in leaving for gpu in worker.gpus)
        return gone & ~self._marked((worker.node, gpu) for worker in there if worker.name not in leaving for gpu in worker.gpus)

    def _marked(self, gpus) -> np.ndarray:
        marked = np.zeros(len(self.fleet.roster.gpu_uuid), bool)
        rows = [row for key in gpus if (row := self.fleet.roster.gpu_row.get(key)) is not None]
        marked[rows] = True
        return marked

    def memory_change(self) -> list[Change]:
        """GPU memory in use on the nodes touched. A launched worker takes what workers of its model take now (median of their GPUs),
        else it is not known; a drained one gives back what its GPUs hold when no other worker shares them."""
        nodes = sorted({self.fleet.roster.node_row[step.node] for step in self.steps
                        if step.order["op"] in ("launch", *LEAVING) and step.node in self.fleet.roster.node_row})
        if not nodes:
            return []
        used = self.fleet.gpu("mem_used_mib")
        here = np.isin(self.fleet.roster.gpu_node, nodes)
        now = float(used[here].sum()) if here.any() else float("nan")
        takes = {step.worker: self._takes_mib(step) for step in self.steps if step.order["op"] == "launch"}
        peaks = [now + self._taken(moment.begun, takes) - float(np.nan_to_num(used[self._freed(moment.ended)]).sum())
                 for moment in (self.now, *self.moments)]
        after = now + self._taken(self.end.ended, takes) - float(np.nan_to_num(used[self._emptied]).sum())
        where = self.fleet.roster.nodes[nodes[0]].name if len(nodes) == 1 else f"{len(nodes)} nodes"
        worst = float("nan") if np.isnan(peaks).any() else max(peaks)
        return [Change(f"GPU memory of {where}", mib_text(now), mib_text(worst), mib_text(after))]

    def _taken(self, numbers: frozenset[int], takes: dict[str, float]) -> float:
        return sum(takes.get(self.steps[number].worker, 0.0) for number in sorted(numbers) if self.steps[number].order["op"] == "launch")

    def _freed(self, ended: frozenset[int]) -> np.ndarray:
        """GPUs of workers that have surely gone by then and shared them with nobody, (G,) bool."""
        return self._emptied & self._held_by(self.steps[number].worker for number in ended if self.steps[number].order["op"] in LEAVING)

    def _held_by(self, names: Iterable[str]) -> np.ndarray:
        """GPUs that these workers hold now, (G,) bool."""
        found = [self.workers[name] for name in names if name in self.workers]
        return self._marked((worker.node, gpu) for worker in found if worker.state not in GONE for gpu in worker.gpus)

    def _takes_mib(self, step: Step) -> float:
        """MiB that a launched worker takes; NaN unknown."""
        rows = self.fleet.roster.gpu_row
        share = step.order.get("gpu_share", 1.0)
        like = [rows[worker.node, gpu] for worker in self.fleet.heard_workers_of_model.get(step.order["model"], ())
                if worker.state == "READY" for gpu in worker.gpus if (worker.node, gpu) in rows]
        known = self.fleet.gpu("mem_used_mib")[like] if like and share == 1.0 else np.zeros(0)
        known = known[~np.isnan(known)]
        return float(np.median(known)) * len(step.order["gpus"]) if known.size else float("nan")

    def price_change(self) -> list[Change]:
        """$/h of the GPUs that workers hold, by the price lists of their sites; not known as soon as one of them has no price."""
        touched = [step for step in self.steps if step.order["op"] in ("launch", *LEAVING)]
        if not touched:
            return []
        prices = gpu_prices(self.fleet)
        leaving = {number: step.worker for number, step in enumerate(self.steps) if step.order["op"] in LEAVING}
        staying = self._held_by(set(self.workers) - set(leaving.values()))
        cost = []
        for moment in (self.now, *self.moments, self.end):
            there = self._held_by(name for number, name in leaving.items() if number not in moment.ended)
            cost.append(float(prices[staying | there | self._launched(moment.begun)].sum()))
        worst = float("nan") if np.isnan(cost).any() else max(cost)
        return [Change("$/h of GPUs in use", *(number_text(value, 2) for value in (cost[0], worst, cost[-1])))]


def _feeds_at(fleet: Fleet, nodes: Iterable[int]) -> list[Feed]:
    """The feeds of these nodes, sites first, each in the order of the fleet file."""
    touched = {feed_name(feed) for row in nodes for feed in feeds_of_nodes(fleet.roster)[row]}
    return [feed for feed in feeds(fleet.roster) if feed_name(feed) in touched]


def _power_changes(fleet: Fleet, found: Sequence[tuple[Feed, float, float, float]]) -> list[Change]:
    """(feed, W now, at the worst moment, after) in words: all sites, and of the racks those that come nearest to their budgets."""
    sites, racks = ([one for one in found if isinstance(one[0], kind)] for kind in (Site, Rack))
    nearest = sorted(racks, key=lambda one: (allowed_w(fleet, one[0]) or 0.0) - one[2])[:RACKS_SHOWN]
    return [Change(f"power of {feed_name(feed)} at most", power_text(now_w), power_text(peak_w), power_text(after_w))
            for feed, now_w, peak_w, after_w in (*sites, *nearest)]


def cap_changes(fleet: Fleet, steps: Sequence[Step]) -> tuple[Change, ...]:
    """What new power limits do: watts by site, and tokens a second of the workers on limited GPUs.

    A GPU that draws more than its new limit falls to it, and its clock by the square root of what is left of its dynamic power, as
    opsconsole.physics has it; a restored or raised limit is said as the most that may be drawn, its tokens are not known.
    """
    limits, draws = limits_w(fleet), draws_w(fleet)
    then, raised = limits.copy(), np.zeros(len(limits), bool)
    for step in steps:
        rows = int(fleet.roster.gpu_start[fleet.roster.node_row[step.node]]) + np.array(step.order["gpus"], dtype=int)
        watts = step.order["watts"]
        then[rows] = fleet.roster.gpu_fact("power_default_w")[rows] if watts is None else watts
    raised = ~(then <= limits)
    after = np.where(raised, np.where(np.isnan(then), limits, then), np.minimum(draws, then))
    after = np.where(then == limits, draws, after)
    changes = []
    nodes = {fleet.roster.node_row[step.node] for step in steps}
    found = []
    for feed in _feeds_at(fleet, nodes):
        here, pue = gpus_of_feed(fleet.roster, feed), pue_of(feed)
        now_w = reckoned_w(fleet, feed)
        then_w = now_w + float((after - draws)[here].sum()) * pue
        found.append((feed, now_w, max(now_w, then_w), then_w))
    changes += _power_changes(fleet, found)
    on_nodes = [worker for row in sorted(nodes) for worker in fleet.workers_of_node.get(fleet.roster.nodes[row].name, ())]
    served = [worker for worker in on_nodes if worker.state == "READY" and worker.tokens_per_s is not None]
    if served:
        now = sum(worker.tokens_per_s for worker in served)
        slowed = sum(worker.tokens_per_s * _clock_share(fleet, worker, then, draws, falls_w(fleet)) for worker in served)
        known = not any(raised[row] for worker in served for row in _rows(fleet, worker))
        said = number_text(slowed, 0) if known else UNKNOWN
        changes.append(Change("tokens/s on these GPUs", number_text(now, 0), said, said))
    return tuple(changes)


def _rows(fleet: Fleet, worker: Worker) -> list[int]:
    return [row for gpu in worker.gpus if (row := fleet.roster.gpu_row.get((worker.node, gpu))) is not None]


def _clock_share(fleet: Fleet, worker: Worker, limits: np.ndarray, draws: np.ndarray, dynamic: np.ndarray) -> float:
    """What is left of a worker's clock under new limits: its slowest GPU's."""
    rows = [row for row in _rows(fleet, worker) if draws[row] > limits[row] and dynamic[row] > 0]
    left = [max(limits[row] - (draws[row] - dynamic[row]), 1.0) / dynamic[row] for row in rows]
    return min([1.0, *left]) ** 0.5
