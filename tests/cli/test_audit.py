"""Who did what, read from the file itself: no collector is needed, and a record that was changed is told as such."""

import json
import sqlite3

import pytest

from opsconsole.history.audit import Audit, read_id, read_rows
from tests.cli.standin import StandIn
from tests.telemetry import fleet_of


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("OPSCONSOLE_STATE_DIR", str(tmp_path))
    audit = Audit(tmp_path / "audit.db")
    audit.append(1_763_694_767.0, "begin", "r1", "ana", {"title": "drain demo-1", "reason": "fan \x1b[31m", "steps": []})
    audit.append(1_763_694_768.0, "order", "r1", "ana", {"op": "drain", "worker": "demo-1", "node": "n1", "id": "o1"})
    receipt = {"worker": "demo-1", "node": "n1", "ok": True, "text": "stopped", "detail": {}, "id": "o1"}
    audit.append(1_763_694_790.0, "receipt", "r1", "ana", receipt)
    audit.close()
    return tmp_path


def test_it_tells_who_why_and_how_it_ended(opsconsole, state):
    code, out, _ = opsconsole("audit", "--since", "2025-11-01")
    assert code == 0 and "\x1b" not in out
    lines = out.splitlines()
    assert lines[0].startswith("2025-11-21T03:12:47.000Z  begin    ana  drain demo-1: fan")
    assert lines[1].endswith("drain demo-1 on n1") and lines[2].endswith("demo-1 on n1  done: stopped")


def test_json(opsconsole, state):
    rows = json.loads(opsconsole("audit", "--since", "2025-11-01", "--json")[1])["rows"]
    assert [row["kind"] for row in rows] == ["begin", "order", "receipt"] and rows[2]["text"] == "stopped" and rows[1]["seq"] == 2


def test_only_what_is_recent_unless_said(opsconsole, state):
    assert opsconsole("audit")[:2] == (0, "")
    assert opsconsole("audit", "--since", "soon")[0] == 2


def test_a_whole_record_and_a_changed_one(opsconsole, state):
    code, out, _ = opsconsole("audit", "--verify", "--json")
    found = json.loads(out)
    assert (code, found["rows"], found["whole"], len(found["head"])) == (0, 3, True, 64)
    assert "whole, 3 rows" in opsconsole("audit", "--verify")[1]
    with sqlite3.connect(state / "audit.db") as db:
        db.execute("update audit set actor = 'eve' where seq = 2")
    code, out, error = opsconsole("audit", "--verify", "--json")
    assert code == 1 and json.loads(out)["whole"] is False and "row 2 was changed" in error


def test_no_record_is_no_error(opsconsole, tmp_path, monkeypatch):
    monkeypatch.setenv("OPSCONSOLE_STATE_DIR", str(tmp_path))
    assert opsconsole("audit") == (0, "", "")
    (tmp_path / "audit.db").write_bytes(b"no database at all, but long enough to be looked at" * 10)
    code, _, error = opsconsole("audit")
    assert code == 1 and "cannot be read" in error and "Traceback" not in error


def test_what_nodes_keep_is_compared(opsconsole, state):
    rows = list(read_rows(state / "audit.db"))
    kept = [{"audit": read_id(state / "audit.db"), "seq": row.seq, "hash": row.hash} for row in rows]
    session = StandIn(fleet_of())
    session.kept = {"n1": kept, "n2": []}
    code, out, _ = opsconsole("audit", "--verify", session=session)
    assert code == 0 and "3 heads kept at 2 nodes agree" in out
    session.kept["n2"] = None
    code, out, err = opsconsole("audit", "--verify", "--json", session=session)
    assert code == 3 and "1 of 2 nodes told of no head: n2" in err and json.loads(out)["nodes_silent"] == ["n2"]
    with sqlite3.connect(state / "audit.db") as db:
        db.execute("delete from audit where seq = 3")
    code, out, err = opsconsole("audit", "--verify", "--json", session=session)
    assert code == 1 and "cut: n1 was told of row 3, the last one here is 2" in err and json.loads(out)["whole"] is False


def test_without_a_collector_the_chain_alone_is_checked(opsconsole, state):
    code, out, err = opsconsole("audit", "--verify")
    assert code == 0 and "whole, 3 rows" in out and "the nodes were not asked" in err
