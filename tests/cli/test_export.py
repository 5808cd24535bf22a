"""Spans of the past in other tools' files: what is in them, who may read them, and that none is written over."""

import csv
import io
import sqlite3
import stat
from types import SimpleNamespace

import pytest

from opsconsole.core.as_json import at_text

WHOLE = ("--since", "30m")


def test_csv_is_pinned(opsconsole, recorded):
    at = recorded.start + 50
    span = ("--since", at_text(at), "--until", at_text(at + 1))
    code, out, err = opsconsole(*recorded.options, "export", "-", "--series", "gpu.temp_c", "--series", "gpu.xid", "--node", "n2", *span)
    cool = [round(fleet.gpu("temp_c")[row]) for fleet in (recorded.fleets[at], recorded.fleets[at + 1]) for row in range(4, 8)]
    assert (code, err) == (0, "opsconsole: 8 rows\n") and cool[3] == 91
    assert out == "at,site,chip,node,gpu,temp_c,xid\n" + "".join(
        f"{at_text(at + place // 4)},ams1,H100,n2,{place % 4},{temp_c},\n" for place, temp_c in enumerate(cool)
    )


def test_a_step_is_a_mean_on_the_clock(opsconsole, recorded):
    _, out, _ = opsconsole(*recorded.options, "export", "-", "--series", "fleet.queue_depth", "--step", "30s", *WHOLE)
    rows = list(csv.DictReader(io.StringIO(out)))
    steps = by_step(recorded, 30)
    assert {row["at"]: float(row["queue_depth"]) for row in rows} == pytest.approx({
        at_text(step): sum(values) / len(values) for step, values in steps.items()
    })


def by_step(recorded, step_s):
    """The queue of the fleet at every second, by the step that it lies in."""
    steps = {}
    for t, fleet in recorded.fleets.items():
        steps.setdefault(t // step_s * step_s, []).append(fleet.trend[1, -1])
    return steps


def test_minutes_come_with_their_lowest_and_highest(opsconsole, recorded):
    _, out, _ = opsconsole(*recorded.options, "export", "-", "--series", "fleet.queue_depth", "--step", "1m", *WHOLE)
    rows = list(csv.DictReader(io.StringIO(out)))
    steps = by_step(recorded, 60)
    assert [(row["at"], float(row["queue_depth_low"]), float(row["queue_depth_high"])) for row in rows] == [
        (at_text(step), min(values), max(values)) for step, values in steps.items()
    ]
    assert [float(row["queue_depth"]) for row in rows] == pytest.approx([sum(values) / len(values) for values in steps.values()], abs=0.51)


def test_a_plain_sqlite_file_of_all_kinds(opsconsole, recorded, tmp_path):
    path = tmp_path / "plain.db"
    code, _, err = opsconsole(*recorded.options, "export", str(path), *WHOLE)
    assert code == 0 and stat.S_IMODE(path.stat().st_mode) == 0o600 and list(tmp_path.iterdir()) == [path]
    with sqlite3.connect(path) as db:
        names = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
        count = {name: db.execute(f"select count(*) from {name}").fetchone()[0] for name in names}
        assert db.execute("select temp_c, time from gpu_samples order by temp_c desc limit 1").fetchone()[0] == 91.0
    seconds = len(recorded.fleets)
    assert count == {
        "gpu_samples": 10 * seconds - 2 * 10, "node_samples": 3 * seconds - 10, "worker_samples": count["worker_samples"],
        "fleet_samples": seconds, "site_samples": 2 * seconds - 10, "model_samples": seconds, "events": 6,
    }
    assert err == f"opsconsole: {sum(count.values())} rows\n"


def test_of_one_node_there_is_only_what_is_of_it(opsconsole, recorded, tmp_path):
    path = tmp_path / "n3.db"
    assert opsconsole(*recorded.options, "export", str(path), "--node", "n3", *WHOLE)[0] == 0
    with sqlite3.connect(path) as db:
        assert {name for (name,) in db.execute("select name from sqlite_master where type = 'table'")} == {
            "gpu_samples", "node_samples", "worker_samples", "events",
        }
        assert db.execute("select distinct node from worker_samples").fetchall() == [("n3",)]
        assert db.execute("select distinct subject from events").fetchall() == [("n3",)]


def test_parquet(opsconsole, recorded, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "x.parquet"
    assert opsconsole(*recorded.options, "export", str(path), "--kind", "gpu", *WHOLE)[0] == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and list(tmp_path.iterdir()) == [path]
    found = duckdb.sql(f"select node, gpu, temp_c, xid, epoch(time) from '{path}' order by temp_c desc limit 1").fetchall()
    assert found == [("n2", 3, 91.0, None, recorded.start + 50)]
    assert duckdb.sql(f"select count(*) from '{path}'").fetchall()[0] == (10 * len(recorded.fleets) - 2 * 10,)


def test_without_duckdb_parquet_says_what_is_missing(opsconsole, recorded, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    code, _, err = opsconsole(*recorded.options, "export", str(tmp_path / "x.parquet"), "--kind", "gpu", *WHOLE)
    assert code == 1 and "pip install 'opsconsole[parquet]'" in err and not list(tmp_path.iterdir())


def test_nothing_is_written_over_without_force(opsconsole, recorded, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("mine")
    arguments = (*recorded.options, "export", str(path), "--kind", "event", *WHOLE)
    code, _, err = opsconsole(*arguments)
    assert code == 1 and "--force replaces it" in err and path.read_text() == "mine"
    assert opsconsole(*arguments, "--force")[0] == 0 and path.read_text().startswith("at,kind,severity,subject")


@pytest.mark.parametrize("arguments, words", [
    (("x.xls",), "the ending of the name tells the form"), (("x.csv",), "holds one kind of rows"),
    (("x.csv", "--kind", "moon"), "there is no kind 'moon'"), (("x.csv", "--series", "gpu.heat"), "there is no series `gpu.heat`"),
    (("x.csv", "--kind", "gpu", "--kind", "node"), "holds one kind of rows"), (("x.db", "--step", "100ms"), "at least 1s"),
    (("x.db", "--since", "1m", "--until", "2m"), "is not before"), (("x.csv", "--kind", "site", "--node", "n1"), "a site is of none"),
])
def test_wrong_usage(opsconsole, recorded, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, _, err = opsconsole(*recorded.options, "export", *arguments)
    assert code == 2 and words in err and not list(tmp_path.iterdir())


def test_a_span_without_anything_is_told_and_leaves_no_file(opsconsole, recorded, tmp_path):
    path = tmp_path / "x.csv"
    span = ("--since", "2001-01-01", "--until", "2001-01-02")
    code, _, err = opsconsole(*recorded.options, "export", str(path), "--kind", "gpu", *span)
    assert code == 1 and "nothing was recorded" in err and not list(tmp_path.iterdir())


def test_what_has_no_room_on_the_disk_is_not_begun(opsconsole, recorded, tmp_path, monkeypatch):
    monkeypatch.setattr("opsconsole.cli.export.shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    code, _, err = opsconsole(*recorded.options, "export", str(tmp_path / "x.db"), *WHOLE)
    assert code == 1 and "GiB are free" in err and "choose --step 1m" in err and not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_sentence(opsconsole, recorded, tmp_path):
    code, _, err = opsconsole(*recorded.options, "export", str(tmp_path / "no" / "x.csv"), "--kind", "gpu", *WHOLE)
    assert code == 1 and err.count("\n") == 1 and "cannot be written: No such file or directory" in err
