"""An agent to speak to, on GPUs that are not there, with workers that have no model."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests import nvml_library
from tests.agent.agent_process import AgentProcess, kill_workers


@pytest.fixture(scope="session")
def nvml_dir(tmp_path_factory):
    if not nvml_library.HAS_COMPILER:
        pytest.skip("no gcc to build the NVML library with")
    return nvml_library.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml_state(tmp_path):
    """Writes what the NVML library has to say."""
    def write(*statements):
        nvml_library.write_state(tmp_path / "nvml.txt", *statements)

    write("count 2")
    return write


@pytest.fixture
def gpu_file(tmp_path):
    """Writes the simulation file; `path` is where."""
    def write(**spec):
        beside = tmp_path / "gpus.new"
        beside.write_text(json.dumps(spec))
        os.replace(beside, write.path)

    write.path = tmp_path / "gpus.json"
    write(chip="H100", count=2, seed=7)
    return write


@pytest.fixture
def worker_python(tmp_path):
    """Stands where a python with opsconsole.worker would be."""
    script = tmp_path / "worker-python"
    script.write_text("#!{}\n{}".format(sys.executable, (Path(__file__).parent / "stand_in_worker.py").read_text()))
    script.chmod(0o700)
    return script


@pytest.fixture
def tools(tmp_path):
    """A folder of programs that agents find first: a systemctl that knows no systemd, so that no test touches a real one."""
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "systemctl").write_text("#!/bin/sh\nexit 1\n")
    (folder / "systemctl").chmod(0o700)
    return folder


@pytest.fixture
def start(tmp_path, request, worker_python):
    """start(gpus, **hello): an AgentProcess that has been greeted; agents and workers are gone after the test."""
    agents = []

    def begin(gpus, argv=None, interval_s=0.2, **hello):
        variables = {"PATH": str(request.getfixturevalue("tools")) + os.pathsep + os.environ["PATH"]}
        if gpus == "nvml":
            variables |= nvml_library.environment(request.getfixturevalue("nvml_dir"), tmp_path / "nvml.txt")
        agent = AgentProcess(argv, **variables)
        agents.append(agent)
        agent.say("hello", interval_s=interval_s, gpus=gpus, work_dir=str(tmp_path / "work"), worker_python=str(worker_python), **hello)
        return agent

    yield begin
    for agent in agents:
        agent.process.kill()
        agent.process.wait()
    kill_workers(tmp_path / "work")
    shutil.rmtree(tmp_path / "work", ignore_errors=True)
