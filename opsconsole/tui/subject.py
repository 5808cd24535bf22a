"""What a chart can be of: a GPU, a node, a worker, a model, a site or the fleet, and which series of it are worth a look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsconsole.tui.frame import HOT_C

if TYPE_CHECKING:
    from opsconsole.core.fleet import Model
    from opsconsole.tui.frame import Frame

SERIES = {
    "gpu": (
        "gpu.util_pct", "gpu.temp_c", "gpu.power_w", "gpu.mem_used_mib", "gpu.sm_clock_mhz", "gpu.mem_util_pct", "gpu.pcie_rx_mib_s",
        "gpu.pcie_tx_mib_s", "gpu.ecc_corrected",
    ),
    "node": (
        "gpu.util_pct", "gpu.temp_c", "gpu.power_w", "gpu.mem_used_mib", "node.cpu_pct", "node.load1", "node.mem_used_mib",
        "node.net_rx_mib_s", "node.net_tx_mib_s", "node.disk_free_mib",
    ),
    "worker": (
        "worker.queue_depth", "worker.ttft_p95_ms", "worker.itl_p95_ms", "worker.tokens_per_s", "worker.requests_per_s", "worker.running",
        "worker.kv_used_pct",
    ),
    "model": (
        "model.queue_depth", "model.ttft_p95_ms", "model.itl_p95_ms", "model.tokens_per_s", "model.requests_per_s", "model.running",
        "model.workers_ready",
    ),
    "site": ("site.power_w", "site.util_pct", "site.tokens_per_s"),
    "fleet": ("fleet.queue_depth", "fleet.ttft_p95_ms", "fleet.util_pct", "fleet.power_w", "fleet.requests_per_s", "fleet.nodes_live"),
}
"""Kind -> its series, the most telling first. Those of GPUs are a node's too: its GPUs together."""
TOGETHER = {"gpu.util_pct": "mean", "gpu.temp_c": "highest", "gpu.power_w": "sum", "gpu.mem_used_mib": "sum"}
"""How the GPUs of a node make one line."""
WORDS = {
    "util_pct": "utilization", "mem_util_pct": "memory busy", "mem_used_mib": "memory used", "power_w": "power", "temp_c": "temperature",
    "sm_clock_mhz": "clock", "pcie_rx_mib_s": "PCIe in", "pcie_tx_mib_s": "PCIe out", "ecc_corrected": "ECC corrected", "cpu_pct": "CPU",
    "load1": "load", "disk_free_mib": "disk free", "net_rx_mib_s": "network in", "net_tx_mib_s": "network out", "queue_depth": "queue",
    "running": "running", "tokens_per_s": "tokens/s", "requests_per_s": "requests/s", "ttft_p95_ms": "TTFT p95", "itl_p95_ms": "ITL p95",
    "kv_used_pct": "KV cache used", "workers_ready": "workers ready", "nodes_live": "nodes up",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """kind: a key of SERIES. gpu: the index of a GPU on its node."""

    kind: str
    node: str = ""
    name: str = ""
    """Of a worker, model or site."""
    gpu: int = -1

    @property
    def label(self) -> str:
        if self.kind == "gpu":
            return f"GPU {self.gpu} of {self.node}"
        return self.node if self.kind == "node" else (f"{self.kind} {self.name}" if self.name else "the fleet")

    def query(self) -> dict[str, Any]:
        """What names it to the history."""
        if self.kind in ("gpu", "node"):
            return {"node": self.node, **({"gpu": self.gpu} if self.kind == "gpu" else {})}
        return {self.kind: self.name} if self.name else {}


FLEET = Subject("fleet")


@dataclass(frozen=True, slots=True)
class Choice:
    """One series of a subject."""

    subject: Subject
    series: str

    @property
    def words(self) -> str:
        name = self.series.partition(".")[2]
        return WORDS.get(name, name)

    @property
    def of(self) -> str:
        return f"{TOGETHER[self.series]} of the GPUs of {self.subject.label}" if self.is_together else self.subject.label

    @property
    def is_together(self) -> bool:
        """Whether it is made of all GPUs of a node."""
        return self.subject.kind == "node" and self.series in TOGETHER


def of_subject(subject: Subject) -> list[Choice]:
    return [Choice(subject, series) for series in SERIES[subject.kind]]


def choices(frame: Frame | None, subject: Subject) -> list[Choice]:
    """Every series of the subject, then those of what it belongs to and of what belongs to it, then the fleet's."""
    subjects = dict.fromkeys([subject, *(_around(frame, subject) if frame is not None else ()), FLEET])
    return [choice for one in subjects for choice in of_subject(one)]


def _around(frame: Frame, subject: Subject) -> Iterator[Subject]:
    fleet, roster = frame.fleet, frame.roster
    worker = next((worker for worker in fleet.workers if worker.name == subject.name), None) if subject.kind == "worker" else None
    node = worker.node if worker is not None else subject.node
    row = roster.node_row.get(node)
    if row is not None:
        yield Subject("node", node=node)
        yield from (Subject("gpu", node=node, gpu=int(index)) for index in roster.gpu_index[roster.gpus_of(row)])
        here = fleet.workers_of_node.get(node, ())
        yield from (Subject("worker", name=one.name) for one in here)
        yield from (Subject("model", name=model) for model in dict.fromkeys(one.model for one in here if one.model))
        if roster.nodes[row].site:
            yield Subject("site", name=roster.nodes[row].site)
    if subject.kind == "model":
        yield from (Subject("worker", name=one.name) for one in fleet.workers_of_model.get(subject.name, ()))
    if subject.kind in ("model", "site", "fleet"):
        yield from (Subject("model", name=model.name) for model in roster.models)
        yield from (Subject("site", name=site.name) for site in roster.sites)


def limits(frame: Frame | None, choice: Choice) -> list[tuple[float, str]]:
    """Lines that should not be crossed, each with its word."""
    if frame is None:
        return []
    name, subject = choice.series.partition(".")[2], choice.subject
    if name == "temp_c":
        return [(HOT_C, "hot")]
    if name == "power_w":
        return _power_limit(frame, subject)
    model = _model_of(frame, subject)
    objective = {"ttft_p95_ms": model.ttft_p95_ms, "itl_p95_ms": model.itl_p95_ms}.get(name) if model is not None else None
    if name == "workers_ready" and model is not None and model.min_ready:
        return [(float(model.min_ready), "minimum")]
    return [(objective, "objective")] if objective else []


def _power_limit(frame: Frame, subject: Subject) -> list[tuple[float, str]]:
    if subject.kind in ("site", "fleet"):
        budgets = [site.power_budget_kw for site in frame.roster.sites if site.power_budget_kw and subject.name in ("", site.name)]
        return [(sum(budgets) * 1000.0, "budget")] if budgets else []
    row = frame.roster.node_row.get(subject.node)
    if row is None:
        return []
    gpus = frame.roster.gpus_of(row)
    watts = frame.fleet.gpu("power_limit_w")[gpus]
    if subject.kind == "gpu":
        watts = watts[frame.roster.gpu_index[gpus] == subject.gpu]
    return [(float(watts.sum()), "limit")] if watts.size and not (watts != watts).any() else []


def _model_of(frame: Frame, subject: Subject) -> Model | None:
    name = subject.name
    if subject.kind == "worker":
        name = next((worker.model for worker in frame.fleet.workers if worker.name == subject.name), "")
    return next((model for model in frame.roster.models if model.name == name), None) if subject.kind in ("worker", "model") else None
