"""What an order does to a node rather than to a worker: cordons, anchors; and the end of a launch that is still under way."""

import json
import os
import stat

import pytest

from opsconsole.core.ingest import ingest
from tests.agent.ordering import ask, launch, order, record

HASH = "ab" * 32


@pytest.fixture
def agent(start, gpu_file):
    return start(f"sim:{gpu_file.path}")


def test_a_cordon_is_seen_by_every_console_and_keeps_workers_out(agent, start, gpu_file):
    assert agent.sample()["cordon"] is None
    assert ask(agent, "cordon", reason="new \x1b[31mfans", actor="ada")["ok"]
    another = start(f"sim:{gpu_file.path}")
    for each in (agent, another):
        told = each.sample(lambda sample: sample["cordon"])["cordon"]
        assert told["reason"].startswith("new ") and told["reason"].isprintable() and told["actor"] == "ada" and told["at"] > 1.6e9
    refused = launch(another)
    assert not refused["ok"] and "cordoned by ada" in refused["text"] and "fans" in refused["text"]
    assert ask(another, "uncordon")["text"] == "uncordoned"
    agent.sample(lambda sample: sample["cordon"] is None)
    assert ask(another, "uncordon")["text"] == "was not cordoned"
    assert launch(agent)["ok"]


def test_heads_of_audits_are_kept_and_told(agent, start, gpu_file, tmp_path):
    for number in range(45):
        ask(agent, "uncordon", anchor={"audit": "a1", "seq": number, "hash": HASH}, actor="ada")
    for wrong in ("text", {"audit": "a1", "seq": -1, "hash": HASH}, {"audit": "a1", "seq": 1, "hash": "../x"}):
        ask(agent, "uncordon", anchor=wrong)
    answer = ask(start(f"sim:{gpu_file.path}"), "anchors")
    kept = answer["detail"]["anchors"]
    assert [anchor["seq"] for anchor in kept] == list(range(5, 45)) and kept[-1]["hash"] == HASH and kept[-1]["by"] == "ada"
    assert ingest(json.dumps(answer).encode()).detail["anchors"] == kept  # no console cuts it
    assert stat.S_IMODE(os.stat(tmp_path / "work" / "anchors.jsonl").st_mode) == 0o600


def test_the_file_of_anchors_does_not_grow_for_ever(agent, tmp_path):
    ask(agent, "uncordon", anchor={"audit": "a1", "seq": 1, "hash": HASH})
    path = tmp_path / "work" / "anchors.jsonl"
    path.write_text(path.read_text() * 1500 + '{"half a line')
    ask(agent, "uncordon", anchor={"audit": "a1", "seq": 2, "hash": HASH})
    answer = ask(agent, "anchors")
    assert len(path.read_text().splitlines()) == 1001 and answer["detail"]["anchors"][-1]["seq"] == 2


def test_a_cancel_ends_a_launch_and_both_are_answered(agent, tmp_path):
    wanted = order(checkpoint="slow:600")
    agent.say("launch", **wanted)
    agent.worker("w-1", lambda row: row["phase"] == "load")
    pid = record(tmp_path / "work")["pid"]
    agent.say("cancel", id="c1", worker="w-1", generation=1)
    launched = agent.last_answer(wanted["id"])
    assert not launched["ok"] and launched["text"] == "cancelled" and launched["detail"]["cancelled"]
    cancelled = agent.last_answer("c1")
    assert cancelled["ok"] and str(pid) in cancelled["detail"]["proof"]
    assert agent.worker("w-1", lambda row: row["state"] == "STOPPED")
    assert launch(agent, checkpoint="quick")["ok"]


def test_a_cancel_from_another_console_ends_a_launch_too(agent, start, gpu_file):
    wanted = order(checkpoint="slow:600")
    agent.say("launch", **wanted)
    agent.worker("w-1", lambda row: row["phase"] == "load")
    assert ask(start(f"sim:{gpu_file.path}"), "cancel")["ok"]
    assert agent.last_answer(wanted["id"])["detail"]["cancelled"]


def test_a_worker_that_was_ready_is_not_cancelled(agent):
    launch(agent)
    answer = ask(agent, "cancel")
    assert not answer["ok"] and "drain it" in answer["text"]
    assert "no worker" in ask(agent, "cancel", worker="w-9")["text"]
    assert agent.worker("w-1", lambda row: row["state"] == "READY")
