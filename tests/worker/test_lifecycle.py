"""The states of a worker, and when each is left."""

import json

import pytest

from opsconsole.worker import environment
from opsconsole.worker.lifecycle import Lifecycle


@pytest.fixture
def lifecycle():
    return Lifecycle()


def test_a_drain_is_over_when_the_last_answer_is_out(lifecycle, capsys):
    assert lifecycle.state == "STARTING"
    lifecycle.enter("load")
    lifecycle.ready()
    lifecycle.opened(), lifecycle.opened()
    lifecycle.drain()
    assert lifecycle.state == "DRAINING"
    lifecycle.closed()
    assert lifecycle.state == "DRAINING"
    lifecycle.closed()
    assert lifecycle.state == "DRAINED"
    lifecycle.drain()
    assert lifecycle.undrain() and lifecycle.undrain() and lifecycle.state == "READY"
    told = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert told == ["phase", "ready", "draining", "drained", "undrained"]


def test_undrain_comes_too_late_once_the_process_leaves(lifecycle):
    lifecycle.ready()
    lifecycle.leaving = True
    lifecycle.drain()
    assert not lifecycle.undrain() and lifecycle.state == "DRAINED"


def test_a_failure_is_said_once_and_stays(lifecycle, capsys):
    lifecycle.enter("load")
    lifecycle.fail("no such folder")
    lifecycle.fail("something later")
    assert (lifecycle.state, lifecycle.reason, lifecycle.phase) == ("FAILED", "no such folder", "load")
    assert json.loads(capsys.readouterr().err)["reason"] == "no such folder"


def test_a_closed_pipe_does_not_stop_a_worker(lifecycle, monkeypatch):
    class Closed:
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Closed())
    lifecycle.ready()
    assert lifecycle.state == "READY"


def test_one_thread_is_set_on_a_cpu_only_and_never_over_the_user(monkeypatch):
    assert environment.settings_to_add({"JAX_PLATFORMS": "cpu"})["PJRT_NPROC"] == "1"
    assert "PJRT_NPROC" not in environment.settings_to_add({"JAX_PLATFORMS": "cuda,cpu"})
    assert "PJRT_NPROC" not in environment.settings_to_add({"JAX_PLATFORMS": "cpu", "PJRT_NPROC": "4"})
    monkeypatch.setattr(environment.glob, "glob", lambda pattern: ["/dev/nvidia0"])
    assert "PJRT_NPROC" not in environment.settings_to_add({})
