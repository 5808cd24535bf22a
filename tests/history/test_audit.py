"""The record of actions: every row is on disk and follows from the one before, and whatever is done to it shows."""

import sqlite3
import stat
import threading

import pytest

from opsconsole.history.audit import START, Audit, AuditError, LateAudit, compare, read_id, read_rows, verify


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.db"


def filled(path, count=4):
    audit = Audit(path)
    for number in range(count):
        audit.append(100.0 + number, "begin", f"run-{number}", "ana", {"title": f"drain demo-{number}", "reason": ""})
    audit.close()
    return path


def change(path, sql):
    with sqlite3.connect(path) as db:
        db.execute(sql)


def test_rows_come_back_as_they_were_and_the_chain_holds(path):
    rows = list(read_rows(filled(path)))
    assert [row.content()["title"] for row in rows] == [f"drain demo-{number}" for number in range(4)]
    assert rows[0].previous == START and rows[1].previous == rows[0].hash
    found = verify(path)
    assert (found.rows, found.head, found.broken) == (4, rows[-1].hash, "")
    assert [row.seq for row in read_rows(path, since=102.0)] == [3, 4]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_was_closed_goes_on(path):
    filled(path, 2)
    filled(path, 2)
    assert verify(path).rows == 4 and not verify(path).broken


def test_no_file_is_an_empty_record(path):
    assert list(read_rows(path)) == [] and verify(path).head == START


@pytest.mark.parametrize(
    ("sql", "broken"),
    [
        ("update audit set actor = 'eve' where seq = 2", "row 2 was changed"),
        ("update audit set at = 1 where seq = 3", "row 3 was changed"),
        ("update audit set body = '{}' where seq = 1", "row 1 was changed"),
        ("delete from audit where seq = 2", "row 2 is missing"),
        ("delete from audit where seq = 1", "row 1 is missing"),
        ("update audit set previous = hash where seq = 4", "row 4 does not follow"),
    ],
)
def test_what_is_done_to_a_row_shows(path, sql, broken):
    change(filled(path), sql)
    assert broken in verify(path).broken


def test_rows_cut_off_at_the_end_show_in_the_head(path):
    head = verify(filled(path)).head
    change(path, "delete from audit where seq = 4")
    assert not verify(path).broken and verify(path).head != head


def test_writers_side_by_side_make_one_chain(path):
    audits = [Audit(path), Audit(path)]

    def write(audit):
        for number in range(20):
            audit.append(1.0, "order", f"run-{number}", "ana", {})

    threads = [threading.Thread(target=write, args=(audit,)) for audit in audits * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(path).rows == 80 and not verify(path).broken


def test_what_cannot_be_opened_or_written_is_one_sentence(tmp_path, path):
    with pytest.raises(AuditError, match="cannot be opened"):
        Audit(tmp_path / "nowhere" / "audit.db")
    late = LateAudit(tmp_path / "later" / "audit.db")
    with pytest.raises(AuditError):
        late.append(1.0, "begin", "r", "ana", {})
    (tmp_path / "later").mkdir()
    assert late.append(1.0, "begin", "r", "ana", {}).seq == 1  # the next action finds the place mended
    late.close()
    path.write_bytes(b"no database at all, but long enough to be looked at" * 10)
    with pytest.raises(AuditError, match="cannot be read"):
        verify(path)


def anchors_of(path):
    return [{"audit": read_id(path), "seq": row.seq, "hash": row.hash} for row in read_rows(path)]


def test_what_nodes_were_told_finds_a_cut_and_a_rewritten_file(path):
    told = {"n1": anchors_of(filled(path))[:2], "n2": [*anchors_of(path)[3:], {"audit": "another", "seq": 99, "hash": "x"}]}
    assert compare(path, told) == (3, [])
    change(path, "delete from audit where seq = 4")
    assert compare(path, told) == (2, ["cut: n2 was told of row 4, the last one here is 3"])
    change(path, "delete from audit")
    audit = Audit(path)
    for _ in range(4):  # the chain of the new rows is whole
        audit.append(1.0, "begin", "r", "eve", {})
    audit.close()
    agreed, wrong = compare(path, told)
    assert not verify(path).broken and agreed == 0
    assert wrong == [f"rewritten: row {seq} is not the one that {node} was told of" for seq, node in ((1, "n1"), (2, "n1"), (4, "n2"))]


def test_a_file_that_is_older_than_ids_gets_one_that_stays(path):
    first = next(read_rows(filled(path)))
    change(path, "drop table identity")
    assert read_id(path) == first.hash[:32]
    audit = Audit(path)
    assert audit.id == read_id(path) == first.hash[:32]
    audit.append(1.0, "begin", "r", "ana", {})
    audit.close()
    assert read_id(path) == first.hash[:32] and not verify(path).broken


def test_every_file_has_an_id_of_its_own(tmp_path):
    late = LateAudit(tmp_path / "a.db")
    assert late.id == "" and read_id(tmp_path / "a.db") == ""
    late.append(1.0, "begin", "r", "ana", {})
    assert late.id == read_id(tmp_path / "a.db") != read_id(filled(tmp_path / "b.db"))
    late.close()
