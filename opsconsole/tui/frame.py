"""One Fleet made ready for drawing: what several widgets need of it is computed once, as arrays, when first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from rich.cells import cell_len

from opsconsole.core import totals, wording
from opsconsole.core.fleet import CONNECTING, HEADLINES, LIVE, NO_DRIVER, STALE, Fleet
from opsconsole.core.severity import SLOWED, XID_CRITICAL, noteworthy

HOT_C = 85.0
"""From here a temperature is drawn as a warning."""
RAMP_STEPS = 16
UNKNOWN_CELL, HOT_CELL, BROKEN_CELL, STALE_CELL, LOST_CELL = range(RAMP_STEPS, RAMP_STEPS + 5)
"""Cells of the map that are no step of the ramp."""
METRICS = {
    "util": ("util_pct", 0.0, 100.0, "%"),
    "temp": ("temp_c", 30.0, 90.0, "°C"),
    "mem": ("", 0.0, 1.0, "% of memory"),
    "power": ("", 0.0, 1.0, "% of limit"),
}
"""What the map can show: column, value of the first and last step of the ramp, unit. mem and power are shares."""
GLYPHS = {"ok": "●", "loading": "◐", "draining": "▽", "warn": "▲", "crit": "✖", "stale": "◌", "connecting": "◌", "cordoned": "⊘"}
INKS = {
    "ok": "ok", "loading": "info", "draining": "accent", "warn": "warn", "stale": "info", "crit": "crit", "connecting": "dim",
    "cordoned": "accent",
}


STATES = tuple(GLYPHS)
HEARD = (LIVE, NO_DRIVER)
_COMING = frozenset(("STARTING", "PENDING"))
_LEAVING = frozenset(("DRAINING", "DRAINED", "STOPPING"))


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes drawn together on the map: those of one site and chip."""

    site: str
    chip: str
    rows: np.ndarray
    """Rows of the roster."""


def groups_of(fleet: Fleet) -> tuple[Group, ...]:
    found: dict[tuple[str, str], list[int]] = {}
    for row, node in enumerate(fleet.roster.nodes):
        found.setdefault((node.site, node.chip), []).append(row)
    return tuple(Group(site, chip, np.array(rows)) for (site, chip), rows in found.items())


class Frame:
    """A Fleet with what the widgets draw from it. before: the previous frame; steady: its cells steady those of this one."""

    def __init__(self, fleet: Fleet, before: Frame | None = None, steady: bool = True) -> None:
        self.fleet = fleet
        self.roster = fleet.roster
        self._reasons: dict[int, str] = {}
        self._levels: dict[str, np.ndarray] = {}
        same = before is not None and before.roster is fleet.roster
        self._steady = before._levels if same and steady else {}  # type: ignore[union-attr]
        if same:
            self.__dict__["groups"] = before.groups  # type: ignore[union-attr]
            self.__dict__["longest_name"] = before.longest_name  # type: ignore[union-attr]

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        return groups_of(self.fleet)

    @cached_property
    def longest_name(self) -> int:
        """Cells of the longest node name."""
        return max((cell_len(node.name) for node in self.roster.nodes), default=8)

    @cached_property
    def severity(self) -> list[int]:
        return wording.severities(self.fleet).tolist()

    @cached_property
    def worst_first(self) -> list[int]:
        return wording.worst_first(self.fleet)

    def reason(self, row: int) -> str:
        if row not in self._reasons:
            why = wording.reason_of_node(self.fleet, row) if self._noteworthy[row] else ""
            self._reasons[row] = "; ".join(filter(None, (why, self.cordon(row))))
        return self._reasons[row]

    @cached_property
    def _noteworthy(self) -> list[bool]:
        """Which nodes have a reason at all: to look for one costs more than to draw a calm node."""
        return noteworthy(self.fleet).tolist()

    def cordon(self, row: int) -> str:
        """Who said why that a node gets no new workers; "" when it does."""
        cordoned = self.fleet.cordons.get(row)
        if cordoned is None:
            return ""
        return "cordoned" + (f" by {cordoned.actor}" if cordoned.actor else "") + (f": {cordoned.reason}" if cordoned.reason else "")

    def column(self, name: str) -> np.ndarray:
        """A column of core.totals by node, (N,), last known values."""
        if name not in self.__dict__:
            self.__dict__[name] = totals.node_column(self.fleet, name)
        return self.__dict__[name]

    def state(self, row: int) -> str:
        """The word behind a node's glyph: a key of GLYPHS."""
        return STATES[self.states[row]]

    @cached_property
    def states(self) -> list[int]:
        """Place in STATES of each node's word, (N,)."""
        reach, worst = self.fleet.reach, np.array(self.severity, np.int64)
        found = np.where(worst > 0, worst + (STATES.index("warn") - 1), 0)
        calm = found == 0
        if self.fleet.cordons:
            cordoned = np.array(list(self.fleet.cordons), np.int64)
            found[cordoned[calm[cordoned]]] = STATES.index("cordoned")
        for names, word in ((_LEAVING, "draining"), (_COMING, "loading")):
            rows = self._rows_with(names)
            found[rows[calm[rows]]] = STATES.index(word)
        found[~np.isin(reach, HEARD)] = STATES.index("crit")
        found[reach == STALE] = STATES.index("stale")
        found[reach == CONNECTING] = STATES.index("connecting")
        return found.tolist()

    def _rows_with(self, states: frozenset[str]) -> np.ndarray:
        """Rows of nodes with a worker in one of these states."""
        row_of = self.roster.node_row
        return np.array(
            sorted({row_of[worker.node] for worker in self.fleet.workers if worker.state in states and worker.node in row_of}), np.int64
        )

    @cached_property
    def lost(self) -> np.ndarray:
        """(N,) whether nothing is heard of a node now, so that its values are only the last ones."""
        return ~np.isin(self.fleet.reach, (*HEARD, STALE))

    def is_lost(self, row: int) -> bool:
        return bool(self.lost[row])

    @cached_property
    def counts(self) -> dict[str, int]:
        """Nodes by state word."""
        return dict(zip(STATES, np.bincount(np.array(self.states, np.int64), minlength=len(STATES)).tolist(), strict=False))

    @cached_property
    def headlines(self) -> dict[str, float]:
        """Newest value of each headline figure; NaN when unknown."""
        trend = self.fleet.trend
        newest = trend[:, -1] if trend.shape[1] else np.full(len(HEADLINES), np.nan)
        return dict(zip(HEADLINES, newest.tolist(), strict=False))

    @cached_property
    def power_budget_w(self) -> float | None:
        budgets = [site.power_budget_kw for site in self.roster.sites if site.power_budget_kw]
        return sum(budgets) * 1000.0 if budgets else None

    @cached_property
    def models(self) -> list[dict]:
        """core.wording.models_json, worst against its objective first."""
        return sorted(wording.models_json(self.fleet), key=_model_trouble)

    @cached_property
    def marks(self) -> np.ndarray:
        """(G,) 0, or the cell that tells trouble whatever the metric: HOT_CELL, BROKEN_CELL, STALE_CELL, LOST_CELL."""
        fleet = self.fleet
        node_of_gpu = self.roster.gpu_node
        marks = np.zeros(len(node_of_gpu), np.int64)
        throttle = np.nan_to_num(fleet.gpu("throttle")).astype(np.int64)
        marks[((throttle & SLOWED) != 0) | (fleet.gpu("temp_c") >= HOT_C)] = HOT_CELL
        broken = [row for row in fleet.gpu_errors if row < len(marks)]
        marks[broken] = BROKEN_CELL
        marks[np.isin(fleet.gpu("xid"), XID_CRITICAL)] = BROKEN_CELL
        reach = fleet.reach[node_of_gpu]
        marks[reach == STALE] = STALE_CELL
        marks[(reach == CONNECTING)] = UNKNOWN_CELL
        marks[~np.isin(reach, (*HEARD, STALE, CONNECTING))] = LOST_CELL
        return marks

    def cells(self, metric: str) -> np.ndarray:
        """(G,) what the map shows for each GPU: a step of the ramp or a cell of trouble."""
        if metric not in self._levels:
            self._levels[metric] = self._quantised(metric)
        marks = self.marks
        return np.where(marks > 0, marks, self._levels[metric])

    def _quantised(self, metric: str) -> np.ndarray:
        """Steps of the ramp; one that moves by less than three quarters of a step stays, so that noise sends no bytes."""
        _, low, high, _ = METRICS[metric]
        exact = (self.gpu_metric(metric) - low) * (RAMP_STEPS / (high - low))
        steps = np.nan_to_num(np.clip(exact, 0, RAMP_STEPS - 1), nan=UNKNOWN_CELL).astype(np.int64)
        old = self._steady.get(metric)
        if old is None:
            return steps
        with np.errstate(invalid="ignore"):
            return np.where((np.abs(exact - old - 0.5) < 1.25) & (old < RAMP_STEPS) & (steps < RAMP_STEPS), old, steps)

    def gpu_metric(self, metric: str) -> np.ndarray:
        """(G,) the values behind the map."""
        if metric == "mem":
            return self.fleet.gpu("mem_used_mib") / self.roster.gpu_fact("mem_total_mib")
        if metric == "power":
            return self.fleet.gpu("power_w") / self.fleet.gpu("power_limit_w")
        return self.fleet.gpu(METRICS[metric][0])


def _model_trouble(model: dict) -> tuple:
    objective, latency = model["objective"]["ttft_p95_ms"], model["ttft_p95_ms"]
    return (
        model["ready"] >= model["min_ready"],
        -(latency / objective if objective and latency else 0.0),
        -(model["queue_depth"] or 0),
        model["name"],
    )
