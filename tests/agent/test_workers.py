"""Launch, drain, hold, abort and stop, against processes that behave and processes that do not."""

import json
import os
import socket
import stat
import time
import uuid
from types import SimpleNamespace

import pytest

from opsconsole.agent.launch import command
from opsconsole.protocol import WORKER_FIELDS
from tests.agent.agent_process import gpu
from tests.agent.ordering import ask, drain, launch, order


@pytest.fixture
def agent(start, gpu_file):
    return start(f"sim:{gpu_file.path}")


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_launch_tells_that_it_started_then_that_it_is_ready(agent, tmp_path):
    wanted = order(checkpoint="slow:2")
    agent.say("launch", **wanted)
    first = agent.wait_for(lambda message: message["t"] == "answer")
    assert first["text"] == "phase preflight" and first["detail"]["phase"] == "preflight"
    first = agent.wait_for(lambda message: message["t"] == "answer")
    assert first["ok"] and not first["done"] and first["text"].startswith("started pid ")
    row = agent.worker("w-1", lambda row: row["phase"] == "load")
    assert row["state"] == "STARTING" and row["reason"].isprintable() and len(row["reason"]) <= 200
    last = agent.last_answer(wanted["id"])
    assert last["ok"] and last["text"] == "READY"
    row = agent.worker("w-1", lambda row: row["state"] == "READY" and row["ttft_p95_ms"] and row["tokens_per_s"])
    assert set(row) == set(WORKER_FIELDS)
    assert row["kv_used_pct"] == 25.0 and row["itl_p95_ms"] is None and row["queue_depth"] == 0
    assert 50 < row["tokens_per_s"] < 200 and 90 < row["ttft_p95_ms"] < 100
    record = tmp_path / "work" / "workers" / "w-1.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600 and stat.S_IMODE(record.parent.stat().st_mode) == 0o700


def test_load_on_a_simulated_gpu_is_its_workers(agent):
    launch(agent, checkpoint="stubborn:4", gpus=[1])
    sample = agent.sample(lambda sample: gpu(sample, 1)["util_pct"] > 90)
    assert gpu(sample, 0)["util_pct"] == 0 and gpu(sample, 1)["mem_used_mib"] > 60000
    assert sample["procs"][0][0] == 1


@pytest.mark.parametrize("fields, why", [
    ({"worker": "../evil"}, "name"), ({"gpus": [2]}, "rows"), ({"gpus": [0, 0]}, "rows"), ({"gpus": [True]}, "rows"),
    ({"engine": "x"}, "engine_spec"),
    ({"checkpoint": "--help"}, "checkpoint"), ({"host": "a b"}, "host"), ({"slots": 0}, "slots"),
    ({"port": 70000}, "port"), ({"max_len": None}, "max_len"), ({"gpu_share": 0}, "gpu_share"), ({"gpu_share": "half"}, "gpu_share"),
])
def test_launch_refuses(agent, fields, why):
    answer = launch(agent, **fields)
    assert not answer["ok"] and why in answer["text"]


def test_launch_refuses_a_lost_gpu_and_a_name_in_use(agent, gpu_file):
    assert launch(agent)["ok"]
    assert "alive already" in launch(agent)["text"]
    gpu_file(count=2, lost=[1])
    agent.sample(lambda sample: sample["gpu_errors"])
    assert "LOST" in launch(agent, worker="w-2", gpus=[1])["text"]


def test_a_crash_is_told_with_its_last_words(agent):
    answer = launch(agent, checkpoint="crash")
    assert not answer["ok"] and "crash loop: 3 starts in " in answer["text"] and answer["detail"]["restarts"] == 2
    assert "exit code 3" in answer["text"] and "RESOURCE_EXHAUSTED" in answer["text"]
    assert "\x1b" not in json.dumps(answer, ensure_ascii=False)
    row = agent.worker("w-1", lambda row: row["state"] == "FAILED")
    assert "out of memory" in row["reason"] and row["running"] is None and row["restarts"] == 2
    assert ask(agent, "stop")["ok"]
    agent.sample(lambda sample: not sample["workers"])


def test_the_same_order_again_gets_the_same_answers_and_acts_once(agent, start, gpu_file):
    wanted = order()
    agent.say("launch", **wanted)
    first = agent.last_answer(wanted["id"])
    agent.say("launch", **wanted)
    assert agent.last_answer(wanted["id"]) == first
    another = start(f"sim:{gpu_file.path}")
    another.say("launch", **wanted)
    assert another.last_answer(wanted["id"]) == first


def test_a_worker_outlives_the_agent_and_is_found_again(agent, start, gpu_file):
    pid = launch(agent)["detail"]["pid"]
    agent.end()
    time.sleep(0.3)
    assert is_alive(pid)
    another = start(f"sim:{gpu_file.path}")
    first = another.sample()["workers"][0]
    assert (first["state"], first["pid"]) == ("READY", pid), "its first word of a worker that serves is that it does not"
    answer = drain(another)
    assert answer["ok"] and str(pid) in answer["detail"]["proof"]


def test_drain_waits_for_what_is_in_flight_and_proves_the_end(agent):
    port = launch(agent, checkpoint="busy:3:1.5")["detail"]["port"]
    order_id = uuid.uuid4().hex
    agent.say("drain", id=order_id, worker="w-1", deadline_s=20, on_deadline="hold")
    told = agent.wait_for(lambda message: message["t"] == "answer")
    assert told["text"] == "3 in flight" and not told["done"]
    answer = agent.last_answer(order_id)
    assert answer["ok"], answer
    assert answer["detail"]["in_flight_at_start"] == 3 and answer["detail"]["finished"] == 3 and answer["detail"]["seconds"] >= 1.5
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    assert agent.worker("w-1", lambda row: row["state"] == "STOPPED")
    agent.sample(lambda sample: not sample["workers"])


def test_hold_leaves_the_worker_draining_and_undrain_puts_it_back(agent):
    pid = launch(agent, checkpoint="stubborn:2")["detail"]["pid"]
    answer = drain(agent, deadline_s=1)
    assert not answer["ok"] and answer["detail"]["held"] and answer["detail"]["in_flight"] == 2
    assert is_alive(pid)
    assert agent.worker("w-1", lambda row: row["state"] == "DRAINING")["running"] == 2
    agent.say("undrain", id="u", worker="w-1")
    assert agent.last_answer("u")["ok"]
    assert agent.worker("w-1", lambda row: row["state"] == "READY")


def test_an_undrain_takes_a_worker_back_from_its_drain(agent):
    launch(agent, checkpoint="stubborn:2")
    order_id = uuid.uuid4().hex
    agent.say("drain", id=order_id, worker="w-1", deadline_s=60, on_deadline="hold")
    agent.wait_for(lambda message: message["t"] == "answer" and message["text"] == "2 in flight")
    agent.say("undrain", id="back", worker="w-1")
    answer = agent.last_answer(order_id)
    assert not answer["ok"] and answer["detail"]["taken_back"] and "taken back" in answer["text"]
    assert agent.last_answer("back")["ok"]
    assert agent.worker("w-1", lambda row: row["state"] == "READY")["running"] == 2
    answer = drain(agent, deadline_s=0.5)  # what was asked back once is not asked back for ever
    assert answer["detail"]["held"]


def test_abort_kills_and_counts(agent):
    pid = launch(agent, checkpoint="stubborn:2")["detail"]["pid"]
    answer = drain(agent, deadline_s=0.5, on_deadline="abort")
    assert answer["ok"] and answer["detail"]["aborted"] == 2 and answer["detail"]["finished"] == 0
    assert not is_alive(pid)


def test_migrate_hands_over_what_is_left_and_stops(agent):
    pid = launch(agent, checkpoint="movable:2")["detail"]["pid"]
    answer = drain(agent, deadline_s=0.5, on_deadline="migrate")
    assert answer["ok"] and answer["detail"]["moved"] == 2 and answer["text"] == "stopped", answer
    assert not is_alive(pid)


@pytest.mark.parametrize("checkpoint, why", [("stubborn:2", "could not hand over"), ("sticky:2", "after handing over: 2 in flight")])
def test_migrate_holds_where_the_worker_does_not_let_go(agent, checkpoint, why):
    pid = launch(agent, checkpoint=checkpoint)["detail"]["pid"]
    answer = drain(agent, deadline_s=0.5, on_deadline="migrate")
    assert not answer["ok"] and answer["detail"]["held"] and why in answer["text"]
    assert is_alive(pid)


def test_unknown_is_never_zero(agent):
    pid = launch(agent, checkpoint="mute")["detail"]["pid"]
    row = agent.worker("w-1", lambda row: row["state"] == "NOT_READY")
    assert row["reason"] == "does not answer" and row["running"] is None
    answer = drain(agent, deadline_s=2)
    assert not answer["ok"] and answer["detail"]["held"] and answer["detail"]["in_flight"] is None
    assert not ask(agent, "stop")["ok"] and is_alive(pid)


def test_stop_refuses_a_busy_worker_with_its_count_and_takes_an_idle_one(agent):
    launch(agent, checkpoint="stubborn:2")
    answer = ask(agent, "stop")
    assert not answer["ok"] and answer["detail"]["in_flight"] == 2
    launch(agent, worker="w-2", gpus=[1])
    assert ask(agent, "stop", "w-2")["ok"]
    assert not ask(agent, "stop", "w-9")["ok"]


def test_two_consoles_cannot_drain_one_worker_at_once(agent, start, gpu_file):
    launch(agent, checkpoint="stubborn:1")
    agent.say("drain", id="first", worker="w-1", deadline_s=6, on_deadline="hold")
    agent.wait_for(lambda message: message["t"] == "answer")
    answer = drain(start(f"sim:{gpu_file.path}"))
    assert not answer["ok"] and answer["detail"]["conflict"] and "drain first" in answer["text"]


def test_a_number_that_now_means_another_process_is_never_signalled(agent, tmp_path):
    """A record whose start time does not match (a reused pid) is a worker that is gone."""
    launch(agent)
    agent.end()
    path = tmp_path / "work" / "workers" / "w-1.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(dict(record, name="w-1", start_time="1")))
    from opsconsole.agent import processes
    from opsconsole.agent.records import Record

    stranger = Record(**dict(record, start_time="1"))
    assert not processes.send_signal(stranger, processes.boot_id(), 15)
    assert is_alive(record["pid"])
    os.kill(record["keeper"][0], 9)
    os.kill(record["pid"], 9)


def test_nvml_workers_see_their_own_gpus_by_uuid(start, nvml_state, tmp_path):
    agent = start("nvml")
    uuids = agent.facts(lambda facts: facts["gpus"]["uuid"])["gpus"]["uuid"]
    assert launch(agent, gpus=[1])["ok"]
    assert (tmp_path / "work" / "logs" / "w-1.log").read_text() == f"visible {uuids[1]} None\n"


@pytest.mark.parametrize(
    ("source", "fields", "said"),
    [
        ("nvml", {"gpus": [0, 1]}, ["--tensor-parallel", "2"]),
        ("nvml", {"gpus": [1]}, []),
        ("sim", {"gpus": [0, 1]}, []),  # there JAX has the processor alone
        ("nvml", {"gpus": [0], "gpu_share": 0.5}, ["--memory-fraction", "0.450"]),
    ],
)
def test_a_worker_is_told_how_much_of_which_gpus_it_has(source, fields, said):
    argv = command(order(**fields), 8000, "~/bin/python", SimpleNamespace(name=source))
    assert argv[:3] == [os.path.expanduser("~/bin/python"), "-m", "opsconsole.worker"]
    assert argv[argv.index("--max-len") + 2 :] == said
