"""The agent as the console sees it: a process with two pipes, spoken to in lines."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from opsconsole.protocol import GPU_COLUMNS, MAGIC

ROOT = Path(__file__).parents[2]
WAIT_S = 20.0


class AgentProcess:
    def __init__(self, argv=None, **variables):
        environment = dict(os.environ, PYTHONPATH=str(ROOT), **variables)
        environment.pop("JAX_PLATFORMS", None)  # tests of the worker settle it for their own process
        self.process = subprocess.Popen(
            argv or [sys.executable, "-m", "opsconsole.agent"], env=environment, cwd="/",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout.readline() == MAGIC.encode() + b"\n"
        self.messages = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.messages.put(json.loads(line))
        self.messages.put(None)

    def say(self, op, **fields):
        self.process.stdin.write(json.dumps({"op": op, **fields}).encode() + b"\n")
        self.process.stdin.flush()

    def wait_for(self, wanted, within_s=WAIT_S):
        """The next message for which `wanted` holds; those before it are thrown away."""
        end = time.monotonic() + within_s
        while True:
            message = self.messages.get(timeout=max(0.01, end - time.monotonic()))
            assert message is not None, "the agent has ended"
            if wanted(message):
                return message

    def facts(self, wanted=lambda facts: True):
        return self.wait_for(lambda message: message["t"] == "facts" and wanted(message))

    def sample(self, wanted=lambda sample: True, within_s=WAIT_S):
        return self.wait_for(lambda message: message["t"] == "sample" and wanted(message), within_s)

    def last_answer(self, order_id):
        return self.wait_for(lambda message: message["t"] == "answer" and message["id"] == order_id and message["done"], 40)

    def worker(self, name, wanted):
        """The row of a worker once `wanted` holds for it."""
        def find(sample):
            return [row for row in sample["workers"] if row["name"] == name and wanted(row)]

        return find(self.sample(find))[0]

    def end(self):
        self.process.stdin.close()
        return self.process.wait(timeout=WAIT_S)


def gpu(sample, row):
    """{column: value} of one GPU."""
    return {column: values[row] for column, values in zip(GPU_COLUMNS, sample["gpu"], strict=True)}


def kill_workers(work_dir):
    """Whatever its agents have left behind: keepers first, or they would start their workers again."""
    records = [json.loads(file.read_text()) for file in (work_dir / "workers").glob("*.json")]
    keepers = [record["keeper"][0] for record in records if record.get("keeper")]
    for pid in [*keepers, *(record["pid"] for record in records if record.get("pid"))]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
