"""A history made by somebody who wants harm: it is bounded, its words are printable, and what it breaks is a sentence."""

import shutil
import sqlite3
import zlib

import msgspec
import numpy as np
import pytest

from opsconsole.core.text import REPLACEMENT
from opsconsole.history.chunks import BLOCK, pack_chunks, unpack_chunks
from opsconsole.history.codec import SLOTS_LIMIT, inflated, unpack
from opsconsole.history.moments import unpacked
from opsconsole.history.reader import Reader
from opsconsole.history.schema import HistoryError
from opsconsole.history.sql import open_sql

BOMB = zlib.compress(bytes(50_000_000))


def test_what_unfolds_to_more_than_it_can_be_is_damaged():
    assert inflated(zlib.compress(b"x" * 100), 100) == b"x" * 100
    for data in (zlib.compress(b"x" * 101), zlib.compress(b"x" * 100)[:-3], b"junk"):
        with pytest.raises(ValueError, match="damaged"):
            inflated(data, 100)


def test_no_blob_makes_more_of_itself_than_it_may():
    chunk = pack_chunks(np.arange(BLOCK * 120).reshape(BLOCK, 120))[0]
    with pytest.raises(ValueError):
        unpack_chunks([chunk[:10] + BOMB], 120)
    same = bytes([97]) + (SLOTS_LIMIT + 1).to_bytes(4, "little") + bytes(8) + b"\x01"
    with pytest.raises(ValueError):
        unpack(same, 1.0)
    with pytest.raises(ValueError):
        unpacked(b"\x78\x9c junk")


@pytest.mark.parametrize("word, said", [
    ("plain", "plain"), ("\x1b]0;owned\x07", f"{REPLACEMENT}]0;owned{REPLACEMENT}"), ("日本", "日本"), ("a\u202eb", f"a{REPLACEMENT}b"),
    ('say "x"', 'say "x"'), ("del\x7f", f"del{REPLACEMENT}"),
])
def test_words_of_a_moment_are_printable(word, said):
    told = {"fields": {"router_cause": word, "n": 27, "raw": b"\x1b["}, "nodes": [[0, word]], 5: [word]}
    assert unpacked(zlib.compress(msgspec.msgpack.encode(told))) == {
        "fields": {"router_cause": said, "n": 27, "raw": b"\x1b["}, "nodes": [[0, said]], 5: [said],
    }


@pytest.fixture
def strange(recorded, tmp_path):
    """spoil(statement, *values) -> a copy of a recorded past in which that was done."""

    def spoil(statement, *values):
        shutil.copy(recorded.file, tmp_path / "x.db")
        with sqlite3.connect(tmp_path / "x.db") as db:
            db.execute(statement, values)
        return tmp_path / "x.db"

    return spoil


@pytest.mark.parametrize("told", [{}, {"fields": {}}, {"fields": 5, "nodes": "x"}, [1, 2], "word", {"nodes": [[77, ""]], "fields": {}}])
@pytest.mark.parametrize("table", ["keyframe", "roster"])
def test_a_moment_that_makes_no_sense_is_one_sentence(strange, recorded, told, table):
    path = strange(f"update {table} set data = ?", zlib.compress(msgspec.msgpack.encode(told)))
    with Reader(path) as reader, pytest.raises(HistoryError, match="cannot be read"):
        reader.at(recorded.start + 50)


def test_marks_are_printable(strange):
    with Reader(strange("update note set text = ?", "\x1b[31mred")) as reader:
        assert {mark.text for mark in reader.marks(0.0, 9e9)} == {f"{REPLACEMENT}[31mred"}


def test_damaged_numbers_are_gaps_and_nothing_else(strange, recorded):
    path = strange("update frame set data = ?", BOMB[:5000])
    with Reader(path) as reader:
        assert reader.at(recorded.start + 50).gpu("temp_c").shape == (10,)
    with open_sql(path) as connection:
        assert connection.execute("select count(*) from events").fetchone()[0] > 0
