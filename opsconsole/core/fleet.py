"""The fleet as frozen values: everything at one moment, now or past, with GPU telemetry as columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, pairwise
from operator import attrgetter

import msgspec
import numpy as np

from opsconsole.core.alarm import Alarm
from opsconsole.core.alarm_book import Book
from opsconsole.core.alarm_memory import Memory
from opsconsole.core.alarm_rules import RULES, Rule
from opsconsole.core.declared import Model, Policy, Rack, Site
from opsconsole.protocol import GPU_COLUMNS, NODE_COLUMNS

LIVE, STALE, HUNG, UNREACHABLE, AUTH_FAILED, HOST_KEY_CHANGED, NO_DRIVER, NO_PYTHON, HOST_KEY_UNKNOWN, CONNECTING = range(10)
REACH_WORDS = (
    "LIVE", "STALE", "HUNG", "UNREACHABLE", "AUTH_FAILED", "HOST_KEY_CHANGED", "NO_DRIVER", "NO_PYTHON", "HOST_KEY_UNKNOWN", "CONNECTING",
)
"""Reachability of a node, as an overlay: never a state. CONNECTING: no answer yet, and none is overdue."""
ANSWERING = (LIVE, NO_DRIVER)
"""Nodes with a reach in here send fresh samples."""

STALE_AFTER_S = 3.0
SILENT_AFTER_S = 4.5
"""A node silent for so long is HUNG when it still accepts connections, else UNREACHABLE."""

GPU_FACT_COLUMNS = ("mem_total_mib", "power_min_w", "power_max_w", "power_default_w", "sm_clock_max_mhz", "mig")
HEADLINES = ("ttft_p95_ms", "queue_depth", "requests_per_s", "util_pct", "power_w", "nodes_live")
"""The six headline figures, rows of `Fleet.trend`."""
TREND_LENGTH = 300
"""Ticks (seconds) that `Fleet.trend` remembers."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is known of a node and changes seldom. The first five come from the fleet file, the rest from its agent ("" or None before)."""

    name: str
    site: str = ""
    rack: str = ""
    chip: str = ""
    address: str = ""
    hostname: str = ""
    driver: str = ""
    python: str = ""
    boot_id: str = ""
    cpu_count: int | None = None
    mem_total_mib: float | None = None
    gpu_source: str = ""
    gpu_error: str = ""
    """Why no GPU of the node can be asked at all, in NVML's words; "" when they can."""
    jump: str = ""
    """The host that it is reached through, "" when it is reached directly."""


@dataclass(frozen=True, eq=False)
class Roster:
    """What the fleet consists of: replaced (never edited) when a node's facts change. N nodes, G GPUs in node order."""

    fleet_name: str = ""
    environment: str = ""
    nodes: tuple[NodeFacts, ...] = ()
    sites: tuple[Site, ...] = ()
    racks: tuple[Rack, ...] = ()
    """Those with a power budget; nodes name others too."""
    models: tuple[Model, ...] = ()
    policy: Policy = Policy()
    engines: tuple[str, ...] = ("jax",)
    """The engines whose workers this console can start."""
    moves_streams: bool = True
    """Whether the router lets another worker go on with a stream that a worker cut."""
    alarm_rules: tuple[Rule, ...] = RULES
    gpu_start: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))  # (N+1,): GPUs of node i are rows start[i]..start[i+1]
    gpu_uuid: tuple[str, ...] = ()
    gpu_name: tuple[str, ...] = ()
    gpu_index: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # (G,) index on its node
    gpu_facts: np.ndarray = field(default_factory=lambda: np.zeros((len(GPU_FACT_COLUMNS), 0)))  # (GPU_FACT_COLUMNS, G), NaN unknown

    @cached_property
    def node_row(self) -> dict[str, int]:
        return {node.name: row for row, node in enumerate(self.nodes)}

    @cached_property
    def gpu_row(self) -> dict[tuple[str, int], int]:
        """Row of a GPU by the name of its node and its index there."""
        places = zip(self.gpu_node.tolist(), self.gpu_index.tolist(), strict=True)
        return {(self.nodes[node].name, index): row for row, (node, index) in enumerate(places)}

    @cached_property
    def gpu_node(self) -> np.ndarray:
        """Row of the node of each GPU, (G,)."""
        return np.repeat(np.arange(len(self.nodes)), np.diff(self.gpu_start))

    @cached_property
    def _gpu_slices(self) -> list[slice]:
        return [slice(first, after) for first, after in pairwise(self.gpu_start.tolist())]

    def gpus_of(self, node_row: int) -> slice:
        return self._gpu_slices[node_row]

    def gpu_fact(self, column: str) -> np.ndarray:
        """One column of GPU_FACT_COLUMNS, (G,)."""
        return self.gpu_facts[GPU_FACT_COLUMNS.index(column)]


class Worker(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One worker as its node last described it; None: not known. Age and reach are those of its node.

    A struct, as Process is, because thousands of them are made and dropped each second.
    """

    name: str
    node: str
    model: str = ""
    engine: str = ""
    gpus: tuple[int, ...] = ()
    port: int | None = None
    pid: int | None = None
    state: str = "PENDING"
    phase: str = ""
    reason: str = ""
    slots: int | None = None
    queue_depth: float | None = None
    running: float | None = None
    tokens_total: float | None = None
    prompt_tokens_total: float | None = None
    requests_total: float | None = None
    tokens_per_s: float | None = None
    requests_per_s: float | None = None
    ttft_p50_ms: float | None = None
    ttft_p95_ms: float | None = None
    itl_p50_ms: float | None = None
    itl_p95_ms: float | None = None
    kv_used_pct: float | None = None
    started_wall: float | None = None
    checkpoint: str = ""
    """What it was launched with; "" when its node does not tell."""
    generation: int | None = None
    """Grows with each order that its node has taken for it: an order made for an older one is refused there."""
    restarts: int | None = None
    """How often its node has started it again since the launch."""

    @property
    def in_flight(self) -> float | None:
        """Requests running or waiting in the worker; None when either is unknown."""
        if self.running is None or self.queue_depth is None:
            return None
        return self.running + self.queue_depth


class Process(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A compute process. As an array it is what a node says of it."""

    gpu: int
    """Row of the GPU on its node."""
    pid: int
    name: str
    mem_mib: float | None


class Cordoned(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who said, when and why that a node shall get no new workers; the node itself keeps it."""

    reason: str
    actor: str
    at: float
    """Epoch seconds."""


def _nothing(rows: int) -> np.ndarray:
    return np.full((rows, 0), np.nan)


@dataclass(frozen=True, eq=False)
class Fleet:
    """Everything at one moment. Arrays are read-only; NaN (in floats) and None mean unknown, never 0."""

    at: float = 0.0
    """Console's wall clock, epoch seconds."""
    mono: float = 0.0
    """Console's monotonic clock at the same moment, for ages."""
    roster: Roster = field(default_factory=Roster)
    reach: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int8))  # (N,) index into REACH_WORDS
    cause: tuple[str, ...] = ()
    """Why a node is not LIVE, one sentence each, "" when it is."""
    sampled_mono: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (N,) when the last sample came; NaN never
    clock_offset_s: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (N,) node's wall clock minus ours
    node_values: np.ndarray = field(default_factory=lambda: _nothing(len(NODE_COLUMNS)))  # (NODE_COLUMNS, N)
    gpu_values: np.ndarray = field(default_factory=lambda: _nothing(len(GPU_COLUMNS)))  # (GPU_COLUMNS, G)
    gpu_errors: dict[int, str] = field(default_factory=dict)
    """What is wrong with single GPUs, by row of the roster."""
    workers: tuple[Worker, ...] = ()
    processes: dict[int, tuple[Process, ...]] = field(default_factory=dict)
    """Compute processes by row of the node."""
    cordons: dict[int, Cordoned] = field(default_factory=dict)
    """Nodes that shall get no new workers, by row."""
    router_queue: dict[str, float] = field(default_factory=dict)
    """Requests that wait at the router by model; empty when there is no router or it does not answer."""
    router_cause: str = ""
    """Why the router cannot be asked, "" when it can or there is none."""
    history_cause: str = ""
    """Why nothing is kept of this moment, "" while history records."""
    own_causes: dict[str, str] = field(default_factory=dict)
    """What is wrong with the console itself, by rule: "audit", "notify"."""
    alarms: tuple[Alarm, ...] = ()
    """Those that wait for a person first, then worst first, then oldest first."""
    alarm_book: Book = Book()
    """What people have said about alarms."""
    alarm_memory: Memory = Memory()
    """What has to be known of the seconds before to raise and clear alarms; it stays in the collector."""
    trend: np.ndarray = field(default_factory=lambda: _nothing(len(HEADLINES)))  # (HEADLINES, <= TREND_LENGTH), newest last
    model_queue_trend: dict[str, np.ndarray] = field(default_factory=dict)
    """Queue depth of each model by tick, newest last."""

    @cached_property
    def age_s(self) -> np.ndarray:
        """Age of each node's last sample, (N,); NaN: there was none."""
        return np.maximum(self.mono - self.sampled_mono, 0.0)

    def gpu(self, column: str) -> np.ndarray:
        """One column of GPU_COLUMNS, (G,)."""
        return self.gpu_values[GPU_COLUMNS.index(column)]

    def node(self, column: str) -> np.ndarray:
        """One column of NODE_COLUMNS, (N,)."""
        return self.node_values[NODE_COLUMNS.index(column)]

    def queue_of_model(self, model: str) -> float | None:
        """Requests of a model that wait, at the router and in answering workers; None when nobody knows."""
        known = [worker.queue_depth for worker in self.heard_workers_of_model.get(model, ()) if worker.queue_depth is not None]
        if model in self.router_queue:
            known.append(self.router_queue[model])
        return float(sum(known)) if known else None

    @cached_property
    def answering(self) -> np.ndarray:
        """Whether each node sends fresh samples, (N,) bool."""
        return np.isin(self.reach, ANSWERING)

    @cached_property
    def heard_workers(self) -> tuple[Worker, ...]:
        """Workers on nodes that answer: of the others nothing is known now."""
        if self.answering.all():
            return self.workers
        heard = {node.name for node, answers in zip(self.roster.nodes, self.answering.tolist(), strict=True) if answers}
        return tuple(worker for worker in self.workers if worker.node in heard)

    @cached_property
    def workers_of_node(self) -> dict[str, tuple[Worker, ...]]:
        return _grouped(self.workers, attrgetter("node"))

    @cached_property
    def workers_of_model(self) -> dict[str, tuple[Worker, ...]]:
        return _grouped(self.workers, attrgetter("model"))

    @cached_property
    def heard_workers_of_model(self) -> dict[str, tuple[Worker, ...]]:
        if self.heard_workers is self.workers:
            return self.workers_of_model
        return _grouped(self.heard_workers, attrgetter("model"))


def _grouped(workers: tuple[Worker, ...], key: Callable[[Worker], str]) -> dict[str, tuple[Worker, ...]]:
    """Neighbours are alike more often than not, so runs of them are taken at once."""
    found: dict[str, list[Worker]] = {}
    for name, run in groupby(workers, key):
        found.setdefault(name, []).extend(run)
    return {name: tuple(group) for name, group in found.items()}


def opening(roster: Roster) -> Fleet:
    """The fleet before any node has answered."""
    nodes, gpus = len(roster.nodes), len(roster.gpu_uuid)
    return Fleet(
        roster=roster,
        reach=np.full(nodes, CONNECTING, np.int8),
        cause=("",) * nodes,
        sampled_mono=np.full(nodes, np.nan),
        clock_offset_s=np.full(nodes, np.nan),
        node_values=np.full((len(NODE_COLUMNS), nodes), np.nan),
        gpu_values=np.full((len(GPU_COLUMNS), gpus), np.nan),
    )
