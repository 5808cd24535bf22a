"""A post-mortem's file: of its span and nodes only, without secrets, read wherever a history is; and strangers' files met with care."""

import json
import os
import shutil
import sqlite3
import stat

import numpy as np
import pytest

from opsconsole.cli import root
from opsconsole.core.as_json import at_text
from opsconsole.history.reader import Reader
from tests.history.recorded import ACTOR, REASON


@pytest.fixture(scope="module")
def saved(recorded, tmp_path_factory):
    """save(name, *arguments) -> a file of a span that begins 20 s after the past does; made once."""
    place = tmp_path_factory.mktemp("incident")

    def save(run, name, *arguments):
        path = place / name
        if not path.exists():
            span = ("--from", at_text(recorded.start + 20), "--to", at_text(recorded.gap[1] + 20))
            code, out, err = run(*recorded.options, "incident", "save", str(path), *span, *arguments)
            assert (code, out) == (0, f"{path}\n"), err
        return path

    return save


def everything_in(path):
    """All that can be read out of a history, as one text."""
    with Reader(path) as reader:
        seconds = reader.ticks(0.0, 9e9)
        said = [str((reader.at(t).roster, reader.at(t))) for t in seconds[::20]] + [str(reader.marks(0.0, 9e9))]
    with sqlite3.connect(path) as db:
        return "\n".join([*said, *map(str, db.execute("select * from audit")), *map(str, db.execute("select * from run"))])


def test_every_second_of_the_span_is_the_one_that_was_recorded(opsconsole, recorded, saved):
    path = saved(opsconsole, "whole.db")
    with Reader(path) as there, Reader(recorded.file) as here:
        seconds = there.ticks(0.0, 9e9)
        assert seconds == here.ticks(recorded.start + 20, recorded.gap[1] + 20) and len(seconds) == 121
        for t in seconds[::10]:
            one, other = there.at(t), here.at(t)
            assert np.array_equal(one.gpu_values, other.gpu_values, equal_nan=True) and np.array_equal(one.reach, other.reach)
            assert np.array_equal(one.node_values, other.node_values, equal_nan=True)
            assert [(worker.name, worker.queue_depth, worker.tokens_per_s) for worker in one.workers] == [
                (worker.name, worker.queue_depth, worker.tokens_per_s) for worker in other.workers
            ]
            assert [(alarm.kind, alarm.subject) for alarm in one.alarms] == [(alarm.kind, alarm.subject) for alarm in other.alarms]
        assert [(mark.at, mark.kind, mark.subject) for mark in there.marks(0.0, 9e9)] == [
            (mark.at, mark.kind, mark.subject) for mark in here.marks(recorded.start + 20, recorded.gap[1] + 20)
        ]
    with sqlite3.connect(path) as db:
        assert [seq for (seq,) in db.execute("select seq from audit")] == [2, 3]
        assert [run for (run,) in db.execute("select id from run")] == ["r-1"]
        assert db.execute("pragma journal_mode").fetchone() == ("delete",)


def test_it_is_one_file_for_its_owner_only_and_never_written_over(opsconsole, recorded, saved):
    path = saved(opsconsole, "whole.db")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [file for file in path.parent.iterdir() if file.name.startswith((".", "whole.db-"))]
    before = path.read_bytes()
    code, _, err = opsconsole(*recorded.options, "incident", "save", str(path), "--from", "30m")
    assert code == 1 and "--force replaces it" in err and path.read_bytes() == before


def test_no_secret_and_no_address_leaves(opsconsole, recorded, saved):
    text = everything_in(saved(opsconsole, "whole.db"))
    for secret in ("hunter2", "hf_secretsecret", "abcdef123", "10.1.2.3", "10.1.2.4", "'fast'"):
        assert secret not in text, secret
    for kept in (ACTOR, REASON, "HF_TOKEN", "no route to [address]", "@hub/llama", "n3", "token=[removed]"):
        assert kept in text, kept
    facts = Reader(saved(opsconsole, "whole.db")).at(recorded.start + 60).roster.nodes
    assert {(node.address, node.hostname, node.boot_id) for node in facts} == {("", "", "")} and facts[0].driver
    here = str([Reader(recorded.file).at(recorded.start + 20).roster, Reader(recorded.file).marks(0.0, 9e9)])
    assert "hunter2" in here and "10.1.2.3" in here and "abcdef123" in here


def test_people_leave_no_trace_when_they_are_redacted(opsconsole, saved):
    text = everything_in(saved(opsconsole, "redacted.db", "--redact"))
    assert ACTOR not in text and REASON not in text and "operator-1" in text and "[redacted]" in text and "hunter2" not in text


def test_only_the_nodes_that_were_named(opsconsole, recorded, saved):
    path = saved(opsconsole, "n3.db", "--node", "n3")
    with Reader(path) as there:
        fleet = there.at(recorded.start + 115)
        assert [node.name for node in fleet.roster.nodes] == ["n3"] and {worker.node for worker in fleet.workers} == {"n3"}
        assert [mark.subject for mark in there.marks(0.0, 9e9)] == ["n3"] * 4
    text = everything_in(path)
    assert "NodeFacts(name='n1'" not in text and "llama-1 on n1" not in text
    code, _, err = opsconsole(*recorded.options, "incident", "save", str(path.with_name("x.db")), "--from", "30m", "--node", "n9")
    assert code == 2 and "no node 'n9'" in err


def test_every_reading_command_reads_it(opsconsole, recorded, saved):
    path = saved(opsconsole, "whole.db")
    at = recorded.start + 50
    code, out, _ = opsconsole("gpus", "--file", str(path), "--at", at_text(at), "--filter", "temp_c>90", "--json")
    assert code == 0 and [(row["node"], row["index"]) for row in json.loads(out)["gpus"]] == [("n2", 3)]
    assert json.loads(opsconsole("status", "--file", str(path), "--json")[1])["at"] == at_text(recorded.gap[1] + 20)
    span = ("--since", at_text(at - 5), "--until", at_text(at + 5), "--file", str(path), "--json")
    assert max(json.loads(opsconsole("history", "gpu.temp_c", "--node", "n2", "--gpu", "3", *span)[1])["values"]) == 91
    query = "select a.run, r.title from audit a join runs r on r.run = a.run order by seq limit 1"
    assert json.loads(opsconsole("history", "--sql", query, "--file", str(path), "--json")[1]) == {"run": "r-1", "title": "drain llama-1"}
    assert opsconsole("export", "-", "--kind", "event", "--file", str(path), "--since", at_text(recorded.start))[1].count("\n") == 7


def test_in_a_file_times_are_counted_back_from_its_end(opsconsole, recorded, saved):
    file = ("--file", str(saved(opsconsole, "whole.db")))
    end = recorded.gap[1] + 20
    assert json.loads(opsconsole("nodes", *file, "--at", "5s", "--json")[1])["at"] == at_text(end - 5)
    found = json.loads(opsconsole("history", "fleet.power_w", *file, "--since", "9s", "--json")[1])
    assert len(found["values"]) == 10 and found["until"] == at_text(end)
    assert opsconsole("export", "-", "--kind", "fleet", *file, "--since", "9s")[1].count("\n") == 11


def test_the_screen_replays_it_and_refuses_what_is_none(opsconsole, recorded, saved, tmp_path, capsys):
    path, shown = saved(opsconsole, "whole.db"), []
    assert root.run(["replay", str(path), "--at", "5s"], lambda settings, replay: shown.append(replay) or 0) == 0
    assert [(one.path, one.stand_at) for one in shown] == [(path, recorded.gap[1] + 15)]
    (tmp_path / "x.db").write_text("hello")
    assert root.run(["replay", str(tmp_path / "x.db")], lambda settings, replay: 0) == 1
    assert "no SQLite file" in capsys.readouterr().err


def test_what_is_in_it_is_told(opsconsole, recorded, saved):
    path = saved(opsconsole, "whole.db")
    code, out, _ = opsconsole("incident", "show", str(path), "--json")
    assert code == 0 and json.loads(out) == {
        "fleet": "lab", "since": at_text(recorded.start + 20), "until": at_text(recorded.gap[1] + 20), "seconds": 121,
        "nodes": 3, "gpus": 10, "workers": len(recorded.fleets[recorded.start + 20].workers), "events": 6, "audit_rows": 2, "runs": 1,
        "removed": "secrets, addresses",
    }
    out = opsconsole("incident", "show", str(path))[1]
    assert f"opsconsole replay {path}" in out and "3 nodes, 10 GPUs" in out
    assert "180 seconds" in opsconsole("incident", "show", str(recorded.file.parent))[1]


ENDLESS = "with recursive t(x) as (select 1 union all select x + 1 from t) select x as t, x as at from t"


def spoil(path, *statements):
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)


@pytest.mark.parametrize("statements, words", [
    (["insert into _sqlite_migrations values (99, 'opsconsole-history', 'm999_future', '2031-01-01')"], "newer opsconsole (m999_future)"),
    (["drop table tick", f"create view tick as {ENDLESS}"], "holds what no history has (tick, a view"),
    (["create trigger x after insert on note begin delete from tick; end"], "holds what no history has (x, a view, trigger"),
    (["drop table frame"], "is not whole: it lacks frame"),
    (["delete from _sqlite_migrations"], "a SQLite file of something else"),
])
def test_a_strangers_file_that_is_none_of_ours_is_one_sentence(opsconsole, recorded, tmp_path, statements, words):
    path = tmp_path / "x.db"
    shutil.copy(recorded.file, path)
    spoil(path, *statements)
    for command in (("incident", "show", str(path)), ("nodes", "--file", str(path)), ("history", "--sql", "select 1", "--file", str(path))):
        code, out, err = opsconsole(*command)
        assert (code, out, err.count("\n")) == (1, "", 1) and words in err, err


@pytest.mark.parametrize("make, words", [
    (lambda path: path.write_text("hello"), "no SQLite file"), (lambda path: None, "No such file"),
    (lambda path: path.mkdir(), "No such file"), (lambda path: path.write_bytes(b"SQLite format 3\x00" + b"\x00" * 5000), "cannot be read"),
])
def test_what_is_no_history_at_all_is_one_sentence(opsconsole, tmp_path, make, words):
    make(tmp_path / "x.db")
    code, out, err = opsconsole("incident", "show", str(tmp_path / "x.db"))
    assert (code, out, err.count("\n")) == (1, "", 1) and words in err, err


def test_a_damaged_page_is_found_before_anything_is_shown(opsconsole, recorded, tmp_path):
    data = bytearray(recorded.file.read_bytes())
    for place in range(20 * 16384, len(data) - 16384, 16384):
        data[place: place + 64] = b"\xff" * 64
    (tmp_path / "x.db").write_bytes(data)
    code, out, err = opsconsole("nodes", "--file", str(tmp_path / "x.db"))
    assert (code, out, err.count("\n")) == (1, "", 1) and ("damaged" in err or "cannot be read" in err), err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_only_be_read_in_a_folder_that_may_only_be_read(opsconsole, recorded, tmp_path):
    folder = tmp_path / "mounted"
    folder.mkdir()
    shutil.copy(recorded.file, folder / "x.db")
    (folder / "x.db").chmod(0o400)
    folder.chmod(0o500)
    try:
        assert opsconsole("status", "--file", str(folder / "x.db"))[0] == 0
    finally:
        folder.chmod(0o700)
