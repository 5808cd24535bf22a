"""The command line of a vLLM worker and the names of its metrics, for a node that knows nothing of vLLM.

Two of vLLM's habits decide how it is drained. /health answers 200 to the last moment, so it tells that a worker is ready and never that
one is idle: that is told by its counts of running and waiting requests, after the router has stopped sending. And SIGTERM aborts what
is in flight at once unless --shutdown-timeout says otherwise, so it always says so, and a node waits longer than that before SIGKILL.
"""

from __future__ import annotations

from typing import Any

from opsconsole.core.fleet import Model
from opsconsole.hooks import Misfit

SHUTDOWN_TIMEOUT_S = 60
"""How long vLLM may finish what is in flight after SIGTERM. A drain leaves nothing to finish; this is for a SIGTERM from elsewhere."""
TERM_LIMIT_S = SHUTDOWN_TIMEOUT_S + 30
"""Beside finishing, its engine processes have to end and to free their GPUs."""
MEMORY_SHARE = 0.9
"""vLLM's own default for --gpu-memory-utilization."""

METRICS = {
    "num_requests_running": ["vllm:num_requests_running"],
    "num_requests_waiting": ["vllm:num_requests_waiting", "vllm:num_requests_waiting_by_reason"],
    "kv_cache_usage_perc": ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"],
    "generation_tokens_total": ["vllm:generation_tokens_total"],
    "prompt_tokens_total": ["vllm:prompt_tokens_total"],
    "request_success_total": ["vllm:request_success_total"],
    "time_to_first_token_seconds": ["vllm:time_to_first_token_seconds"],
    "inter_token_latency_seconds": ["vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"],
}
"""Ours: vLLM's, newest first."""


def spec_of(model: Model) -> dict[str, Any]:
    """protocol.ENGINE_SPEC for a worker of this model. Raises Misfit."""
    if not model.checkpoint or model.checkpoint.startswith("-") or model.checkpoint.startswith("random:"):
        raise Misfit("checkpoint", f"is {model.checkpoint!r}; vLLM needs a folder on the node or a name on the Hugging Face hub")
    argv = [
        "vllm", "serve", model.checkpoint, "--host", "{host}", "--port", "{port}", "--served-model-name", model.name,
        "--max-num-seqs", str(model.slots), "--max-model-len", str(model.max_len), "--tensor-parallel-size", str(model.gpus),
        "--shutdown-timeout", str(SHUTDOWN_TIMEOUT_S),
    ]
    if model.gpu_share < 1:
        argv += ["--gpu-memory-utilization", f"{MEMORY_SHARE * model.gpu_share:.3f}"]
    return {
        "argv": argv, "env": {}, "ready_path": "/health", "drain_path": None, "metrics_path": "/metrics", "metrics": METRICS,
        "term_limit_s": float(TERM_LIMIT_S), "notifies": False,
    }
