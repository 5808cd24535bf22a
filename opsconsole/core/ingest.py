"""The customs of the house: a line from a node becomes a checked, bounded, cleaned value, or is refused with the reason."""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from opsconsole.core.fleet import GPU_FACT_COLUMNS, Cordoned, Process, Worker
from opsconsole.core.text import clean
from opsconsole.protocol import GPU_COLUMNS, LINE_LIMIT_BYTES, NODE_COLUMNS, PROTOCOL_VERSION, WORKER_STATES

GPU_LIMIT = 64
WORKER_LIMIT = 256
PROCESS_LIMIT = 2048

_GPU_HIGHEST = (100, 100, 8e6, 1e5, 1e5, 300, 2e4, 2e4, 2**53, 2**53, 2**53, 1e7, 1e7, 2**53, 2**31)
_NODE_HIGHEST = (100, 1e9, 1e6, 1e12, 1e7, 1e7)
"""Above these, one for each column, a value is outside of what hardware can be."""


def _up_to(highest: float) -> Any:
    return Annotated[float, msgspec.Meta(ge=0, le=highest)] | None


# the decoder checks what is a type: Python looks only at what it let through
_GpuColumns = tuple[tuple(list[_up_to(highest)] for highest in _GPU_HIGHEST)]
_NodeValues = tuple[tuple(_up_to(highest) for highest in _NODE_HIGHEST)]
_State = Literal[WORKER_STATES]


class BadLine(ValueError):
    """A line that is not what the protocol says; the text names what was wrong."""


class _Facts(msgspec.Struct, tag="facts", tag_field="t"):
    protocol: int = 0
    agent: str = ""
    boot_id: str | None = None
    hostname: str | None = None
    python: str | None = None
    cpu_count: int | None = None
    mem_total_mib: float | None = None
    gpu_source: str | None = None
    driver: str | None = None
    gpu_error: str | None = None
    gpus: dict[str, list[Any]] = {}


class _Sample(msgspec.Struct, tag="sample", tag_field="t", gc=False):
    seq: int
    wall: float
    mono: float
    gpu: _GpuColumns = ([],) * len(GPU_COLUMNS)
    node: _NodeValues = (None,) * len(NODE_COLUMNS)
    gpu_errors: dict[str, str] = {}
    procs: list[Process] = []
    workers: list[_Worker] = []
    cordon: _Cordon | None = None


class _Cordon(msgspec.Struct, gc=False):
    reason: str = ""
    actor: str = ""
    at: float = 0.0


class _Worker(msgspec.Struct, gc=False):
    name: str
    model: str | None = None
    engine: str | None = None
    gpus: tuple[int, ...] = ()
    port: int | None = None
    pid: int | None = None
    state: _State = "PENDING"
    phase: str | None = None
    reason: str | None = None
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
    checkpoint: str | None = None
    generation: int | None = None
    restarts: int | None = None


class _Answer(msgspec.Struct, tag="answer", tag_field="t"):
    id: str
    ok: bool
    done: bool
    text: str = ""
    detail: dict[str, Any] = {}


class _Trouble(msgspec.Struct, tag="trouble", tag_field="t"):
    text: str = ""


class Facts(msgspec.Struct, frozen=True):
    """A node's facts. gpu_facts: (GPU_FACT_COLUMNS, G) float64, NaN unknown."""

    boot_id: str
    hostname: str
    python: str
    cpu_count: int | None
    mem_total_mib: float | None
    gpu_source: str
    driver: str
    gpu_error: str
    gpu_index: tuple[int, ...]
    gpu_uuid: tuple[str, ...]
    gpu_name: tuple[str, ...]
    gpu_facts: np.ndarray


class Sample(msgspec.Struct, frozen=True, gc=False):
    """A node's second. gpu: (GPU_COLUMNS, G) float64; node: (NODE_COLUMNS,) float64; NaN unknown. Worker.node is "" here."""

    seq: int
    wall: float
    mono: float
    gpu: np.ndarray
    node: np.ndarray
    gpu_errors: dict[int, str]
    processes: tuple[Process, ...]
    workers: tuple[Worker, ...]
    cordon: Cordoned | None = None


class Answer(msgspec.Struct, frozen=True):
    """The node's word on an order; done: the last one. detail: plain JSON values, texts cleaned."""

    id: str
    ok: bool
    done: bool
    text: str
    detail: dict[str, Any]


class Trouble(msgspec.Struct, frozen=True):
    text: str


_decoder = msgspec.json.Decoder(_Facts | _Sample | _Answer | _Trouble)


def ingest(line: bytes, node: str = "") -> Facts | Sample | Answer | Trouble:
    """One line of a node's agent as a checked value. node: whose it is. Raises BadLine."""
    if len(line) > LINE_LIMIT_BYTES:
        raise BadLine(f"line of {len(line)} bytes, at most {LINE_LIMIT_BYTES} are taken")
    try:
        message = _decoder.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadLine(clean(str(error))) from None
    if isinstance(message, _Sample):
        return _sample(message, node)
    if isinstance(message, _Answer):
        return Answer(clean(message.id, 80), message.ok, message.done, clean(message.text, 400), _plain(message.detail))
    if isinstance(message, _Trouble):
        return Trouble(clean(message.text, 400))
    return _facts(message)


def _facts(message: _Facts) -> Facts:
    if message.protocol != PROTOCOL_VERSION:
        raise BadLine(f"the agent speaks protocol {message.protocol}, this console {PROTOCOL_VERSION}")
    columns = message.gpus
    uuids = [clean(value or "", 80) for value in columns.get("uuid", [])]
    count = len(uuids)
    if count > GPU_LIMIT:
        raise BadLine(f"{count} GPUs, at most {GPU_LIMIT} are taken")
    if len(set(uuids)) != count:
        raise BadLine("two GPUs with one uuid")
    names = [clean(value or "", 80) for value in columns.get("name", [])] or [""] * count
    indexes = columns.get("index") or list(range(count))
    try:
        numbers = np.array([columns.get(name) or [None] * count for name in GPU_FACT_COLUMNS], dtype=np.float64)
        numbers = numbers.reshape(len(GPU_FACT_COLUMNS), count)
        index = tuple(int(value) for value in indexes)
    except (TypeError, ValueError, OverflowError):
        raise BadLine("facts of GPUs are not columns of numbers") from None
    if len(names) != count or len(index) != count:
        raise BadLine("columns of GPU facts differ in length")
    numbers[(numbers < 0) | (numbers > 1e9)] = np.nan
    return Facts(
        boot_id=clean(message.boot_id or "", 80), hostname=clean(message.hostname or "", 120), python=clean(message.python or "", 40),
        cpu_count=message.cpu_count, mem_total_mib=message.mem_total_mib, gpu_source=clean(message.gpu_source or "", 80),
        driver=clean(message.driver or "", 40), gpu_error=clean(message.gpu_error or ""),
        gpu_index=index, gpu_uuid=tuple(uuids), gpu_name=tuple(names), gpu_facts=numbers,
    )


def _sample(message: _Sample, node: str) -> Sample:
    if len(message.workers) > WORKER_LIMIT or len(message.procs) > PROCESS_LIMIT or len(message.gpu_errors) > GPU_LIMIT:
        raise BadLine("more workers, processes or errors than a node can have")
    try:
        gpu = np.array(message.gpu, dtype=np.float64)
        values = np.array(message.node, dtype=np.float64)
        errors = {int(row): clean(text) for row, text in message.gpu_errors.items()}
    except (TypeError, ValueError):
        raise BadLine("GPU values are not columns of equal length") from None
    if gpu.shape[1] > GPU_LIMIT:
        raise BadLine(f"{gpu.shape[1]} GPUs, at most {GPU_LIMIT} are taken")
    if not (isfinite(message.wall) and isfinite(message.mono)):
        raise BadLine("a clock that is not a number")
    processes = tuple([_process(seen) for seen in message.procs])
    workers = tuple([_worker(seen, node) for seen in message.workers])
    return Sample(message.seq, message.wall, message.mono, gpu, values, errors, processes, workers, _cordon(message.cordon))


def _cordon(said: _Cordon | None) -> Cordoned | None:
    return None if said is None else Cordoned(clean(said.reason, 200), clean(said.actor, 80), said.at if isfinite(said.at) else 0.0)


def _process(seen: Process) -> Process:
    name = clean(seen.name, 60)
    return seen if name is seen.name else Process(seen.gpu, seen.pid, name, seen.mem_mib)


def _worker(seen: _Worker, node: str) -> Worker:
    return Worker(
        clean(seen.name, 64), node, clean(seen.model or "", 80), clean(seen.engine or "", 20), seen.gpus[:GPU_LIMIT], seen.port, seen.pid,
        seen.state, clean(seen.phase, 20) if seen.phase else "", clean(seen.reason) if seen.reason else "", seen.slots,
        seen.queue_depth, seen.running, seen.tokens_total, seen.prompt_tokens_total, seen.requests_total,
        seen.tokens_per_s, seen.requests_per_s,
        seen.ttft_p50_ms, seen.ttft_p95_ms, seen.itl_p50_ms, seen.itl_p95_ms, seen.kv_used_pct, seen.started_wall,
        clean(seen.checkpoint, 400) if seen.checkpoint else "", seen.generation, seen.restarts,
    )


def _plain(value: Any, depth: int = 0) -> Any:
    """JSON values with every text cleaned and the whole bounded in depth and breadth."""
    if isinstance(value, str):
        return clean(value, 400)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if depth > 3:
        return None
    if isinstance(value, dict):
        return {clean(key, 40): _plain(item, depth + 1) for key, item in list(value.items())[:50]}
    return [_plain(item, depth + 1) for item in list(value)[:50]]
