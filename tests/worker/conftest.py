"""Real engines and real worker processes; all share one folder of compiled programs, so that each is compiled once."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from opsconsole.worker import environment
from opsconsole.worker.options import Options

environment.prepare()  # before anything imports numpy or jax, as the worker itself does

ROOT = Path(__file__).parents[2]
DEMO_MODEL = ROOT / "demo" / "model"
SLOTS, MAX_LEN = 2, 256
PATIENCE_S = 120.0


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    return tmp_path_factory.mktemp("artifacts") / "programs"


class RunningEngine:
    """An engine on its thread, asked and awaited from a test."""

    def __init__(self, options):
        from opsconsole.worker.admission import Admission
        from opsconsole.worker.engine import Engine
        from opsconsole.worker.loading import load

        self.loaded = load(options, lambda phase: None, lambda text: None)
        self.engine = Engine(self.loaded.runner, self.loaded.config.eos_ids, Admission(1000, 1_000_000), self._publish)
        self.scores = {}
        self._answers = {}
        self._thread = threading.Thread(target=self.engine.run)
        self._thread.start()

    def _publish(self, deliveries):
        for request, token_ids, reason, scores in deliveries:
            tokens, done = self._answers[request]
            tokens.extend(token_ids)
            self.scores.setdefault(request, []).extend(scores or ())
            if reason:
                done.set()

    def answers(self, requests):
        """All requests at once; their tokens, in order."""
        for request in requests:
            self._answers[request] = ([], threading.Event())
        for request in requests:
            self.engine.submit(request)
        assert all(self._answers[request][1].wait(PATIENCE_S) for request in requests)
        return [self._answers.pop(request)[0] for request in requests]

    def stop(self):
        self.engine.stop()
        self._thread.join(PATIENCE_S)


@pytest.fixture(scope="session")
def demo_engine(artifacts):
    pytest.importorskip("jax")
    running = RunningEngine(Options(str(DEMO_MODEL), "demo", slots=SLOTS, max_len=MAX_LEN, artifacts=artifacts))
    yield running
    running.stop()


class WorkerProcess:
    """`python -m opsconsole.worker` on a free port."""

    def __init__(self, *arguments, port=0):
        address = [] if port is None else ["--port", port]
        command = [sys.executable, "-m", "opsconsole.worker", *map(str, [*address, *arguments])]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.events = []

    def wait_for(self, event):
        """Read its lines up to the named event, and return that."""
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == event:
                return self.events[-1]
        raise AssertionError(f"ended before {event}: {self.process.stderr.read()}")

    @property
    def url(self):
        return f"http://127.0.0.1:{next(event['port'] for event in self.events if event['event'] == 'listening')}"

    def ask(self, path, body=None, method=None, headers=()):
        """(status, headers, body); a body that is no bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json", **dict(headers)}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.headers, refused.read()

    def state(self):
        return json.loads(self.ask("/state")[2])

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self):
        status = self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        self.errors = self.process.stderr.read()
        self.process.stderr.close()
        return status


@pytest.fixture
def start_worker(artifacts):
    """Start workers that end with the test."""
    started = []

    def start(*arguments, model=DEMO_MODEL, port=0):
        worker = WorkerProcess("--model", model, "--slots", SLOTS, "--max-len", MAX_LEN, "--artifacts", artifacts, *arguments, port=port)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        stop_by_id(worker)


@pytest.fixture(scope="session")
def shared_worker(artifacts):
    """One ready worker for all tests that leave it as it was."""
    pytest.importorskip("jax")
    worker = WorkerProcess("--model", DEMO_MODEL, "--name", "demo", "--slots", SLOTS, "--max-len", MAX_LEN, "--artifacts", artifacts)
    worker.wait_for("ready")
    yield worker
    stop_by_id(worker)


def stop_by_id(worker):
    if worker.process.poll() is None:
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.wait()
