"""The console is killed in the middle of a launch and of a drain: the next one shows the run, and resuming it finishes it, once."""

import sqlite3
import subprocess

import pytest

from tests.ssh.sshd import HAS_SSHD
from tests.system.lab import FINISHES_AFTER_S, Lab, until

pytestmark = pytest.mark.skipif(not HAS_SSHD, reason="needs OpenSSH's sshd")

MOMENTS = pytest.mark.parametrize("reached", [
    lambda run: run["steps"][0]["state"] == "SENT", lambda run: run["steps"][0]["said"],
], ids=["sent", "heard"])
"""How far the run has come when its console is killed."""


@pytest.fixture
def lab(tmp_path):
    made = Lab(tmp_path)
    yield made
    made.close()


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
    assert processes(lab) == 1


def processes(lab):
    found = subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True).stdout
    return sum("opsconsole.worker" in line and str(lab.home) in line for line in found.splitlines())


def test_a_launch_that_was_interrupted_is_taken_back(lab):
    begun = lab.call("launch", "endless", "--yes", "--no-wait")["run"]
    until(lambda: lab.run(begun)["steps"][0]["said"])
    lab.kill()
    until(lambda: lab.call("nodes")["nodes"][0]["reach"] == "LIVE")
    assert lab.run(begun)["state"] == "INTERRUPTED" and processes(lab) == 1
    lab.call("resume", begun, "--back", "--yes")
    run = lab.run(begun)
    assert (run["state"], run["text"]) == ("FAILED", "taken back") and processes(lab) == 0


def test_a_launch_that_is_done_is_undone_as_a_plan(lab):
    begun = lab.call("launch", "slow", "--yes")["run"]
    until(lambda: [worker for worker in lab.call("workers")["workers"] if worker["state"] == "READY"])
    (step,) = lab.call("resume", begun, "--back", "--plan")["plan"]["steps"]
    assert step["worker"] == "slow-1" and processes(lab) == 1
    undone = lab.call("resume", begun, "--back", "--yes")
    assert undone["receipts"][0]["outcome"] == "done" and processes(lab) == 0
    assert [run["id"] for run in lab.call("runs")["runs"]] == [undone["run"], begun]


@MOMENTS
def test_a_drain_outlives_the_console_and_loses_nothing(lab, reached):
    assert lab.call("launch", "busy", "--yes")["receipts"][0]["outcome"] == "done"
    until(lambda: [worker for worker in lab.call("workers")["workers"] if worker["state"] == "READY"])
    begun = lab.call("drain", "busy-1", "--yes", "--no-wait")["run"]
    resumed = interrupted_and_resumed(lab, begun, reached)
    (step,) = resumed["steps"]
    assert step["elapsed_s"] >= FINISHES_AFTER_S and "is closed" in step["detail"]["proof"] and not step["detail"].get("aborted")


def test_rows_cut_off_the_audit_are_found_by_what_the_node_was_told(lab):
    lab.call("launch", "slow", "--yes")
    whole = lab.call("audit", "--verify")
    assert whole["whole"] and whole["heads_agreed"] >= 1 and whole["nodes_silent"] == []
    with sqlite3.connect(lab.home / "state" / "audit.db") as db:
        db.execute("delete from audit where seq > 1")
    cut = lab.call("audit", "--verify", code=1)
    assert not cut["whole"] and "cut: n1 was told of row 2" in cut["broken"]
