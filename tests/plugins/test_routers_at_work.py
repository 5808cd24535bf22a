"""Whole consoles on simulated nodes with each real router: a drain begins once the router itself has confirmed, and not without it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress

import pytest

from opsconsole.hooks import RouterError
from opsconsole_haproxy.runtime import ask
from opsconsole_haproxy.table import read_servers
from tests.plugins.haproxy_process import BINARY, CONFIG
from tests.plugins.installed import paths_of

FLEET = """
[fleet]
name = "lab"
[[nodes]]
hosts = "n[1-2]"
gpus = "sim:4"
link = "sim"
[[models]]
name = "demo"
checkpoint = "random:tiny"
[policy]
max_unavailable = 9
[router]
"""
PATIENCE_S = 30.0


class Console:
    """A collector of its own, commands that attach to it, and the router in front."""

    def __init__(self, place, router):
        (place / "fleet.toml").write_text(FLEET + router.section)
        self.environment = os.environ | {
            "OPSCONSOLE_CONFIG": str(place / "fleet.toml"), "OPSCONSOLE_STATE_DIR": str(place / "state"),
            "PYTHONPATH": os.pathsep.join(paths_of("haproxy", place / "installed"))}
        self.router = router

    def run(self, *arguments):
        command = [sys.executable, "-m", "opsconsole", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)

    def ready_workers(self):
        return [worker["name"] for worker in json.loads(self.run("workers", "--json").stdout)["workers"] if worker["state"] == "READY"]

    @contextmanager
    def collecting(self):
        collector = subprocess.Popen([sys.executable, "-m", "opsconsole", "collect"], env=self.environment)
        try:
            yield self
        finally:
            collector.send_signal(signal.SIGTERM)
            assert collector.wait(30) == 0


class Gateway:
    def __init__(self, place):
        command = [sys.executable, "-m", "opsconsole.gateway", "--routes", str(place / "state" / "routes.json"), "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = f"http://127.0.0.1:{json.loads(self.process.stdout.readline())['port']}"
        self.section = f'url = "{self.url}"\n'
        self.why = self.url

    def states(self):
        with urllib.request.urlopen(self.url + "/state", timeout=5) as answer:
            return {worker["worker"]: worker["state"] == "ready" for worker in json.load(answer)["workers"]}


class Proxy:
    def __init__(self, place):
        (place / "haproxy.cfg").write_text(CONFIG.format(folder=place, servers=""))
        command = [BINARY, "-db", "-f", str(place / "haproxy.cfg")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.socket = str(place / "admin.sock")
        self.section = f'kind = "haproxy"\noptions = {{ socket = "{self.socket}", backends = {{ demo = "llm" }} }}\n'
        self.why = "is HAProxy running"

    def states(self):
        with suppress(RouterError):  # it has not begun to listen
            servers = read_servers(asyncio.run(ask(self.socket, "show servers state")))
            return {server.name: not server.is_out for server in servers.values()}
        return {}


def until(ask, holds):
    give_up = time.monotonic() + PATIENCE_S
    while not holds(found := ask()):
        assert time.monotonic() < give_up, found
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("kind", [
    Gateway, pytest.param(Proxy, marks=pytest.mark.skipif(not BINARY, reason="needs haproxy"))], ids=["gateway", "haproxy"])
def test_a_drain_begins_with_the_routers_word(tmp_path, kind):
    (tmp_path / "state").mkdir(mode=0o700)
    router = kind(tmp_path)
    try:
        with Console(tmp_path, router).collecting() as console:
            routed = until(router.states, lambda states: len(states) > 2 and all(states.values()))
            first, second, *_ = sorted(routed)
            done = console.run("drain", first, "--yes", "--json")
            assert done.returncode == 0, done.stderr
            assert not until(router.states, lambda states: not states.get(first)).get(first)
            assert router.states()[second]
            router.process.kill()
            router.process.wait()
            refused = console.run("drain", second, "--yes")
            assert refused.returncode != 0 and router.why in refused.stdout + refused.stderr, refused
            assert second in console.ready_workers()
    finally:
        router.process.kill()
        router.process.wait()
