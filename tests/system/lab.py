"""One real OpenSSH node whose workers have no model, and the commands that attach to its collector."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.agent.agent_process import kill_workers
from tests.ssh.sshd import Sshd, make_key

STAND_IN = Path(__file__).parents[1] / "agent" / "stand_in_worker.py"
FINISHES_AFTER_S = 5
"""What is in flight in a busy worker, once no more is admitted."""
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
name = "endless"
checkpoint = "slow:600"

[[models]]
name = "busy"
checkpoint = "busy:3:{finishes_after_s}"
"""


class Lab:
    """In a directory of its own. Close it, whatever happened: it ends its workers, its collector and its server."""

    def __init__(self, home):
        home.chmod(0o700)
        self.home = home
        self.sshd = Sshd(home / "node", make_key(home / "operator")).start()
        (home / "known_hosts").write_text(f"{self.sshd.known_name} {self.sshd.host_key}\n")
        (home / "gpus.json").write_text(json.dumps({"chip": "H100", "count": 2, "seed": 7}))
        script = home / "worker-python"
        script.write_text(f"#!{sys.executable}\n{STAND_IN.read_text()}")
        script.chmod(0o700)
        (home / "fleet.toml").write_text(FLEET.format(home=home, port=self.sshd.port, python=sys.executable,
                                                      finishes_after_s=FINISHES_AFTER_S))
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
        kill_workers(self.home / "work")
        try:
            os.kill(self.collector, signal.SIGTERM)
        except (ProcessLookupError, ValueError, FileNotFoundError):
            pass
        self.sshd.stop()


def until(true, limit_s=60.0):
    give_up = time.monotonic() + limit_s
    while time.monotonic() < give_up:
        if found := true():
            return found
        time.sleep(0.2)
    raise AssertionError("did not come true")
