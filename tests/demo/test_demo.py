"""The whole demo, from its first line to its last process: it comes up, answers like any fleet, and leaves nothing however it ends."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

OURS = str(Path(__file__).parents[2])


@pytest.fixture
def scratch():
    """A temporary directory with a short name: the collector's socket must fit into it."""
    with tempfile.TemporaryDirectory(prefix="ops-") as directory:
        yield Path(directory)


@contextlib.contextmanager
def running(scratch, *arguments):
    """(process, ready line) of a headless demo; its temporary directory lies in scratch."""
    command = [sys.executable, "-m", "opsconsole", "demo", "--headless", "--json", *arguments]
    environ = os.environ | {"TMPDIR": str(scratch)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=OURS, env=environ) as process:
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.terminate()
    assert left(scratch) == []


def console(ready, *arguments):
    command = [sys.executable, "-m", "opsconsole", "--config", ready["config"], "--state-dir", ready["state_dir"], *arguments]
    return json.loads(subprocess.run(command, cwd=OURS, stdout=subprocess.PIPE, check=True, timeout=30).stdout)


def left(scratch):
    """What still runs for, or lies in, the directory."""
    found = [str(path) for path in scratch.iterdir()]
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            said = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            if str(scratch).encode() in said and int(entry.name) != os.getpid():
                found.append(said.replace(b"\0", b" ")[:200].decode())
    return found


def until(condition, limit_s=40.0):
    give_up = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < give_up, "what was waited for did not happen"
        time.sleep(0.1)


def workers_of(ready):
    return list(Path(ready["config"]).parent.glob("*/.opsconsole/workers/*.json"))


def test_it_ends_at_a_signal_and_leaves_nothing(scratch):
    with running(scratch, "--nodes", "2", "--gpus", "2") as (process, ready):
        assert ready["event"] == "ready" and ready["gateway"].startswith("http://127.0.0.1:")
        nodes = console(ready, "nodes", "--json")["nodes"]
        assert [node["reach"] for node in nodes] == ["LIVE", "LIVE"]
        assert len(console(ready, "gpus", "--json")["gpus"]) == 4
        assert Path(ready["config"]).parent.stat().st_mode & 0o777 == 0o700
        until(lambda: workers_of(ready))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_even_when_it_is_killed_nothing_is_left(scratch):
    with running(scratch, "--nodes", "1") as (process, ready):
        until(lambda: workers_of(ready))
        process.kill()
        process.wait()
        until(lambda: not left(scratch))


def test_many_nodes_are_simulated_and_the_duration_ends_it(scratch):
    with running(scratch, "--nodes", "40", "--scenario", "dead-gpu", "--duration", "8") as (process, ready):
        assert ready["gateway"] is None
        assert len(console(ready, "nodes", "--json")["nodes"]) == 40
        assert process.wait(30) == 0


@pytest.mark.parametrize("arguments", [["--scenario", "nothing"], ["--nodes", "0"]])
def test_a_wrong_command_line_starts_nothing(scratch, arguments):
    command = [sys.executable, "-m", "opsconsole", "demo", "--headless", *arguments]
    done = subprocess.run(command, cwd=OURS, env=os.environ | {"TMPDIR": str(scratch)}, capture_output=True, timeout=30, check=False)
    assert done.returncode == 2 and not list(scratch.iterdir())
