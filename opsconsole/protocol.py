"""The words a console and a node say to each other, one JSON object a line (stdlib only, Python 3.9, packed into the agent).

Console to node, on the agent's standard input:
    {"op": "hello", "interval_s": 1.0, "gpus": "nvml" | "sim:PATH", "work_dir": PATH, "worker_python": PATH,
     "silence_limit_s"?: S}                                 first, once
    {"op": "ping"}                                          at least every PING_INTERVAL_S
    {"op": "launch", "id": ID, "worker": NAME, "model": NAME, "engine": "jax", "checkpoint": TEXT, "gpus": [I, ...],
     "slots": N, "max_len": N, "host": ADDRESS, "port": 0 | N}
    {"op": "drain", "id": ID, "worker": NAME, "deadline_s": S, "on_deadline": "hold" | "extend" | "migrate" | "abort"}
    {"op": "undrain" | "stop", "id": ID, "worker": NAME}    take requests again; stop one that has nothing in flight
    {"op": "cancel", "id": ID, "worker": NAME}              end a worker that was never ready, and its launch (detail {"cancelled": true})
    {"op": "cordon", "id": ID, "reason": TEXT} | {"op": "uncordon", "id": ID}
    {"op": "cap", "id": ID, "gpus": [ROW, ...], "watts": W | null}    W a GPU; null: what it was before the first cap. All of them or
                                                            none; detail {"gpus", "limits_w", "before_w"}
    {"op": "anchors", "id": ID}                             the audit heads that were left here: detail {"anchors": [the newest 40, oldest
                                                            first: {"audit", "seq", "hash", "at", "order", "by"}], "kept": N}
Every order may carry, and those of the console do:
    "actor": TEXT                                           who wants it
    "generation": N | null                                  of the worker, as last seen; the node refuses an order when it has taken another
                                                            since: detail {"conflict": true, "by": TEXT, "order": ID, "age_s": S}. null: the
                                                            node has no worker of that name. The same id again is the same order: it is
                                                            answered (a refusal too), or joined while it is under way, never done twice.
                                                            Each order that is taken makes the next generation, also one without the field
    "anchor": {"audit": ID, "seq": N, "hash": HEX}          head of the audit, kept by the node (the last 1000)
A launch of another engine than jax carries "engine_spec" (see ENGINE_SPEC); one that shares its GPUs "gpu_share": 0..1. Its answers tell
detail {"phase": "preflight" | one of WORKER_PHASES | "cache hit" | "first token", "elapsed_s": S} as each begins; the last one tells
"restarts", and "log" when it failed. A drain's last answer is its receipt: detail {"in_flight_at_start", "finished", "moved", "aborted",
"seconds"} and "proof", or "held": true with "in_flight" (null: unknown), or "orphans": [PID, ...] of what outlived its worker.

Node to console, on its standard output, after the line MAGIC:
    {"t": "facts", ...}     what does not change each second; sent first and again whenever it changes (see FACTS)
    {"t": "sample", "seq": N, "wall": EPOCH_S, "mono": S, "gpu": [[value of each GPU] for each of GPU_COLUMNS],
     "node": [value for each of NODE_COLUMNS], "gpu_errors": {"ROW": TEXT}, "procs": [[ROW, PID, NAME, MIB], ...],
     "cordon": {"reason": TEXT, "actor": TEXT, "at": EPOCH_S} | null,
     "workers": [{field of WORKER_FIELDS: value}, ...]}
    {"t": "answer", "id": ID, "ok": BOOL, "done": BOOL, "text": TEXT, "detail": {...}}   done: the last answer to that order
    {"t": "trouble", "text": TEXT}                          something the operator should read; the agent goes on

A value that the node cannot know is null, never 0. Unknown keys are ignored, so that either side may be newer.
"""

import json

PROTOCOL_VERSION = 1
MAGIC = "OPSCONSOLE-AGENT %d" % PROTOCOL_VERSION
"""Everything before this line is noise of a login shell and is skipped."""

LINE_LIMIT_BYTES = 256 * 1024
PING_INTERVAL_S = 10.0
SILENCE_LIMIT_S = 30.0
"""An agent that hears nothing for so long ends itself, so that no orphan holds a session slot."""
PROBE_LIMIT_S = 3.0
"""An NVML call that takes longer is reported as hung for that GPU alone."""

GPU_COLUMNS = (
    "util_pct",          # share of the last second in which a kernel ran
    "mem_util_pct",      # share of the last second in which memory was read or written
    "mem_used_mib",
    "power_w",
    "power_limit_w",     # the enforced limit
    "temp_c",
    "sm_clock_mhz",
    "mem_clock_mhz",
    "throttle",          # NVML clock-event reasons, a bit mask; see THROTTLE_REASONS
    "ecc_corrected",     # volatile counters, since the driver was loaded
    "ecc_uncorrected",
    "pcie_rx_mib_s",
    "pcie_tx_mib_s",
    "energy_j",          # since the driver was loaded
    "xid",               # the last Xid code seen since the agent started; null: none
)

NODE_COLUMNS = ("cpu_pct", "mem_used_mib", "load1", "disk_free_mib", "net_rx_mib_s", "net_tx_mib_s")

GPU_FACTS = ("index", "uuid", "name", "mem_total_mib", "power_min_w", "power_max_w", "power_default_w", "sm_clock_max_mhz", "mig")
"""Columns of the `gpus` object of a facts line: {name: [value of each GPU]}. mig: 1 enabled, 0 disabled, null not supported."""

FACTS = ("protocol", "agent", "boot_id", "hostname", "python", "cpu_count", "mem_total_mib", "gpu_source", "driver", "gpu_error", "gpus")
"""gpu_error: null, or why no GPU could be asked at all (no driver, version mismatch), in NVML's words."""

WORKER_FIELDS = (
    "name", "model", "engine", "gpus", "port", "pid", "state", "phase", "reason", "slots",
    "queue_depth", "running", "tokens_total", "prompt_tokens_total", "requests_total", "tokens_per_s", "requests_per_s",
    "ttft_p50_ms", "ttft_p95_ms", "itl_p50_ms", "itl_p95_ms", "kv_used_pct", "started_wall",
    "checkpoint", "generation", "restarts",
)

ENGINE_SPEC = ("argv", "env", "ready_path", "drain_path", "metrics_path", "metrics", "term_limit_s", "notifies")
"""How a node starts and asks a worker of an engine that it does not know. argv: list of texts in which {port}, {host} and {gpus} stand for
what the node chose, and of which the first is a program; env: {NAME: TEXT}, none of which may change what program runs (PATH, HOME,
LD_*, PYTHONPATH); ready_path: 200 there means it takes work; drain_path: a POST there drains it and one to the same path with "un" before
its last part takes it back, null when it knows no drain and is drained by the router alone; metrics: {our name, with or without
METRICS_PREFIX: [its names in full, newest first]}; term_limit_s: how long it may take to end after SIGTERM; notifies: whether it
speaks sd_notify as ours does (READY=1, EXTEND_TIMEOUT_USEC, WATCHDOG=1), so that systemd finds out when it hangs. CUDA_VISIBLE_DEVICES is
set for it as for ours; a worker that answers POST /v1/completions has to give one token before its launch is told to be READY."""

WORKER_STATES = ("PENDING", "STARTING", "READY", "NOT_READY", "DRAINING", "DRAINED", "STOPPING", "STOPPED", "FAILED")
WORKER_PHASES = ("spawn", "import", "load", "compile", "warm")
"""The parts of STARTING, in order."""

THROTTLE_REASONS = {
    0x1: "idle",
    0x2: "clocks set by an application",
    0x4: "SW power cap",
    0x8: "HW slowdown",
    0x10: "sync boost",
    0x20: "SW thermal slowdown",
    0x40: "HW thermal slowdown",
    0x80: "HW power brake",
    0x100: "display clocks",
}
"""NVML's nvmlClocksEventReasons bits (nvml.h). `idle` is not a limit."""
THROTTLE_LIMITING = 0x4 | 0x8 | 0x20 | 0x40 | 0x80

METRICS_PREFIX = "opsconsole:"
"""Prefix of our JAX worker's Prometheus metrics; the names behind it are vLLM's where they mean the same."""


def encode(message):
    """One message as one line of bytes, newline included. Raises ValueError on NaN, which JSON cannot carry."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def decode(line):
    """One line of bytes (or text) as a dict. Raises ValueError when it is not one JSON object."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")
    return message
