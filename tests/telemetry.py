"""Lines as a node's agent sends them, and fleets folded from such lines: the material of many tests."""

from __future__ import annotations

import numpy as np

from opsconsole.core.events import Event, Linked, Sampled, Ticked
from opsconsole.core.fleet import Fleet, Model, NodeFacts, Policy, Roster, Site, opening
from opsconsole.core.fold import fold
from opsconsole.core.ingest import ingest
from opsconsole.protocol import GPU_COLUMNS, NODE_COLUMNS, PROTOCOL_VERSION, encode

CALM_GPU = {
    "util_pct": 60, "mem_util_pct": 30, "mem_used_mib": 1000, "power_w": 400, "power_limit_w": 700, "temp_c": 55, "sm_clock_mhz": 1900,
    "mem_clock_mhz": 2600, "throttle": 0, "ecc_corrected": 0, "ecc_uncorrected": 0, "pcie_rx_mib_s": 10, "pcie_tx_mib_s": 20,
    "energy_j": 5000, "xid": None,
}
CALM_NODE = {"cpu_pct": 10, "mem_used_mib": 4000, "load1": 1.5, "disk_free_mib": 90000, "net_rx_mib_s": 1, "net_tx_mib_s": 2}


def facts_line(gpus: int = 4, gpu_columns=(), **changes) -> bytes:
    """gpu_columns: {name: values} in place of the usual columns; changes: other fields of the facts."""
    columns = {
        "index": list(range(gpus)), "uuid": [f"GPU-{number}" for number in range(gpus)], "name": ["NVIDIA H100"] * gpus,
        "mem_total_mib": [80000] * gpus, "power_min_w": [200] * gpus, "power_max_w": [700] * gpus, "power_default_w": [700] * gpus,
        "sm_clock_max_mhz": [1980] * gpus, "mig": [0] * gpus,
    }
    facts = {
        "t": "facts", "protocol": PROTOCOL_VERSION, "agent": "abc", "boot_id": "boot-1", "hostname": "host", "python": "3.11.2",
        "cpu_count": 64, "mem_total_mib": 500000, "gpu_source": "nvml", "driver": "580.95", "gpu_error": None,
        "gpus": {**columns, **dict(gpu_columns)},
    }
    return encode({**facts, **changes})


def sample_line(gpus: int = 4, seq: int = 1, workers=(), gpu=(), wall: float = 1000.0, **changes) -> bytes:
    """gpu: {row: {column: value}} on top of a calm GPU; changes: other fields of the sample."""
    rows = [{**CALM_GPU, **dict(gpu).get(row, {})} for row in range(gpus)]
    sample = {
        "t": "sample", "seq": seq, "wall": wall, "mono": wall, "gpu": [[row[name] for row in rows] for name in GPU_COLUMNS],
        "node": [CALM_NODE[name] for name in NODE_COLUMNS], "gpu_errors": {}, "procs": [], "workers": list(workers),
    }
    return encode({**sample, **changes})


def worker_fields(name: str, state: str = "READY", **changes) -> dict:
    return {
        "name": name, "model": "demo", "engine": "jax", "gpus": [0], "port": 4001, "pid": 99, "state": state, "slots": 4, "queue_depth": 0,
        "running": 1, "tokens_per_s": 120.0, "requests_per_s": 2.0, "ttft_p95_ms": 40.0, "itl_p95_ms": 9.0, "kv_used_pct": 25.0, **changes,
    }


def roster(nodes=("n1", "n2", "n3"), site="ams1", **changes) -> Roster:
    facts = tuple(NodeFacts(name, site, "r01", "H100", "10.0.0.1") for name in nodes)
    values = {
        "fleet_name": "test", "environment": "", "nodes": facts, "sites": (Site(site, power_budget_kw=40.0, pue=1.2),),
        "models": (Model("demo", checkpoint="random:tiny", min_ready=1, ttft_p95_ms=100.0),), "policy": Policy(),
        "gpu_start": np.zeros(len(nodes) + 1, np.int64), **changes,
    }
    return Roster(**values)


def linked(node: str, mono: float = 100.0, gpus: int = 4, **changes) -> Event:
    return Linked(node, mono, ingest(facts_line(gpus, **changes)))


def sampled(node: str, mono: float = 100.0, **line) -> Event:
    return Sampled(node, 1000.0 + mono - 100.0, mono, ingest(sample_line(**line), node))


def tick(mono: float = 100.0) -> Event:
    return Ticked(1000.0 + mono - 100.0, mono)


def fleet_of(workers=None, nodes=("n1", "n2", "n3"), more: tuple = (), mono: float = 100.0, **changes) -> Fleet:
    """A live fleet of 4-GPU nodes. workers: {node: [worker_fields(...)]}; more: further events."""
    events: list[Event] = [linked(node) for node in nodes]
    events += [sampled(node, workers=(workers or {}).get(node, ())) for node in nodes]
    return fold(opening(roster(nodes, **changes)), [*events, tick(mono), *more])
