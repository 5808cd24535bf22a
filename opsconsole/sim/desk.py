"""Orders to simulated nodes, taken as an agent takes them: once each, none that comes too late, and none that its node cannot carry."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np

from opsconsole.sim.crew import SimWorker, answer

ANSWERS_KEPT = 20_000
ANCHORS_KEPT = 1000
ANCHORS_TOLD = 40
LOWEST_SHARE = 0.3
"""Of its rated power, to which a GPU can be limited."""
ROUNDING = 1e-6


class Desk:
    """What the nodes of a world remember of orders. Every verb returns why it refuses, "" when it took the order."""

    def __init__(self, world: Any):
        self._world = world
        self._kept: OrderedDict[tuple[int, str], dict[str, Any] | None] = OrderedDict()
        """The last answer to each order, by node and id; None while it is under way."""
        self._fences: dict[tuple[int, str], dict[str, Any]] = {}
        self._anchors: dict[int, deque] = {}
        self.cordons: dict[int, dict[str, Any]] = {}

    def take(self, row: int, order: dict[str, Any]) -> None:
        """An order of the protocol to a node; it is answered as time passes."""
        known = (row, str(order.get("id")))
        if known in self._kept:
            if self._kept[known] is not None:
                self._world.say(row, self._kept[known])
            return
        self._kept[known] = None
        self._keep_anchor(row, order)
        verbs = {
            "launch": self._launch, "drain": self._drain, "undrain": self._undrain, "stop": self._stop, "cancel": self._cancel,
            "cordon": self._cordon, "uncordon": self._uncordon, "cap": self._cap, "anchors": self._tell_anchors,
        }
        verb = verbs.get(order.get("op", ""))
        refusal = f"a simulated node does not know {order.get('op')}" if verb is None else verb(row, order)
        if isinstance(refusal, dict):
            self._answer(row, order, False, refusal.pop("text"), **refusal)
        elif refusal:
            self._answer(row, order, False, refusal)

    def keep(self, row: int, said: dict[str, Any]) -> None:
        """Remember a last answer, so that the same order gets it again."""
        if said["done"]:
            self._kept[row, said["id"]] = said
            while len(self._kept) > ANSWERS_KEPT:
                self._kept.popitem(last=False)

    def _answer(self, row: int, order: Mapping[str, Any], ok: bool, text: str, /, **detail: Any) -> None:
        self._world.say(row, answer(dict(order), ok, True, text, **detail))

    # Who may act on a worker.

    def _too_late(self, row: int, order: dict[str, Any], worker: SimWorker | None) -> dict[str, Any] | None:
        fence = self._fences.get((row, order.get("worker", "")), {})
        now = fence.get("generation", worker.generation if worker else None)
        if "generation" not in order or now is None or order["generation"] == now or (order["generation"] is None and worker is None):
            return None
        by, age_s = fence.get("by") or "an unnamed console", max(0, int(self._world.at - fence.get("at", self._world.at)))
        text = (
            f"{order['worker']} has taken another order since this one was planned: {fence.get('op')} by {by}, {age_s} s ago "
            f"(generation {now}, not {order['generation']}); look again before acting"
        )
        return {"text": text, "conflict": True, "by": by, "order": fence.get("order"), "age_s": age_s}

    def _taken(self, row: int, order: dict[str, Any], worker: SimWorker) -> None:
        """The order has the worker from now on."""
        key = (row, worker.name)
        worker.generation = self._fences.get(key, {}).get("generation", worker.generation) + 1
        by = str(order.get("actor") or "")[:80]
        self._fences[key] = {"generation": worker.generation, "by": by, "op": order["op"], "order": order.get("id"), "at": self._world.at}

    def _found(self, row: int, order: dict[str, Any]) -> tuple[int, Any]:
        """(index of the worker, why the order is refused or None)."""
        index = self._world.crew.index_of(row, order.get("worker", ""))
        if index is None:
            return -1, f"no worker {order.get('worker')} on this node"
        return index, self._too_late(row, order, self._world.crew.workers[index])

    def _held(self, row: int, worker: SimWorker) -> dict[str, Any]:
        fence = self._fences.get((row, worker.name), {})
        by = fence.get("by") or "an unnamed console"
        text = f"another order has this worker: {worker.order['op']} {worker.order.get('id')}"
        return {"text": text, "conflict": True, "by": by, "order": fence.get("order"), "age_s": int(self._world.at - fence.get("at", 0))}

    # Orders about a worker.

    def _launch(self, row: int, order: dict[str, Any]) -> Any:
        world = self._world
        model = next((model for model in world.models if model.name == order.get("model")), None)
        gpus, share = [int(gpu) for gpu in order.get("gpus", ())], float(order.get("gpu_share", 1.0))
        index = world.crew.index_of(row, order["worker"])
        present = None if index is None else world.crew.workers[index]
        if late := self._too_late(row, order, present):
            return late
        if row in self.cordons:
            return f"this node was cordoned by {self.cordons[row]['actor'] or 'an unnamed console'}; uncordon it first"
        if model is None:
            return f"there is no model {order.get('model')}"
        if present is not None and present.state != "STOPPED":
            return f"{order['worker']} is alive already"
        if not all(0 <= gpu < world.gpu_start[row + 1] - world.gpu_start[row] for gpu in gpus):
            return f"GPU {', '.join(map(str, gpus))} does not exist"
        if taken := self._who_has(row, gpus, share):
            return taken
        if index is not None:
            world.crew.remove(index)
        worker = world.crew.launch(world.place(order["worker"], model, row, gpus), order, world.at, share)
        self._taken(row, order, worker)
        return ""

    def _who_has(self, row: int, gpus: list[int], share: float) -> str:
        for gpu in gpus:
            here = [w for w in self._world.crew.workers if w.node == row and w.state not in ("STOPPED", "FAILED") and gpu in w.gpus]
            taken = sum(worker.share for worker in here)
            if taken + share > 1.0 + ROUNDING:
                who = ", ".join(worker.name for worker in here)
                return f"GPU {gpu} is taken by {who}: {max(0.0, 1.0 - taken):.2f} of it is free, {share:.2f} is asked for"
        return ""

    def _drain(self, row: int, order: dict[str, Any]) -> Any:
        index, refusal = self._found(row, order)
        if refusal:
            return refusal
        worker = self._world.crew.workers[index]
        if worker.order:
            return self._held(row, worker)
        self._taken(row, order, worker)
        if worker.state == "STOPPED":
            self._answer(row, order, True, "was not running: STOPPED", proof=f"pid {worker.pid} was gone")
        else:
            self._world.crew.drain(index, order, self._world.at)
        return ""

    def _undrain(self, row: int, order: dict[str, Any]) -> Any:
        index, refusal = self._found(row, order)
        crew = self._world.crew
        if refusal or crew.workers[index].state not in ("DRAINING", "DRAINED"):
            return refusal or f"{order.get('worker')} is not draining"
        self._end_order(row, crew.workers[index], "taken back by an undrain", taken_back=True)
        self._taken(row, order, crew.workers[index])
        crew.open(index)
        self._answer(row, order, True, "admits requests again")
        return ""

    def _stop(self, row: int, order: dict[str, Any]) -> Any:
        index, refusal = self._found(row, order)
        if refusal:
            return refusal
        crew = self._world.crew
        worker, left = crew.workers[index], crew.service.in_flight(index)
        if worker.order:
            return self._held(row, worker)
        if left and worker.state != "STOPPED":
            return {"text": f"not stopped: {left} in flight", "in_flight": left}
        self._taken(row, order, worker)
        crew.stop(index, self._world.at)
        self._answer(row, order, True, "stopped", proof=f"pid {worker.pid} is gone, port {worker.port} is closed")
        return ""

    def _cancel(self, row: int, order: dict[str, Any]) -> Any:
        index, refusal = self._found(row, order)
        if refusal:
            return refusal
        crew = self._world.crew
        worker = crew.workers[index]
        if worker.state != "STARTING":
            return f"{worker.name} is ready already, so it may have requests; drain it"
        self._end_order(row, worker, "cancelled", cancelled=True)
        self._taken(row, order, worker)
        crew.stop(index, self._world.at)
        self._answer(row, order, True, "cancelled", proof=f"pid {worker.pid} is gone, port {worker.port} is closed")
        return ""

    def _end_order(self, row: int, worker: SimWorker, text: str, **detail: Any) -> None:
        """The order that has the worker lets go of it."""
        under_way, worker.order = worker.order, None
        if under_way:
            self._answer(row, under_way, False, text, **detail)

    # Orders about a node.

    def _cordon(self, row: int, order: dict[str, Any]) -> str:
        reason, actor = str(order.get("reason") or "")[:200], str(order.get("actor") or "")[:80]
        self.cordons[row] = {"reason": reason, "actor": actor, "at": self._world.at}
        self._answer(row, order, True, "cordoned: no new worker is started here")
        return ""

    def _uncordon(self, row: int, order: dict[str, Any]) -> str:
        self._answer(row, order, True, "uncordoned" if self.cordons.pop(row, None) else "was not cordoned")
        return ""

    def _cap(self, row: int, order: dict[str, Any]) -> str:
        gpus, watts, told = self._world.gpus, order.get("watts"), order.get("gpus")
        first, after = self._world.gpu_start[row], self._world.gpu_start[row + 1]
        if not isinstance(told, list) or not told or not all(isinstance(gpu, int) and 0 <= gpu < after - first for gpu in told):
            return f"gpus must be rows of this node's {after - first} GPUs"
        rows = np.array(told) + first
        rated_w = gpus.chip["rated_w"][rows]
        if watts is not None and not (isinstance(watts, (int, float)) and isfinite(watts)):
            return "watts must be a number or null"
        if watts is not None and not (np.all(watts >= np.round(LOWEST_SHARE * rated_w)) and np.all(watts <= rated_w)):
            return f"GPU {told[0]} takes {LOWEST_SHARE * rated_w[0]:.0f} to {rated_w[0]:.0f} W, not {watts:.0f} W"
        before_w = gpus.limit_w[rows].tolist()
        gpus.limit_w[rows] = rated_w if watts is None else watts
        detail = {"gpus": told, "limits_w": gpus.limit_w[rows].tolist(), "before_w": before_w}
        self._answer(row, order, True, f"{len(told)} GPUs limited to {detail['limits_w'][0]:.0f} W each", **detail)
        return ""

    def _keep_anchor(self, row: int, order: dict[str, Any]) -> None:
        anchor = order.get("anchor")
        if isinstance(anchor, dict):
            kept = {**{key: anchor.get(key) for key in ("audit", "seq", "hash")}, "at": self._world.at, "order": order.get("id")}
            self._anchors.setdefault(row, deque(maxlen=ANCHORS_KEPT)).append({**kept, "by": order.get("actor")})

    def _tell_anchors(self, row: int, order: dict[str, Any]) -> str:
        kept = list(self._anchors.get(row, ()))
        self._answer(row, order, True, f"{len(kept)} audit heads are kept here", anchors=kept[-ANCHORS_TOLD:], kept=len(kept))
        return ""
