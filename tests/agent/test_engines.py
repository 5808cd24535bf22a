"""An engine that the agent does not know: started, asked, drained and stopped as its order says, also by a later agent."""

import json
import sys
from pathlib import Path

import pytest

from opsconsole.agent.engines import filled, spec_refusal
from opsconsole.agent.metrics import parse
from tests.agent.ordering import ask, drain, launch, order

SERVER = Path(__file__).parent / "stand_in_worker.py"
OLD_AND_NEW = {
    "num_requests_running": ["opsconsole:num_requests_running"],
    "opsconsole:num_requests_waiting": ["other:none", "opsconsole:num_requests_waiting"],
    "request_success_total": ["opsconsole:request_success_total"], "generation_tokens_total": ["opsconsole:generation_tokens_total"],
}


def spec(checkpoint="quick", **fields):
    argv = [sys.executable, str(SERVER), "--model", checkpoint, "--name", "m", "--host", "{host}", "--port", "{port}", "--slots", "{gpus}",
            "--max-len", "a b; $HOME"]
    values = {"argv": argv, "env": {"SOME_CACHE": "/tmp/x y"}, "ready_path": "/readyz", "drain_path": None, "metrics_path": "/metrics"}
    return {**values, "metrics": OLD_AND_NEW, "term_limit_s": 5, **fields}


@pytest.fixture
def agent(start, gpu_file):
    return start(f"sim:{gpu_file.path}")


def test_it_is_started_seen_drained_by_the_router_alone_and_stopped(agent, start, gpu_file):
    answer = launch(agent, engine="vllm", engine_spec=spec("stubborn:2"), gpus=[0, 1])
    assert answer["ok"], answer
    agent.end()
    another = start(f"sim:{gpu_file.path}")  # a later agent knows how to ask it
    row = another.worker("w-1", lambda row: row["state"] == "READY" and row["tokens_per_s"])
    assert (row["running"], row["queue_depth"], row["engine"], row["kv_used_pct"]) == (2, 0, "vllm", None)
    held = drain(another, deadline_s=1)
    assert held["detail"]["held"] and held["detail"]["in_flight"] == 2
    assert another.worker("w-1", lambda row: row["state"] == "DRAINING")
    assert ask(another, "undrain")["ok"] and another.worker("w-1", lambda row: row["state"] == "READY")
    done = drain(another, deadline_s=0.5, on_deadline="abort")
    assert done["ok"] and done["detail"]["aborted"] == 2


def test_an_idle_one_is_drained_with_its_own_drain_where_it_has_one(agent):
    assert launch(agent, engine="other", engine_spec=spec(drain_path="/drain"))["ok"]
    assert drain(agent)["ok"]


def test_one_that_takes_no_work_yet_is_starting(agent):
    agent.say("launch", **order(engine="other", engine_spec=spec("slow:600")))
    row = agent.worker("w-1", lambda row: row["phase"] == "load")
    assert row["state"] == "STARTING"
    assert ask(agent, "cancel")["ok"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"argv": []}, {"argv": "sh -c x"}, {"argv": ["a", 1]}, {"argv": ["-c"]}, {"argv": ["{host}"]}, {"argv": ["a", "b\x00"]},
        {"argv": ["a"] * 201}, {"env": {"LD_PRELOAD": "x"}}, {"env": {"PATH": "x"}}, {"env": {"A B": "x"}}, {"env": {"A": 1}},
        {"ready_path": "http://x"}, {"metrics_path": None}, {"drain_path": "/a b"}, {"metrics": []}, {"metrics": {"a": ["b c"]}},
        {"term_limit_s": 0}, {"term_limit_s": "5"}, {"term_limit_s": None}, {"notifies": "yes"},
    ],
)
def test_a_spec_is_checked(wrong):
    assert spec_refusal(spec()) is None
    assert spec_refusal(spec(**wrong))


def test_placeholders_are_filled_and_stay_one_argument():
    told = filled({"argv": ["vllm", "--port={port}", "{host}", "{gpus}", "{other}"]}, "0.0.0.0", 8000, [0, 3])
    assert told == ["vllm", "--port=8000", "0.0.0.0", "0,3", "{other}"]


def test_the_first_name_that_is_there_is_taken():
    text = 'new:a{x="1"} 1\nnew:a{x="2"} 2\nold:a 9\nold:h_bucket{le="0.1"} 4\nother 7\n'
    metrics = parse(text, {"a": ["newest:a", "new:a", "old:a"], "h": ["new:h", "old:h"], "b": ["new:b"]})
    assert metrics.values == {"a": 3.0} and metrics.buckets == {"h": {0.1: 4.0}}
    assert json.dumps(sorted(parse(text).values)) == "[]"
