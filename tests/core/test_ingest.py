"""What a node says is checked, bounded and cleaned before anybody else sees it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsconsole.core.ingest import Answer, BadLine, Facts, Sample, Trouble, ingest
from opsconsole.core.text import clean
from opsconsole.protocol import GPU_COLUMNS, LINE_LIMIT_BYTES, encode
from tests.telemetry import facts_line, sample_line, worker_fields


def test_a_sample_becomes_columns_with_nan_for_unknown():
    sample = ingest(sample_line(gpus=2, gpu={1: {"power_w": None}}), "n1")
    assert isinstance(sample, Sample) and sample.gpu.shape == (len(GPU_COLUMNS), 2)
    power = sample.gpu[GPU_COLUMNS.index("power_w")]
    assert power[0] == 400 and np.isnan(power[1])


def test_facts_keep_uuids_and_numbers():
    facts = ingest(facts_line(3))
    assert isinstance(facts, Facts) and facts.gpu_uuid == ("GPU-0", "GPU-1", "GPU-2") and facts.gpu_facts.shape[1] == 3


def test_workers_belong_to_the_node_that_speaks():
    worker = ingest(sample_line(workers=[worker_fields("w1")]), "n7").workers[0]
    assert (worker.node, worker.in_flight) == ("n7", 1)


def test_in_flight_is_unknown_when_a_part_is():
    assert ingest(sample_line(workers=[worker_fields("w1", queue_depth=None)]), "n").workers[0].in_flight is None


def test_answers_and_troubles_are_cleaned():
    answer = ingest(encode({"t": "answer", "id": "x", "ok": True, "done": True, "text": "\x1b[2Jhi", "detail": {"why": ["a\x07"]}}))
    assert isinstance(answer, Answer) and "\x1b" not in answer.text and "\x07" not in answer.detail["why"][0]
    assert ingest(encode({"t": "trouble", "text": "slow\nshell"})) == Trouble("slow shell")


@pytest.mark.parametrize("line", [
    b"", b"{", b"[]", b"null", b'{"t":"nonsense"}', b'{"t":"sample"}', b"\xff\xfe", b'{"t":"sample","seq":1,"wall":1e999,"mono":0}',
    b"[" * 5000, b"x" * (LINE_LIMIT_BYTES + 1),
    sample_line(gpu={0: {"util_pct": 4294967295}}), sample_line(gpu={0: {"temp_c": -4}}), sample_line(gpu={0: {"temp_c": 10**6}}),
    sample_line(workers=[worker_fields("w", state="ON FIRE")]), sample_line(gpus=65), sample_line(gpu_errors={"one": "x"}),
    sample_line(node=[1]), encode({"t": "sample", "seq": 1, "wall": 0, "mono": 0, "gpu": [[1], [1, 2]]}),
    facts_line(65), facts_line(protocol=99), facts_line(2, gpu_columns={"uuid": ["a", "a"]}),
    sample_line(workers=[worker_fields(f"w{number}") for number in range(300)]),
], ids=range(22))
def test_what_is_not_the_protocol_is_refused(line):
    with pytest.raises(BadLine):
        ingest(line, "n")


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_line_does_more_than_be_refused(line):
    try:
        ingest(line, "n")
    except BadLine as error:
        assert str(error).isprintable()


@given(st.text(max_size=300))
def test_clean_text_is_one_printable_line(text):
    cleaned = clean(text)
    assert len(cleaned) <= 200 and not any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in cleaned)
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize("hostile", ["\x1b]52;c;ZXZpbA==\x07", "a\u202eb", "x\u200by", "\x9b31m", "l1\nl2", "e" + "\u0301" * 40, "\ud800"])
def test_hostile_text_loses_its_teeth_and_not_all_letters(hostile):
    cleaned = clean(hostile)
    assert cleaned and not set(cleaned) & set("\x1b\x07\u202e\u200b\x9b\n\ud800") and cleaned.count("\u0301") <= 2
