"""From the keyboard: a real JAX worker is launched on a node reached over SSH, serves the public, and is drained with nothing lost."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from opsconsole.control.session import AsyncSession
from opsconsole.core.steps import Drain
from opsconsole.tui.app import ConsoleApp, Settings
from tests.tui.shown import text_of

pytest.importorskip("jax")
pytest.importorskip("aiohttp")

READY_WITHIN_S = 240
"""The first worker compiles; on a busy core of a small machine that is slow."""


class Demo:
    """`opsconsole demo --headless --json` and the options that attach to it."""

    def __init__(self, tmp_path):
        command = [sys.executable, "-m", "opsconsole", "demo", "--headless", "--json", "--scenario", "quiet-night"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
        )
        self.ready = json.loads(self.process.stdout.readline())
        self.options = ["--config", self.ready["config"], "--state-dir", self.ready["state_dir"]]

    def workers(self):
        command = [sys.executable, "-m", "opsconsole", *self.options, "workers", "--json"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return {worker["name"]: worker for worker in json.loads(answer.stdout)["workers"]}

    def end(self):
        """What it said at last about its traffic: (sent, whole, failed, refused, open at the end)."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=60)
        return tuple(map(int, re.search(r"traffic: (\d+) .*, (\d+) .*, (\d+) .*, (\d+) .*, (\d+) .*", said).groups()))


@pytest.fixture
def demo(tmp_path):
    tmp_path.chmod(0o700)
    made = Demo(tmp_path)
    yield made
    if made.process.poll() is None:
        made.end()


async def until(true, limit_s=READY_WITHIN_S):
    for _ in range(limit_s):
        found = await asyncio.to_thread(true)
        if found:
            return found
        await asyncio.sleep(1.0)
    raise AssertionError("did not come true")


def screen(demo):
    async def attach(on_fleet, on_lost):
        return await AsyncSession.attach(Path(demo.ready["config"]), Path(demo.ready["state_dir"]), on_fleet, on_lost)

    return ConsoleApp(attach, Settings("demo", "demo", "night", {}), False)


def launched(demo, before):
    new = [worker for name, worker in demo.workers().items() if name not in before]
    return new[0] if new and new[0]["state"] == "READY" and (new[0]["tokens_per_s"] or 0) > 0 else None


async def test_launch_serve_and_drain_without_losing_a_request(demo):
    await until(lambda: sum(worker["state"] == "READY" for worker in demo.workers().values()) == 4)
    before = demo.workers()
    app = screen(demo)
    async with app.run_test(size=(160, 48)) as pilot:
        while app.frame is None or not app.frame.fleet.workers:
            await pilot.pause(0.1)
        for key in ("L", "enter"):
            await pilot.press(key)
            await pilot.pause(1.0)
        await pilot.press("enter")  # yes to the plan
        worker = await until(lambda: launched(demo, before))
        assert worker["model"] == "demo" and worker["queue_depth"] is not None and worker["port"]
        while app.acting.under_way:
            await pilot.pause(0.1)
        await pilot.press("3")
        await pilot.pause(0.5)
        assert worker["name"] in text_of(app)
        app.acting.ask(Drain((worker["name"],), actor="test"))
        await pilot.pause(1.0)
        await pilot.press("enter")
        await until(lambda: demo.workers().get(worker["name"], {"state": "STOPPED"})["state"] == "STOPPED", 60)
    sent, whole, failed, refused, left_open = demo.end()
    assert whole > 0 and (failed, refused) == (0, 0) and sent == whole + left_open
