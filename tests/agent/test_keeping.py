"""A worker that crashes is started again, a few times, by whoever keeps it; one that is drained, ended or asked to end never is."""

import json
import os
import signal
import stat
import sys
import time
import urllib.request

import pytest

from opsconsole.agent import processes
from tests.agent.ordering import ask, drain, launch, record
from tests.agent.test_engines import spec


@pytest.fixture
def agent(start, gpu_file):
    return start(f"sim:{gpu_file.path}")


@pytest.fixture
def work_dir(tmp_path):
    return tmp_path / "work"


def crash(port):
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/crash", data=b"", timeout=10)


def until(condition, limit_s=20.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.05)


def test_a_worker_that_crashes_is_started_again_while_no_agent_is_there(agent, start, gpu_file, work_dir):
    answer = launch(agent)
    first = answer["detail"]["pid"]
    agent.end()
    crash(answer["detail"]["port"])
    until(lambda: record(work_dir)["restarts"] == 1)
    row = start(f"sim:{gpu_file.path}").worker("w-1", lambda row: row["state"] == "READY")
    assert row["pid"] == record(work_dir)["pid"] != first and row["restarts"] == 1 and row["port"] == answer["detail"]["port"]


def test_a_crash_is_shown_until_it_serves_again_and_a_drain_then_works(agent, work_dir):
    port = launch(agent)["detail"]["port"]
    os.kill(record(work_dir)["pid"], signal.SIGKILL)
    row = agent.worker("w-1", lambda row: row["state"] == "STARTING")
    assert row["reason"] is None or "killed by signal 9" in row["reason"]
    row = agent.worker("w-1", lambda row: row["state"] == "READY" and row["restarts"] == 1)
    assert row["port"] == port
    answer = drain(agent)
    assert answer["ok"] and str(row["pid"]) in answer["detail"]["proof"]


def test_a_drained_worker_that_crashes_stays_down_unless_it_was_taken_back(agent, work_dir):
    port = launch(agent, checkpoint="stubborn:1")["detail"]["port"]
    assert drain(agent, deadline_s=0.5)["detail"]["held"]
    assert ask(agent, "undrain")["ok"]
    crash(port)
    agent.worker("w-1", lambda row: row["state"] == "READY" and row["restarts"] == 1)
    assert drain(agent, deadline_s=0.5)["detail"]["held"]
    kept = record(work_dir)
    crash(port)
    row = agent.worker("w-1", lambda row: row["state"] == "FAILED")
    assert "exit code 7" in row["reason"] and row["restarts"] == 1
    assert processes.start_time(kept["keeper"][0]) != kept["keeper"][1]  # nobody is left who could start it


def test_one_that_is_asked_to_end_by_anybody_is_no_crash(agent, work_dir):
    launch(agent)
    os.kill(record(work_dir)["pid"], signal.SIGTERM)
    assert agent.worker("w-1", lambda row: row["state"] in ("FAILED", "STOPPED"))["restarts"] == 0
    assert record(work_dir)["exit_code"] == 0


def test_the_keeper_ends_with_its_worker(agent, work_dir):
    launch(agent)
    keeper = record(work_dir)["keeper"]
    assert processes.start_time(keeper[0]) == keeper[1]
    answer = drain(agent)
    assert answer["ok"], answer
    until(lambda: processes.start_time(keeper[0]) != keeper[1])


def test_a_keeper_that_was_stopped_does_not_keep_a_worker_from_being_ended(agent, work_dir):
    launch(agent)
    os.kill(record(work_dir)["keeper"][0], signal.SIGSTOP)
    assert drain(agent)["ok"]


def test_what_left_its_session_is_an_orphan_until_it_is_gone(agent):
    launch(agent, checkpoint="daemon")
    answer = drain(agent)
    (orphan,) = answer["detail"]["orphans"]
    assert not answer["ok"] and answer["text"] == f"ORPHAN: processes {orphan} live"
    row = agent.worker("w-1", lambda row: row["state"] == "FAILED")
    assert row["reason"] == answer["text"]
    refused = launch(agent, worker="w-2")
    assert not refused["ok"] and "GPU 0 is taken by w-1" in refused["text"]
    os.kill(orphan, signal.SIGKILL)
    agent.worker("w-1", lambda row: row["state"] == "STOPPED")


FAKE_SYSTEMD = '''#!{python}
# Stands where systemd's tools would be: writes down what it is asked and runs one process a unit.
import json, os, signal, subprocess, sys
folder, tool, said = {folder!r}, os.path.basename(sys.argv[0]), sys.argv[1:]
with open(folder + "/asked", "a") as log:
    log.write(json.dumps([tool, *said]) + "\\n")
def unit(name):
    try:
        return json.load(open(folder + "/" + name))
    except OSError:
        return None
if tool == "loginctl":
    print("Linger=" + open(folder + "/linger").read())
elif tool == "systemd-run":
    name = next(text[7:] for text in said if text.startswith("--unit="))
    if unit(name):
        sys.exit("Unit %s was already loaded" % name)
    told = dict(text[11:].split("=", 1) for text in said if text.startswith("--property="))
    variables = dict(line.rstrip("\\n").split("=", 1) for line in open(told["EnvironmentFile"]))
    log = open(told["StandardOutput"][7:], "ab")
    variables = {{key: value[1:-1] for key, value in variables.items()}}
    child = subprocess.Popen(said[said.index("--") + 1:], env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                             start_new_session=True)
    json.dump({{"pid": child.pid}}, open(folder + "/" + name, "w"))
else:
    said = [text for text in said if text not in ("--user", "--no-block")]
    if said[0] == "show" and said[1].startswith("--"):
        print("Version=252")
    elif said[0] == "show":
        now = unit(said[1])
        try:
            alive = now and open("/proc/%d/stat" % now["pid"]).read().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            alive = False
        print("MainPID=%d" % (now["pid"] if alive else 0))
        print("ActiveState=" + ("active" if alive else "failed"))
        print("NRestarts=3\\nExecMainStatus=3\\nExecMainCode=1")
    elif said[0] == "stop":
        os.kill(unit(said[1])["pid"], signal.SIGTERM)
    elif said[0] == "reset-failed" and unit(said[1]):
        os.unlink(folder + "/" + said[1])
'''


@pytest.fixture
def systemd(tools, tmp_path):
    """What it was asked, as a function."""
    folder = tmp_path / "systemd"
    folder.mkdir()
    (folder / "linger").write_text("yes")
    for tool in ("systemd-run", "systemctl", "loginctl"):
        (tools / tool).write_text(FAKE_SYSTEMD.format(python=sys.executable, folder=str(folder)))
        (tools / tool).chmod(0o700)
    return lambda: [json.loads(line) for line in (folder / "asked").read_text().splitlines()]


def test_where_systemd_runs_a_worker_is_a_unit_of_it(start, nvml_state, systemd, work_dir):
    agent = nvml_agent(start)
    answer = launch(agent)
    assert answer["ok"], answer
    (asked,) = [words for words in systemd() if words[0] == "systemd-run"]
    assert ("--user" in asked) == (os.geteuid() != 0) and "--unit=opsworker-w-1.service" in asked
    told = dict(word[11:].split("=", 1) for word in asked if word.startswith("--property="))
    assert (told["Type"], told["KillMode"], told["Restart"], told["StartLimitBurst"]) == ("notify", "mixed", "on-failure", "3")
    assert told["ExecCondition"].endswith(f"! -e {work_dir}/leaving/w-1") and float(told["TimeoutStopSec"]) > 30
    assert (told["NotifyAccess"], told["WatchdogSec"]) == ("main", "30") and float(told["TimeoutStartSec"]) > 30 and "--no-block" in asked
    assert stat.S_IMODE(os.stat(told["EnvironmentFile"]).st_mode) == 0o600 and "CUDA_VISIBLE" not in " ".join(asked)
    assert record(work_dir)["keeper"] is None and record(work_dir)["pid"] == answer["detail"]["pid"]
    answer = drain(agent)
    assert answer["ok"], answer
    assert ["stop", "--no-block", "opsworker-w-1.service"] in [[word for word in words if word != "--user"][1:] for words in systemd()]


def nvml_agent(start):
    """One whose driver has answered: before that it knows of no GPU."""
    agent = start("nvml")
    agent.facts(lambda facts: facts["gpus"]["index"])
    return agent


@pytest.mark.parametrize(("notifies", "kind"), [(False, "exec"), (True, "notify")])
def test_a_unit_of_another_engine_is_watched_only_where_that_notifies(start, nvml_state, systemd, notifies, kind):
    assert launch(nvml_agent(start), engine="other", engine_spec=spec(notifies=notifies))["ok"]
    (asked,) = [words for words in systemd() if words[0] == "systemd-run"]
    assert f"--property=Type={kind}" in asked and ("WatchdogSec" in " ".join(asked)) == notifies


def test_a_unit_that_fails_for_good_is_a_crash_loop(start, nvml_state, systemd):
    answer = launch(nvml_agent(start), checkpoint="crash")
    assert not answer["ok"] and "RESOURCE_EXHAUSTED" in answer["text"]


def test_a_unit_that_dies_later_is_told_with_what_systemd_knows(start, nvml_state, systemd):
    agent = nvml_agent(start)
    crash(launch(agent)["detail"]["port"])
    row = agent.worker("w-1", lambda row: row["state"] == "FAILED")
    assert "crash loop: 3 starts" in row["reason"] and "exit code 3" in row["reason"] and row["restarts"] == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as another user")
def test_without_linger_a_user_s_systemd_is_not_used(systemd, tmp_path, monkeypatch):
    from opsconsole.agent import units

    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert units.find_manager() == ("user", None)
    (tmp_path / "systemd" / "linger").write_text("no")
    manager, why = units.find_manager()
    assert manager is None and "enable-linger" in why
