"""A worker of another engine on a real agent: the plugin's spec starts it, its metrics are read, and a drain loses none of its streams."""

import asyncio
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from opsconsole.core.fleet import Model
from opsconsole_vllm.engine import spec_of
from tests.plugins import fake_vllm

pytest.importorskip("aiohttp")
if importlib.util.find_spec("opsconsole.agent.engines") is None:
    pytest.skip("this agent starts jax workers only", allow_module_level=True)

from tests.agent.ordering import drain, launch  # noqa: E402
from tests.plugins.test_vllm import stream  # noqa: E402

PATIENCE_S = 60.0


@pytest.mark.parametrize("age", ["old", "new"])
def test_it_is_launched_watched_and_drained(gpu_file, start, tools, tmp_path, age):
    (tools / "vllm").write_text(f"#!{sys.executable}\n{Path(fake_vllm.__file__).read_text()}")
    (tools / "vllm").chmod(0o700)
    spec = spec_of(Model("llama", "vllm", str(tmp_path), slots=3))
    spec["env"] = {"FAKE_VLLM_METRICS": age, "FAKE_VLLM_TOKEN_S": "0.05"}
    agent = start(f"sim:{gpu_file.path}")
    answer = launch(agent, engine="vllm", model="llama", checkpoint=str(tmp_path), slots=3, engine_spec=spec)
    assert answer["ok"], json.dumps(answer)
    ended = asyncio.run(_drained_under_streams(agent, f"http://127.0.0.1:{answer['detail']['port']}"))
    assert ended["ok"] and ended["detail"]["in_flight_at_start"] == 4 and ended["detail"]["aborted"] == 0, ended


async def _drained_under_streams(agent, url):
    import aiohttp

    async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as session:
        streams = [asyncio.create_task(stream(session, url, 60)) for _ in range(4)]  # one more than it has slots
        seen = await asyncio.to_thread(agent.worker, "w-1", lambda worker: (worker["running"], worker["queue_depth"]) == (3, 1))
        assert seen["kv_used_pct"] == 25.0 and seen["engine"] == "vllm"
        ended = await asyncio.to_thread(drain, agent)
        assert all(text.endswith("[DONE]\n\n") for text in await asyncio.gather(*streams))
        return ended
