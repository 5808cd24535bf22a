"""The engine `vllm` against a stand-in that speaks vLLM's HTTP, metrics and signals (tests/agent/test_vllm_worker.py has it on a node)."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import aiohttp
import pytest

from opsconsole.core.fleet import Model
from opsconsole.hooks import Misfit
from opsconsole.plugins import Plugins
from opsconsole.protocol import ENGINE_SPEC
from opsconsole_vllm.engine import METRICS, SHUTDOWN_TIMEOUT_S, spec_of

MODEL = Model("llama", "vllm", "/models/llama", gpus=2, slots=3, max_len=4096)
FAKE = Path(__file__).with_name("fake_vllm.py")
PATIENCE_S = 30.0


def options_of(argv):
    return dict(zip(argv[3::2], argv[4::2], strict=True))


def test_the_command_line_says_all_that_the_fleet_file_says():
    spec = spec_of(MODEL)
    assert set(spec) == set(ENGINE_SPEC) and spec["argv"][:3] == ["vllm", "serve", "/models/llama"]
    assert options_of(spec["argv"]) == {
        "--host": "{host}", "--port": "{port}", "--served-model-name": "llama", "--max-num-seqs": "3", "--max-model-len": "4096",
        "--tensor-parallel-size": "2", "--shutdown-timeout": str(SHUTDOWN_TIMEOUT_S)}
    assert options_of(spec_of(Model("m", "vllm", "c", gpu_share=0.5))["argv"])["--gpu-memory-utilization"] == "0.450"


def test_health_is_for_readiness_only_and_sigterm_is_given_time():
    spec = spec_of(MODEL)
    assert spec["ready_path"] == "/health" and spec["drain_path"] is None and spec["term_limit_s"] > SHUTDOWN_TIMEOUT_S > 0


def test_metrics_are_known_by_their_newer_and_older_names():
    assert METRICS["kv_cache_usage_perc"] == ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"]
    assert METRICS["inter_token_latency_seconds"][-1] == "vllm:time_per_output_token_seconds"
    assert json.loads(json.dumps(spec_of(MODEL))) == spec_of(MODEL)  # it travels as JSON


@pytest.mark.parametrize("checkpoint", ["", "random:tiny", "--help"])
def test_what_vllm_cannot_serve_is_refused(checkpoint):
    with pytest.raises(Misfit) as caught:
        spec_of(Model("m", "vllm", checkpoint))
    assert caught.value.key == "checkpoint"


def test_it_is_found_by_its_entry_point(install):
    install("vllm")
    plugins = Plugins({"vllm"})
    assert [(found.state, found.adds) for found in plugins.found if found.name == "vllm"] == [("loaded", ("engine vllm",))]
    assert plugins.engine_spec(MODEL) == spec_of(MODEL)


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def served(spec, **environment):
    """The spec's own command line, with the stand-in for the program; its process and address."""
    port = free_port()
    argv = [text.replace("{port}", str(port)).replace("{host}", "127.0.0.1") for text in spec["argv"]]
    process = subprocess.Popen([sys.executable, str(FAKE), *argv[1:]], env=environment, stdout=subprocess.DEVNULL)
    try:
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up and not answers(f"http://127.0.0.1:{port}{spec['ready_path']}"):
            assert process.poll() is None
            time.sleep(0.02)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def answers(url):
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(url, timeout=5).status == 200


@pytest.mark.parametrize("age", ["old", "new"])
def test_each_metric_is_there_under_one_of_its_names(age):
    with served(spec_of(MODEL), FAKE_VLLM_METRICS=age) as (_, url):
        text = urllib.request.urlopen(url + "/metrics", timeout=5).read().decode()
        told = {name.removesuffix("_bucket") for name in (line.partition("{")[0] for line in text.splitlines())}
        missing = {ours for ours, names in METRICS.items() if not told & set(names)}
        assert missing == {"time_to_first_token_seconds"}  # the stand-in keeps no such histogram


async def stream(session, url, tokens):
    body = {"model": "llama", "prompt": "x", "max_tokens": tokens, "stream": True}
    async with session.post(url + "/v1/completions", json=body) as answer:
        assert answer.status == 200
        return (await answer.read()).decode()


@pytest.mark.parametrize("is_told", [True, False])
async def test_what_is_in_flight_survives_sigterm_only_with_the_shutdown_timeout(is_told):
    spec = spec_of(MODEL)
    if not is_told:  # vLLM's default
        spec["argv"] = spec["argv"][: spec["argv"].index("--shutdown-timeout")]
    with served(spec, FAKE_VLLM_TOKEN_S="0.03") as (process, url):
        async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as session:
            streaming = asyncio.create_task(stream(session, url, 20))
            while 'running{engine="0",model_name="llama"} 1.0' not in await (await session.get(url + "/metrics")).text():
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            if is_told:
                assert (await session.get(url + "/health")).status == 200  # to the last moment: no sign of anything
                assert (await streaming).endswith("[DONE]\n\n")
            else:
                with pytest.raises(aiohttp.ClientError):
                    await streaming
            await asyncio.to_thread(process.wait)
