"""What leaves the house: no secret, no address, on demand no person; and what is none of these stays as it was."""

import dataclasses
from dataclasses import replace
from typing import NamedTuple

import pytest

from opsconsole.core.alarm import Note
from opsconsole.core.alarm_book import Ack, Book, Silence
from opsconsole.core.excerpt import of_nodes, scrubbed
from opsconsole.core.fleet import Cordoned
from opsconsole.core.scrub import REMOVED, Scrubber, scrub
from tests.telemetry import fleet_of, worker_fields


@pytest.mark.parametrize("text, said", [
    ("HF_TOKEN=hf_abcdefghijklmnop spawn", f"HF_TOKEN={REMOVED} spawn"),
    ("s3://key:pass@bucket/llama", f"s3://{REMOVED}@bucket/llama"),
    ("Authorization: Bearer abc.def-123456", f"Authorization: {REMOVED} {REMOVED}"),
    ("--api-key sk-proj-0123456789abcdef", f"--api-key {REMOVED}"),
    ("password: 'hunter 2', next", f"password: {REMOVED}, next"),
    ("aws AKIAIOSFODNN7EXAMPLE used", f"aws {REMOVED} used"),
    ("https://blob/x?sv=1&sig=a%2Fb&se=2", f"https://blob/x?sv=1&sig={REMOVED}&se=2"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAA\n-----END OPENSSH PRIVATE KEY-----", REMOVED),
    ("connect to 10.1.2.3:2201 timed out", "connect to [address] timed out"),
    ("[fe80::1%eth0]:22 and ::1", "[address] and [address]"),
])
def test_what_looks_like_a_secret_or_an_address_goes(text, said):
    assert scrub(text) == said


@pytest.mark.parametrize("text", [
    "no answer since 03:12:47", "2026-11-27T03:12:47.123Z", "driver 580.95.05", "12000 tokens/s, 5 tokens: fine", "queue_depth=4",
    "drain w1 on ams1-h100-a: fan", "GPU-8c8e5a54-0000-0000-0000-000000000000", "Xid 79: GPU has fallen off the bus", "0x1f:2", "token: 5",
    "sigterm", "monkey: 3",
])
def test_what_is_none_stays(text):
    assert scrub(text) == text


def test_values_keep_names_and_lose_what_stands_behind_them():
    spec = {"env": {"MODE": "fast", "HF_TOKEN": "x"}, "argv": ["vllm", "--max-len=1"]}
    hidden = {"env": {"MODE": REMOVED, "HF_TOKEN": REMOVED}, "argv": ["vllm", "--max-len=1"]}
    value = {"op": "launch", "engine_spec": spec, "api_key": "zzz", "gpus": [0]}
    assert Scrubber().value(value) == {"op": "launch", "engine_spec": hidden, "api_key": REMOVED, "gpus": [0]}


def test_people_are_hidden_when_asked_the_same_one_under_the_same_name():
    scrubber = Scrubber(people=True)
    scrubber.meet(["ann@laptop", "bob@desk"])
    told = scrubber.value([{"actor": "bob@desk", "reason": "my fault"}, {"text": "ann@laptop let go"}, {"by": "ann@laptop"}])
    assert told == [{"actor": "operator-2", "reason": "[redacted]"}, {"text": "operator-1 let go"}, {"by": "operator-1"}]
    assert Scrubber().value({"actor": "ann@laptop", "reason": "fan"}) == {"actor": "ann@laptop", "reason": "fan"}


@dataclasses.dataclass(frozen=True)
class Said:
    what: str
    actor: str
    text: str


class Noted(NamedTuple):
    at: float
    actor: str
    text: str


def test_values_of_any_make_are_scrubbed_field_by_field():
    value = {"book": (Said("n1", "ann@laptop", "call 10.0.0.1"), Noted(1.5, "ann@laptop", "token=abcdefgh")), "acked_by": "ann@laptop"}
    plain, hidden = Scrubber().value(value), Scrubber(people=True).value(value)
    assert plain == {
        "book": (Said("n1", "ann@laptop", "call [address]"), Noted(1.5, "ann@laptop", f"token={REMOVED}")), "acked_by": "ann@laptop",
    }
    assert hidden["book"][1] == Noted(1.5, "operator-1", "[redacted]") and hidden["acked_by"] == "operator-1"
    cordon = Cordoned("fan of 10.0.0.1", "ann", 5.0)
    assert Scrubber().value(cordon) == Cordoned("fan of [address]", "ann", 5.0)
    assert Scrubber(people=True).value(cordon) == Cordoned("[redacted]", "operator-1", 5.0)


def test_what_people_said_of_alarms_is_scrubbed_with_the_fleet():
    silence, note = Silence("n1", 9.0, "call 10.0.0.1", "ann@laptop", 1.0), Note(1.0, "ann@laptop", "token=abcdefgh1")
    fleet = replace(fleet_of(), alarm_book=Book({"a1": Ack(1.0, "ann@laptop", 2, 1)}, (silence,), (("shift", note),)))
    plain, hidden = scrubbed(fleet, Scrubber()).alarm_book, scrubbed(fleet, Scrubber(people=True)).alarm_book
    assert plain.silences == (silence._replace(reason="call [address]"),)
    assert plain.notes == (("shift", note._replace(text=f"token={REMOVED}")),)
    assert hidden.acks["a1"].actor == hidden.silences[0].actor == "operator-1"
    assert hidden.silences[0].reason == hidden.notes[0][1].text == "[redacted]" and hidden.silences[0].until == 9.0


def test_what_somebody_did_is_told_without_their_words():
    hidden = Scrubber(people=True)
    assert hidden.told("drain w1 on n1: my fault", "ann") == "drain w1 on n1: [redacted]"
    assert hidden.told("UNREACHABLE: no route", "") == "UNREACHABLE: no route"
    assert hidden.text("started by /home/ann/bin/python") == "started by /home/[redacted]/bin/python"
    assert Scrubber().told("drain w1 on n1: my fault", "ann") == "drain w1 on n1: my fault"


def test_an_excerpt_has_the_named_nodes_only_and_no_addresses():
    whole = fleet_of({"n1": [worker_fields("w1")], "n3": [worker_fields("w3", checkpoint="https://u:p@hub/llama")]})
    part = scrubbed(of_nodes(whole, {"n3"}), Scrubber())
    assert [node.name for node in part.roster.nodes] == ["n3"] and [worker.name for worker in part.workers] == ["w3"]
    assert part.gpu_values.shape[1] == 4 == len(part.roster.gpu_uuid) and part.roster.gpu_start.tolist() == [0, 4]
    assert (part.gpu_values == whole.gpu_values[:, 8:12])[0].all()
    assert (part.roster.nodes[0].address, part.roster.nodes[0].hostname, part.roster.nodes[0].boot_id) == ("", "", "")
    assert part.workers[0].checkpoint == f"https://{REMOVED}@hub/llama" and part.answering.all()
