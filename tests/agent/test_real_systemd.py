"""Workers as units of a real systemd: what its watchdog, its start limit, its control groups and its sessions do with them."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.agent.agent_process import ROOT
from tests.agent.ordering import drain, launch, order
from tests.agent.systemd_node import HERE, PYTHON, CannotBoot, SystemdNode, why_not
from tests.agent.test_engines import spec

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
POST = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], data=b'', timeout=10)"


@pytest.fixture(scope="module")
def node(tmp_path_factory, nvml_dir):
    node = SystemdNode(tmp_path_factory.mktemp("systemd") / "node", nvml_dir, Path(__file__).parent / "stand_in_worker.py")
    try:
        yield node.start()
    except CannotBoot as error:
        pytest.skip(f"no systemd-nspawn container boots here: {error}")
    finally:
        node.stop()


@pytest.fixture
def login(node):
    """login(user): an agent in a session of its own; agents are gone after the test."""
    agents = []

    def begin(user="root", **more):
        agents.append(node.agent(user, **more))
        return agents[-1]

    yield begin
    for agent in agents:
        agent.process.kill()
        agent.process.wait()


def until(condition, limit_s=20.0):
    import time

    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.1)


def kept_launch(agent, **fields):
    """(who keeps the worker, the last answer)."""
    wanted = order(**fields)
    agent.say("launch", **wanted)
    begun = agent.wait_for(lambda message: message.get("id") == wanted["id"] and (message["done"] or "supervised" in message["detail"]))
    return begun["detail"].get("supervised"), begun if begun["done"] else agent.last_answer(wanted["id"])


def is_serving(restarts, but=()):
    return lambda row: row["state"] == "READY" and row["restarts"] == restarts and row["pid"] not in but


def test_a_unit_is_active_only_once_its_worker_serves(node, login):
    agent = login()
    wanted = order("slow", checkpoint="slow:1.5", gpus=[0])
    agent.say("launch", **wanted)
    agent.worker("slow", lambda row: row["phase"] == "load")
    assert node.show("opsworker-slow", "ActiveState", "Type", "NotifyAccess", "WatchdogUSec", "KillMode") == [
        "activating", "notify", "main", "2s", "mixed"]
    answer = agent.last_answer(wanted["id"])
    assert answer["ok"], str(answer)
    until(lambda: node.show("opsworker-slow", "ActiveState", "StatusText") == ["active", "serving"])


def test_a_worker_outlives_its_agent_and_the_login_that_brought_it(node, login):
    keeper, answer = kept_launch(login(), worker="long", gpus=[1])
    assert answer["ok"] and keeper == "systemd (system) keeps it: opsworker-long.service"
    node.ask("loginctl", "terminate-session", *node.sessions("root"))
    until(lambda: not node.sessions("root"))
    again = login()
    row = again.worker("long", is_serving(restarts=0))
    assert row["pid"] == answer["detail"]["pid"] == int(node.show("opsworker-long", "MainPID")[0])


def test_one_that_hangs_is_started_again_and_not_for_ever(node, login):
    agent = login()
    answer = launch(agent, worker="hung", gpus=[2])
    first = answer["detail"]["pid"]
    node.ask(PYTHON, "-c", POST, f"http://127.0.0.1:{answer['detail']['port']}/hang")  # its HTTP goes on answering
    second = agent.worker("hung", is_serving(restarts=1, but=[first]))["pid"]
    node.ask("kill", "-STOP", str(second))
    third = agent.worker("hung", is_serving(restarts=2, but=[first, second]))["pid"]
    node.ask("kill", "-KILL", str(third))
    row = agent.worker("hung", lambda row: row["state"] == "FAILED")
    assert "crash loop: 3 starts: killed by signal 9" in row["reason"] and row["restarts"] == 2
    assert node.show("opsworker-hung", "ActiveState", "NRestarts") == ["failed", "3"]  # systemd counts the start it refused


def test_one_that_crashes_at_once_is_given_up_after_three_starts_with_its_last_lines(node, login):
    answer = launch(login(), worker="crash", checkpoint="crash", gpus=[3])
    assert not answer["ok"] and "crash loop" in answer["text"] and "RESOURCE_EXHAUSTED" in answer["text"]
    assert "\x1b" not in answer["text"]
    assert node.show("opsworker-crash", "ActiveState", "SubState")[0] in ("failed", "inactive")


def test_an_engine_whose_program_is_not_there_is_named(node, login):
    answer = launch(login(), worker="absent", engine="other", engine_spec=spec(argv=["/nowhere/serve"]), gpus=[7])
    assert not answer["ok"] and "Failed to find executable /nowhere/serve" in answer["text"], answer


def test_a_stop_proves_the_control_group_empty_of_what_left_the_session_too(node, login):
    agent = login()
    assert launch(agent, worker="family", checkpoint="daemon", gpus=[4])["ok"]
    main, group = node.show("opsworker-family", "MainPID", "ControlGroup")
    procs = f"/sys/fs/cgroup{{/systemd,}}{group}/cgroup.procs"
    inside = set(node.ask("bash", "-c", f"cat {procs} 2>/dev/null || true").split())
    assert main in inside and len(inside) == 2
    answer = drain(agent, worker="family")
    assert answer["ok"] and "its session and its control group are empty" in answer["detail"]["proof"], answer
    assert not [pid for pid in inside if Path("/proc", str(node.leader), "root", "proc", str(pid)).exists()]


def test_one_that_is_drained_and_crashes_stays_down(node, login):
    agent = login()
    launched = launch(agent, worker="leaving", checkpoint="stubborn:1", gpus=[6])
    assert drain(agent, worker="leaving", deadline_s=0.5)["detail"]["held"]
    node.ask("kill", "-KILL", str(launched["detail"]["pid"]))
    row = agent.worker("leaving", lambda row: row["state"] == "FAILED")
    assert row["reason"].startswith("killed by signal 9") and row["restarts"] == 0
    until(lambda: node.show("opsworker-leaving", "ActiveState", "MainPID") == ["inactive", "0"])


def test_a_user_s_unit_needs_linger_and_without_it_a_session_of_its_own_keeps_the_worker(node, login):
    first = login("ops")
    keeper, alone = kept_launch(first, worker="alone")
    assert alone["ok"], alone
    assert "a process of its own keeps it: linger is off for this user" in keeper
    node.ask("loginctl", "enable-linger", "ops")
    second = login("ops")
    keeper, kept = kept_launch(second, worker="kept", gpus=[1])
    assert kept["ok"] and keeper == "systemd (user) keeps it: opsworker-kept.service"
    for agent in (first, second):
        agent.process.kill()  # the connection breaks, and the logins with it
    until(lambda: not node.sessions("ops"))
    again = login("ops")
    assert again.worker("alone", is_serving(restarts=0))["pid"] == alone["detail"]["pid"]
    assert again.worker("kept", is_serving(restarts=0))["pid"] == kept["detail"]["pid"]
    node.ask("kill", "-STOP", str(kept["detail"]["pid"]))
    again.worker("kept", is_serving(restarts=1, but=[kept["detail"]["pid"]]))



def test_our_own_worker_is_kept_so_too(node, login):
    pytest.importorskip("jax")
    agent = login(worker_python=sys.executable, watchdog_s=10.0, PYTHONPATH=str(ROOT))
    wanted = order("real", checkpoint="random:tiny", gpus=[5], slots=2, max_len=256)  # as the demo has it, whose programs may be stored
    agent.say("launch", **wanted)
    phases = set()
    while (answer := agent.wait_for(lambda message: message.get("id") == wanted["id"], 60)) and not answer["done"]:
        phases.add(node.show("opsworker-real", "ActiveState", "StatusText")[1])
    assert answer["ok"], str(answer)
    assert phases & {"import", "load", "compile", "warm"}
    assert node.show("opsworker-real", "ActiveState", "StatusText", "NRestarts") == ["active", "serving", "0"]


SLOW_BOTH_WAYS = f"""
import asyncio, os, signal, sys, threading, time
sys.path.insert(0, "{HERE}")
from notify import supervisor_of
said = supervisor_of(os.environ)
threading.Thread(target=lambda: asyncio.run(said.listen()), daemon=True).start()
def end(*_):
    said.leaving(in_flight=1, for_s=30)
    time.sleep(2)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
said.entered("load")
time.sleep(2)
said.ready()
while True:
    said.beat()
    time.sleep(0.1)
"""


def test_what_needs_more_time_to_start_or_to_end_gets_it(node):
    shutil.copy(ROOT / "opsconsole/worker/notify.py", node.place)
    (node.place / "slow.py").write_text(SLOW_BOTH_WAYS)
    limits = [f"--property={limit}" for limit in ("Type=notify", "TimeoutStartSec=1", "TimeoutStopSec=1", "WatchdogSec=2")]
    node.ask("systemd-run", *limits, "--unit=slow-both-ways", "--", PYTHON, f"{HERE}/slow.py")  # returns once it is READY
    assert node.show("slow-both-ways", "ActiveState", "StatusText") == ["active", "serving"]
    node.ask("systemctl", "stop", "slow-both-ways")
    said = node.ask("journalctl", "--unit=slow-both-ways", "--output=cat", "--no-pager")
    assert "Stopped slow-both-ways" in said and "timed out" not in said and "SIGKILL" not in said
