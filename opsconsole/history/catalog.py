"""What is remembered: every series by name, with its unit and the smallest difference that is kept."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from opsconsole.core.fleet import HEADLINES
from opsconsole.history.schema import HistoryError
from opsconsole.protocol import GPU_COLUMNS, NODE_COLUMNS

WORKER_NUMBERS = (
    "slots", "queue_depth", "running", "tokens_total", "prompt_tokens_total", "requests_total",
    "tokens_per_s", "requests_per_s", "ttft_p50_ms", "ttft_p95_ms", "itl_p50_ms", "itl_p95_ms", "kv_used_pct",
)
"""The fields of a worker that measure; its other fields are words, which the moments keep (see moments)."""
NODE_NUMBERS = (*NODE_COLUMNS, "age_s", "clock_offset_s")
MODEL_NUMBERS = ("queue_depth", "running", "tokens_per_s", "requests_per_s", "ttft_p95_ms", "itl_p95_ms", "workers_ready")
"""Over the workers of nodes that answer: sums, and the latencies of the worst; queue_depth with what waits at the router."""
SITE_NUMBERS = ("power_w", "util_pct", "tokens_per_s")
"""Over the GPUs and workers of nodes that answer: sums, and the mean utilization."""
COLUMNS_OF_KIND = {
    "gpu": GPU_COLUMNS, "node": NODE_NUMBERS, "worker": WORKER_NUMBERS, "fleet": HEADLINES, "model": MODEL_NUMBERS, "site": SITE_NUMBERS,
}

_UNITS = (
    # ending of the name, unit, smallest difference that matters: it decides the size of the file more than any codec
    ("tokens_per_s", "tokens/s", 0.1),
    ("requests_per_s", "requests/s", 0.01),
    ("net_rx_mib_s", "MiB/s", 0.1),
    ("net_tx_mib_s", "MiB/s", 0.1),
    ("_mib_s", "MiB/s", 1.0),
    ("_mib", "MiB", 1.0),
    ("cpu_pct", "%", 0.1),
    ("kv_used_pct", "%", 0.1),
    ("_pct", "%", 1.0),
    ("_ms", "ms", 0.01),
    ("_w", "W", 0.1),
    ("_c", "°C", 1.0),
    ("_mhz", "MHz", 1.0),
    ("_j", "J", 1000.0),
    ("load1", "", 0.01),
    ("age_s", "s", 0.01),
    ("offset_s", "s", 0.01),
    ("nodes_live", "nodes", 1.0),
    ("", "", 1.0),
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One series of every entity of a kind. scale: the value of one count in a frame."""

    kind: str
    column: str
    unit: str
    scale: float

    @property
    def name(self) -> str:
        return f"{self.kind}.{self.column}"


def _metric(kind: str, column: str) -> Metric:
    unit, scale = next((unit, scale) for ending, unit, scale in _UNITS if column.endswith(ending))
    # the utilization of many GPUs is a mean, so it has more digits than any one GPU's
    return Metric(kind, column, unit, 0.1 if kind in ("fleet", "site") and unit == "%" else scale)


METRICS = {metric.name: metric for kind, columns in COLUMNS_OF_KIND.items() for metric in (_metric(kind, column) for column in columns)}
METRICS_OF_KIND = {kind: tuple(METRICS[f"{kind}.{column}"] for column in columns) for kind, columns in COLUMNS_OF_KIND.items()}


def find_metric(series: str) -> Metric:
    """The metric called `series`. Raises HistoryError, naming what is near."""
    if series in METRICS:
        return METRICS[series]
    near = difflib.get_close_matches(series, METRICS, 3, 0.4) or sorted(METRICS)[:3]
    raise HistoryError(f"there is no series `{series}`; near it are {', '.join(near)}")
