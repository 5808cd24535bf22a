"""The console is killed in the middle of a launch and of a drain: the next one shows the run, and resuming it finishes it, once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.ssh.sshd import HAS_SSHD, Sshd, make_key

pytestmark = pytest.mark.skipif(not HAS_SSHD, reason="needs OpenSSH's sshd")

STAND_IN = Path(__file__).parents[1] / "agent" / "stand_in_worker.py"
FLEET = """
[fleet]
name = "lab"
known_hosts = "{home}/known_hosts"

[[sites]]
name = "s1"

[[nodes]]
hosts = "n1"
site = "s1"
chip = "H100"
address = "127.0.0.1"
port = {port}
identity = "{home}/operator"
python = "{python}"
worker_python = "{home}/worker-python"
work_dir = "{home}/work"
gpus = "sim:{home}/gpus.json"

[[models]]
name = "slow"
checkpoint = "slow:4"

[[models]]
name = "busy"
checkpoint = "busy:3:5"
"""

MOMENTS = pytest.mark.parametrize("reached", [
    lambda run: run["steps"][0]["state"] == "SENT", lambda run: run["steps"][0]["said"],
], ids=["sent", "heard"])
"""How far the run has come when its console is killed."""


class Lab:
    """One real OpenSSH node whose workers have no model, and the commands that attach to its collector."""

    def __init__(self, home):
        home.chmod(0o700)
        self.home = home
        self.sshd = Sshd(home / "node", make_key(home / "operator")).start()
        (home / "known_hosts").write_text(f"{self.sshd.known_name} {self.sshd.host_key}\n")
        (home / "gpus.json").write_text(json.dumps({"chip": "H100", "count": 2, "seed": 7}))
        script = home / "worker-python"
        script.write_text(f"#!{sys.executable}\n{STAND_IN.read_text()}")
        script.chmod(0o700)
        (home / "fleet.toml").write_text(FLEET.format(home=home, port=self.sshd.port, python=sys.executable))
        self.command = [
            sys.executable, "-m", "opsconsole", "--config", str(home / "fleet.toml"), "--state-dir", str(home / "state"),
        ]

    def call(self, *words, code=0):
        done = subprocess.run([*self.command, *words, "--json"], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=90)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    @property
    def collector(self):
        return int((self.home / "state" / "collector.lock").read_text())

    def kill(self):
        os.kill(self.collector, signal.SIGKILL)

    def run(self, run_id):
        (run,) = self.call("runs", run_id)["runs"]
        return run

    def processes(self):
        return [json.loads(file.read_text()) for file in sorted((self.home / "work" / "workers").glob("*.json"))]

    def audit(self, run_id):
        rows = [row for row in self.call("audit")["rows"] if row["run"] == run_id]
        return [row["kind"] for row in rows], [row["id"] for row in rows if row["kind"] == "order"]

    def close(self):
        for record in self.processes() if (self.home / "work").exists() else ():
            try:
                os.kill(record["pid"], signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            os.kill(self.collector, signal.SIGTERM)
        except (ProcessLookupError, ValueError, FileNotFoundError):
            pass
        self.sshd.stop()


@pytest.fixture
def lab(tmp_path):
    made = Lab(tmp_path)
    yield made
    made.close()


def until(true, limit_s=60.0):
    give_up = time.monotonic() + limit_s
    while time.monotonic() < give_up:
        if found := true():
            return found
        time.sleep(0.2)
    raise AssertionError("did not come true")


def interrupted_and_resumed(lab, begun, reached):
    """Kills the collector once the run has come so far, and finishes the run with another."""
    until(lambda: reached(lab.run(begun)))
    lab.kill()
    run = lab.run(begun)
    assert run["state"] == "INTERRUPTED" and run["steps"][0]["state"] == "UNSURE"
    until(lambda: lab.call("nodes")["nodes"][0]["reach"] == "LIVE")
    resumed = lab.call("resume", begun)
    assert resumed["state"] == "DONE" and resumed["steps"][0]["state"] == "DONE", resumed
    kinds, orders = lab.audit(begun)
    assert kinds[:2] == ["begin", "order"] and kinds[-1] == "receipt" and "told" in kinds and len(orders) > 1 and len(set(orders)) == 1
    return resumed


@MOMENTS
def test_a_launch_outlives_the_console_and_is_not_made_twice(lab, reached):
    begun = lab.call("launch", "slow", "--yes", "--no-wait")["run"]
    interrupted_and_resumed(lab, begun, reached)
    (worker,) = until(lambda: [worker for worker in lab.call("workers")["workers"] if worker["state"] == "READY"])
    (record,) = lab.processes()
    assert record["pid"] == worker["pid"]
    found = subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True).stdout
    assert sum("opsconsole.worker" in line and str(lab.home) in line for line in found.splitlines()) == 1


@MOMENTS
def test_a_drain_outlives_the_console_and_loses_nothing(lab, reached):
    assert lab.call("launch", "busy", "--yes")["receipts"][0]["outcome"] == "done"
    until(lambda: [worker for worker in lab.call("workers")["workers"] if worker["state"] == "READY"])
    begun = lab.call("drain", "busy-1", "--yes", "--no-wait")["run"]
    resumed = interrupted_and_resumed(lab, begun, reached)
    detail = resumed["steps"][0]["detail"]
    assert detail["in_flight_at_start"] == 3 and detail["finished"] == 3 and "is closed" in detail["proof"]
