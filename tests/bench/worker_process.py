"""Real worker processes under the clock: start and relaunch by phase, and what several cost side by side."""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from rig import cpu_s
from worker_models import Model

START_TITLE = "Start: seconds of each phase, from exec to the first streamed token; medians"
MEMORY_TITLE = "Side by side: workers launched at once, programs stored; memory is PSS, idle CPU over ten seconds (quick: three)"
PHASES = ("listening", "import", "load", "compile", "warm")
PROMPT = [5, 6, 7, 8, 9, 10, 11, 12]


class Worker:
    """`python -m opsconsole.worker`, or another program that says the same lines, with the time of each line."""

    def __init__(self, model: Model, artifacts: Path, *options: object, program: tuple[str, ...] = ("-m", "opsconsole.worker")) -> None:
        self._began = time.monotonic()
        command = [sys.executable, *program, "--model", model.source, "--port", "0", "--artifacts", artifacts, *options]
        self._process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)
        self.at_s: dict[str, float] = {}
        """When each phase began or each event came, since exec."""
        self.events: dict[str, dict] = {}

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def wait_for(self, event: str) -> dict:
        """Read its lines up to this event."""
        for line in self._process.stdout:
            told = json.loads(line)
            name = told["phase"] if told["event"] == "phase" else told["event"]
            self.at_s.setdefault(name, self.age_s)
            self.events.setdefault(name, told)
            if told["event"] == event:
                return told
        raise SystemExit(f"the worker ended before it was {event}")

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.events['listening']['port']}"

    def ask(self, method: str, path: str, body: dict | None = None) -> http.client.HTTPResponse:
        """A response whose body is still to be read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.events["listening"]["port"], timeout=600)
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        return connection.getresponse()

    def first_token(self) -> float:
        """Seconds since exec until a first event with a token has come."""
        settings = {"max_tokens": 4, "temperature": 0, "stream": True, "ignore_eos": True, "return_token_ids": True}
        response = self.ask("POST", "/v1/completions", {"prompt": PROMPT, **settings})
        while b'"token_ids": [' not in response.readline():
            pass
        came_s = self.age_s
        response.read()
        return came_s

    def wait_for_all_programs(self) -> float:
        """Seconds since exec until every program has been compiled; a worker that found them stored gets only those it needs."""
        while True:
            programs = json.load(self.ask("GET", "/state"))["programs"]
            if programs["ready"] == programs["all"]:
                return self.age_s
            time.sleep(0.05)

    def pss_mib(self) -> float:
        """Its memory, with what it shares with others counted in parts."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def measure_starts(models: list[Model], quick: bool) -> Iterator[dict]:
    """A row for each model, cold (no stored programs) and warm."""
    for model in models:
        with tempfile.TemporaryDirectory(prefix="opsconsole-bench-") as folder:
            cold = [_start(model, Path(folder) / str(turn)) for turn in range(1 if quick else 3)]
            warm = [_start(model, Path(folder) / "0") for _ in range(3 if quick else 11)]
        for kind, starts in (("cold", cold), ("warm", warm)):
            told = {start.pop("artifacts") for start in starts}
            medians = {name: statistics.median(start[name] for start in starts) for name in starts[0]}
            yield {"model": model.name, "start": kind, "programs": "/".join(told), "runs": len(starts), **medians}


def _start(model: Model, artifacts: Path) -> dict:
    with Worker(model, artifacts) as worker:
        how = worker.wait_for("ready")["artifacts"]
        token_s = worker.first_token()
        used_s = cpu_s(worker.pid)
        compiled = {} if how == "hit" else {"all_programs_at": worker.wait_for_all_programs()}
    ends = [worker.at_s[name] for name in (*PHASES[1:], "ready")]
    begins = [0.0, *ends[:-1]]
    lasted = {name: end - begin for name, begin, end in zip(PHASES, begins, ends, strict=True)}
    lasted["listening"] = worker.at_s["listening"]
    came = {"ready_at": worker.at_s["ready"], "token_at": token_s, "cpu_s_at_token": used_s}
    return {"artifacts": how, **lasted, **came, **compiled}


def measure_crowds(models: list[Model], quick: bool) -> Iterator[dict]:
    """A row for each model and number of workers launched together."""
    idle_s = 3.0 if quick else 10.0
    for model in models:
        with tempfile.TemporaryDirectory(prefix="opsconsole-bench-") as folder:
            artifacts = Path(folder) / "programs"
            with Worker(model, artifacts) as first:
                first.wait_for("ready")
                first.wait_for_all_programs()
            for count in (1, 6) if quick else (1, 6, 12):
                yield {"model": model.name, "workers": count, **_crowd(model, artifacts, count, idle_s)}


def _crowd(model: Model, artifacts: Path, count: int, idle_s: float) -> dict[str, float]:
    with ExitStack() as stack:
        began = time.monotonic()
        workers = [stack.enter_context(Worker(model, artifacts)) for _ in range(count)]
        for worker in workers:
            worker.wait_for("ready")
        ready_s = time.monotonic() - began
        for worker in workers:
            worker.first_token()
        time.sleep(2.0)  # what a start leaves to be tidied
        before = sum(cpu_s(worker.pid) for worker in workers)
        time.sleep(idle_s)
        idle_pct = (sum(cpu_s(worker.pid) for worker in workers) - before) / idle_s * 100
        memory = [worker.pss_mib() for worker in workers]
        threads = statistics.median(len(list(Path(f"/proc/{worker.pid}/task").iterdir())) for worker in workers)
    row = {"all_ready_s": ready_s, "mib_each": sum(memory) / count, "mib_all": sum(memory)}
    return row | {"idle_cpu_pct": idle_pct, "threads_each": threads}
