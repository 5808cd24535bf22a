"""The commands as a script runs them: processes of their own against a real collector that watches simulated nodes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

FLEET = """
[fleet]
name = "lab"

[[sites]]
name = "s1"

[[nodes]]
hosts = "n[1-3]"
site = "s1"
chip = "H100"
gpus = "sim:4"
link = "sim"

[[models]]
name = "m"
min_ready = 1
"""


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """call(*arguments) -> the finished process; the first call starts the collector, the fixture ends it."""
    place = tmp_path_factory.mktemp("fleet")
    (place / "fleet.toml").write_text(FLEET)
    environment = os.environ | {"OPSCONSOLE_CONFIG": str(place / "fleet.toml"), "OPSCONSOLE_STATE_DIR": str(place / "state")}
    command = [sys.executable, "-m", "opsconsole"]
    collector = subprocess.Popen([*command, "collect"], env=environment)

    def run(*arguments):
        return subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)

    run.environment, run.command = environment, command
    while not (place / "state" / "collector.sock").exists():
        assert collector.poll() is None
        time.sleep(0.02)
    yield run
    collector.send_signal(signal.SIGTERM)
    assert collector.wait(20) == 0


def test_every_listing_answers(call):
    for kind in ("nodes", "gpus", "workers", "models", "sites"):
        done = call(kind, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)[kind]
    assert len(json.loads(call("gpus", "--json", "--filter", "n2").stdout)["gpus"]) == 4
    assert "3 of 3 answer" in call("status").stdout


def test_a_worker_is_drained_and_history_has_seen_it(call):
    name = json.loads(call("workers", "--json").stdout)["workers"][0]["name"]
    assert call("drain", name).returncode == 2
    planned = call("drain", name, "--plan", "--json")
    assert planned.returncode == 0 and json.loads(planned.stdout)["plan"]["steps"][0]["worker"] == name
    done = call("drain", name, "--yes", "--reason", "test", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["receipts"][0]["outcome"] == "done"
    series = json.loads(call("history", "fleet.power_w", "--since", "1m", "--json").stdout)
    assert [value for value in series["values"] if value]


def test_refused_and_wrong_questions(call):
    assert call("drain", "nobody", "--yes").returncode == 4
    assert call("launch", "m", "--count", "900", "--yes").returncode == 4
    unknown = call("history", "gpu.heat", "--node", "n1", "--gpu", "0")
    assert unknown.returncode == 2 and unknown.stderr.count("\n") == 1 and unknown.stderr.startswith("opsconsole: ")


def test_doctor_finds_the_nodes_well(call):
    done = call("doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert all(node["ok"] for node in json.loads(done.stdout)["nodes"])


def test_watch_goes_on_until_ctrl_c(call):
    command = [*call.command, "nodes", "--watch", "--json"]
    process = subprocess.Popen(command, env=call.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first, second = (json.loads(process.stdout.readline()) for _ in range(2))
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130 and first["at"] < second["at"]
    assert b"Traceback" not in process.stderr.read()


def test_a_watch_outlives_its_collector(tmp_path):
    (tmp_path / "fleet.toml").write_text(FLEET)
    options = ["--config", str(tmp_path / "fleet.toml"), "--state-dir", str(tmp_path / "state")]
    command = [sys.executable, "-m", "opsconsole", *options, "nodes", "--watch", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["nodes"]
        first = int((tmp_path / "state" / "collector.lock").read_text())
        os.kill(first, signal.SIGKILL)
        assert process.stderr.readline() == b"opsconsole: the collector has ended; trying again\n"
        while int((tmp_path / "state" / "collector.lock").read_text() or first) == first:
            assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_an_output_that_takes_nothing_is_one_sentence(call):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*call.command, "nodes"], env=call.environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr == "opsconsole: cannot write the output: No space left on device\n"


def test_a_closed_output_is_no_defect(call):
    closing = ["sh", "-c", 'exec "$@" >&-', "sh", *call.command, "nodes"]
    done = subprocess.run(closing, env=call.environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_was_done_is_in_the_audit(call):
    assert call("launch", "m", "--yes", "--reason", "a try").returncode == 0
    rows = json.loads(call("audit", "--json").stdout)["rows"]
    assert [row["kind"] for row in rows[-3:]] == ["begin", "order", "receipt"]
    assert rows[-3]["reason"] == "a try" and rows[-1]["ok"] and rows[-1]["run"] == rows[-3]["run"]
    assert "whole" in call("audit", "--verify").stdout
