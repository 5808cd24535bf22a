"""How the agent begins and ends, keeps its beat, and runs from a zip on an old Python."""

import json
import os
import signal
import sys
import time
import zipfile
from pathlib import Path

import pynvml
import pytest

from opsconsole.agent.lines import Outbox, fit
from opsconsole.protocol import LINE_LIMIT_BYTES, SILENCE_LIMIT_S
from tests.agent.agent_process import ROOT, AgentProcess, gpu
from tests.agent.ordering import drain, launch

OLD_PYTHONS = [*Path.home().glob(".pyenv/versions/3.9.*/bin/python"), *(path for path in [Path("/usr/bin/python3.9")] if path.exists())][:1]


def test_end_of_input_ends_it(start, gpu_file):
    agent = start(f"sim:{gpu_file.path}")
    agent.sample()
    begun = time.monotonic()
    assert agent.end() == 0
    assert time.monotonic() - begun < 1


def test_silence_ends_it(start, gpu_file):
    agent = start(f"sim:{gpu_file.path}", silence_limit_s=1.0)
    agent.sample()
    assert agent.process.wait(timeout=5) == 0
    assert SILENCE_LIMIT_S == 30


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it(start, gpu_file, number):
    agent = start(f"sim:{gpu_file.path}")
    agent.sample()
    agent.process.send_signal(number)
    assert agent.process.wait(timeout=5) == 0


def test_the_beat_does_not_drift(start, gpu_file):
    agent = start(f"sim:{gpu_file.path}")
    first = agent.sample()
    last = agent.sample(lambda sample: sample["seq"] == 11)
    assert last["mono"] - first["mono"] == pytest.approx(2.0, abs=0.15)


def test_garbage_on_input_is_named_and_survived(start, gpu_file):
    agent = start(f"sim:{gpu_file.path}")
    agent.process.stdin.write(b"\xff\x00not json\n[1]\n" + b"[" * 100000 + b"\n")
    agent.say("dance", id="x")
    assert agent.wait_for(lambda message: message["t"] == "trouble")
    assert not agent.last_answer("x")["ok"]
    assert agent.sample()


def test_a_full_pipe_drops_old_samples_and_no_answer():
    reader, writer = os.pipe()
    box = Outbox(writer, lambda: None)
    for number in range(2000):
        box.say({"t": "sample", "seq": number, "filler": "x" * 1000})
        if number % 500 == 0:
            box.say({"t": "answer", "id": str(number), "ok": True, "done": True, "text": "", "detail": {}})
        assert box.flush()
    received = b""
    while box.is_waiting:
        received += os.read(reader, 2**20)
        box.flush()
    received += os.read(reader, 2**20)
    messages = [json.loads(line) for line in received.splitlines()]
    assert [message["id"] for message in messages if message["t"] == "answer"] == ["0", "500", "1000", "1500"]
    samples = [message["seq"] for message in messages if message["t"] == "sample"]
    assert samples[-1] == 1999 and len(samples) < 200


def test_no_line_is_too_long_and_none_carries_nan():
    procs = [[0, 1, "\u2603" * 200, 1]] * 5000
    workers = [{"name": "w", "reason": "\u2603" * 5000}] * 64
    line = fit({"t": "sample", "gpu": [[float("nan"), 1.0]], "procs": procs, "workers": workers})
    assert len(line) <= LINE_LIMIT_BYTES
    assert json.loads(line)["gpu"] == [[None, 1.0]] and len(json.loads(line)["workers"]) == 64


def make_zip(path):
    """What the bundler sends."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("__main__.py", "from opsconsole.agent.__main__ import main\nmain()\n")
        bundle.write(pynvml.__file__, "pynvml.py")
        package = ROOT / "opsconsole"
        for file in [package / "protocol.py", package / "physics.py", *sorted((package / "agent").glob("*.py"))]:
            bundle.write(file, file.relative_to(ROOT))
        bundle.writestr("opsconsole/__init__.py", "")
    return path


@pytest.mark.parametrize("python", OLD_PYTHONS + [Path(sys.executable)], ids=lambda path: path.parts[-3])
def test_it_runs_from_a_zip_without_any_site_packages(start, tmp_path, nvml_state, python):
    agent = start("nvml", argv=[str(python), "-I", "-S", str(make_zip(tmp_path / "agent.zip"))])
    assert len(agent.facts(lambda facts: facts["gpus"]["uuid"])["gpus"]["uuid"]) == 2
    assert gpu(agent.sample(), 0)["power_w"] > 0
    assert launch(agent)["ok"] and drain(agent)["ok"]  # the worker's keeper runs from the zip, too


def test_without_the_library_the_reason_is_told(tmp_path):
    agent = AgentProcess()
    agent.say("hello", gpus="nvml", work_dir=str(tmp_path))
    facts = agent.facts(lambda facts: facts["gpu_error"] != "nvmlInit has not answered yet")
    assert facts["gpu_error"] is None or "(nvmlInit)" in facts["gpu_error"]
    agent.end()
