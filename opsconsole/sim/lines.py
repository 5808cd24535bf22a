"""The lines that a simulated node says: the same words as a real agent's, encoded from columns prepared once for all nodes."""

from __future__ import annotations

from typing import Any

import msgspec

from opsconsole.protocol import WORKER_FIELDS

_NUMBERS = (
    "queue_depth", "running", "tokens_total", "prompt_tokens_total", "requests_total", "tokens_per_s", "requests_per_s",
    "ttft_p50_ms", "ttft_p95_ms", "itl_p50_ms", "itl_p95_ms", "kv_used_pct",
)
"""The fields of a worker that come from the service's arrays."""

WorkerLine = msgspec.defstruct("WorkerLine", [(name, Any) for name in WORKER_FIELDS], gc=False)


class SampleLine(msgspec.Struct, tag="sample", tag_field="t", gc=False):
    seq: int
    wall: float
    mono: float
    gpu: list
    node: list
    gpu_errors: dict
    procs: list
    workers: list
    cordon: dict | None


encode = msgspec.json.Encoder().encode
"""NaN becomes null, as the protocol wants it."""


def worker_lines(crew) -> dict[int, list]:
    """What the workers of each node are, by row of the node."""
    service = crew.service
    numbers = zip(*(getattr(service, name).round(1).tolist() for name in _NUMBERS), strict=True)
    nothing = [None] * len(_NUMBERS)
    lines: dict[int, list] = {}
    for worker, values in zip(crew.workers, numbers, strict=True):
        known = nothing if worker.state in ("STARTING", "STOPPED", "FAILED") else values
        line = WorkerLine(
            worker.name, worker.model, "jax", worker.gpus, worker.port, worker.pid, worker.state, worker.phase, None, worker.slots,
            *known, worker.started_at, worker.checkpoint, worker.generation, 0,
        )
        lines.setdefault(worker.node, []).append(line)
    return lines
