"""SQL over a history: our own, sqlite3's on an exported file and Datasette's give the same answers to the same questions."""

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from datetime import datetime, timedelta
from importlib.util import find_spec
from urllib.parse import urlencode

import pytest

from opsconsole.history.datasette import prepare_connection
from opsconsole.history.export import KINDS, rows_of, table_name, write_sqlite
from opsconsole.history.questions import QUESTIONS
from opsconsole.history.reader import Reader
from opsconsole.history.readings import Readings
from opsconsole.history.rows import Wanted, columns_of
from opsconsole.history.samples import Recorder
from opsconsole.history.sql import QueryError, open_sql, tables
from tests.history.fleets import fleet_at
from tests.history.recorded import ACTOR, record

SPAN = (0.0, 9e9)


@pytest.fixture(scope="module")
def yesterday(tmp_path_factory):
    """A past that began yesterday at five past three, by the clock on the wall."""
    start = datetime.now().replace(hour=3, minute=5, second=0, microsecond=0) - timedelta(days=1)
    return record(tmp_path_factory.mktemp("yesterday"), int(start.timestamp()))


@pytest.fixture(scope="module")
def plain(yesterday, tmp_path_factory):
    """The same as a plain SQLite file."""
    path = tmp_path_factory.mktemp("plain") / "plain.db"
    span = (yesterday.start, yesterday.start + 300.0)
    with Reader(yesterday.file) as reader:
        wanted = [Wanted(kind, columns_of(kind), *span) for kind in KINDS]
        write_sqlite(path, [(table_name(one.kind), *rows_of(reader, one)) for one in wanted])
    return path


def ask(path, query):
    with open_sql(path) as connection:
        found = connection.execute(query)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]


def answers(yesterday):
    """What the three questions must find."""
    power = {}
    for fleet in yesterday.fleets.values():
        sites = [fleet.roster.nodes[row].site for row in fleet.roster.gpu_node.tolist()]
        for site, power_w, is_heard in zip(sites, fleet.gpu("power_w"), fleet.answering[fleet.roster.gpu_node], strict=True):
            power[site] = power.get(site, 0.0) + (power_w if is_heard else 0.0)
    return {
        "hottest_gpu": {"node": "n2", "gpu": 3, "temp_c": 91.0, "time": at_utc(yesterday.start + 50)},
        "energy_by_site": {site: watt_seconds / 3.6e6 for site, watt_seconds in power.items()},
        "before_the_peak": {"time": at_utc(yesterday.start + 30), "actor": ACTOR, "subject": "llama-1"},
    }


def at_utc(at):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


def check(name, rows, expected):
    if name == "energy_by_site":
        assert {row["site"]: row["kwh"] for row in rows} == pytest.approx(expected, abs=0.0011)
    else:
        assert rows[0].items() >= expected.items()


@pytest.mark.parametrize("name", QUESTIONS)
def test_our_own_sql_answers(yesterday, name):
    check(name, ask(yesterday.file, QUESTIONS[name][1]), answers(yesterday)[name])


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="needs the program sqlite3")
def test_sqlite3_answers_from_an_exported_file(yesterday, plain, name):
    done = subprocess.run(["sqlite3", "-readonly", "-json", plain, QUESTIONS[name][1]], capture_output=True, text=True, check=True)
    check(name, json.loads(done.stdout), answers(yesterday)[name])


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.skipif(find_spec("datasette") is None, reason="needs datasette")
@pytest.mark.parametrize("way", ["live", "canned", "plain"])
def test_datasette_answers(yesterday, plain, name, way):
    path = plain if way == "plain" else yesterday.file
    typed = f"/{path.stem}.json?{urlencode({'sql': QUESTIONS[name][1], '_shape': 'array'})}"
    query = f"/{path.stem}/{name}.json?_shape=array" if way == "canned" else typed
    command = [sys.executable, "-m", "datasette", str(path), "--get", query, "--setting", "sql_time_limit_ms", "60000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    check(name, json.loads(done.stdout), answers(yesterday)[name])


def test_what_datasette_calls_makes_the_tables_and_leaves_other_files_alone(yesterday, tmp_path):
    for path, count in ((yesterday.file, 3), (tmp_path / "other.db", None)):
        connection = sqlite3.connect(f"{path.as_uri()}?mode={'ro' if count else 'rwc'}", uri=True)
        prepare_connection(conn=connection, database=path.stem)
        if count:
            assert connection.execute("select count(distinct node) from gpu_samples where at % 50 = 0").fetchone() == (count,)
        else:
            assert not connection.execute("select * from sqlite_temp_master").fetchall()
        connection.close()


def test_every_reading_of_every_kind_is_there_and_right(yesterday):
    at = yesterday.start + 60
    fleet = yesterday.fleets[at]
    rows = ask(yesterday.file, f"select * from gpu_samples where at = {at} order by node, gpu")
    places = [(node, gpu) for node, count in (("n1", 4), ("n2", 4), ("n3", 2)) for gpu in range(count)]
    assert [(row["node"], row["gpu"]) for row in rows] == places
    for column in ("util_pct", "power_w", "temp_c", "mem_used_mib"):
        assert [row[column] for row in rows] == pytest.approx(fleet.gpu(column).tolist(), abs=0.5)
    assert {(row["site"], row["chip"]) for row in rows} == {("ams1", "H100"), ("fra2", "L40S")}
    assert len(ask(yesterday.file, f"select * from node_samples where at = {at}")) == 3
    workers = ask(yesterday.file, f"select worker, node, model, queue_depth from worker_samples where at = {at}")
    assert {(row["worker"], row["node"], row["model"]) for row in workers} == {(one.name, one.node, one.model) for one in fleet.workers}
    (queue,) = ask(yesterday.file, f"select queue_depth from model_samples where at = {at} and model = 'llama'")
    assert queue["queue_depth"] == fleet.queue_of_model("llama")
    assert ask(yesterday.file, f"select nodes_live from fleet_samples where at = {at}") == [{"nodes_live": 3.0}]


def test_a_silent_node_and_a_gap_have_no_rows(yesterday):
    last, first = yesterday.gap
    assert ask(yesterday.file, f"select distinct node from gpu_samples where at = {last} order by node") == [{"node": "n1"}, {"node": "n2"}]
    assert not ask(yesterday.file, f"select * from fleet_samples where at > {last} and at < {first}")


def test_the_rows_are_the_same_decoded_one_by_one_and_all_at_once(yesterday, plain):
    query = "select at, node, gpu, temp_c, power_w from gpu_samples order by at, node, gpu"
    with sqlite3.connect(plain) as db:
        assert [tuple(row.values()) for row in ask(yesterday.file, query)] == db.execute(query).fetchall()
    one = "select at, temp_c from gpu_samples where node = 'n3' and gpu = 1 order by at"
    with sqlite3.connect(plain) as db:
        assert [tuple(row.values()) for row in ask(yesterday.file, one)] == db.execute(one).fetchall()


def test_minutes_tell_the_same_as_their_seconds(yesterday):
    edges = "min(temp_c) as low, max(temp_c) as high, avg(temp_c) as mean"
    seconds = f"select at / 60 * 60 as at, node, gpu, {edges} from gpu_samples group by 1, 2, 3"
    minutes = "select at, node, gpu, temp_c_low as low, temp_c_high as high, temp_c as mean from gpu_minutes order by 1, 2, 3"
    one, other = ask(yesterday.file, seconds), ask(yesterday.file, minutes)
    assert [(row["at"], row["node"], row["gpu"], row["low"], row["high"]) for row in one] == [
        (row["at"], row["node"], row["gpu"], row["low"], row["high"]) for row in other
    ]
    assert [row["mean"] for row in one] == pytest.approx([row["mean"] for row in other], abs=0.51)
    assert ask(yesterday.file, "select max(temp_c_high) as peak from gpu_minutes where node = 'n2' and gpu = 3") == [{"peak": 91.0}]


def test_audit_and_runs_lie_beside(yesterday):
    with open_sql(yesterday.file) as connection:
        assert {"audit", "runs", "events", "gpu_samples", "site_samples"} <= tables(connection).keys()
    assert [row["run"] for row in ask(yesterday.file, "select run from runs order by at")] == ["r-0", "r-1"]
    found = ask(yesterday.file, "select actor, json_extract(body, '$.node') as node from audit order by seq desc limit 1")
    assert found == [{"actor": ACTOR, "node": "n3"}]


@pytest.mark.parametrize("query, words", [
    ("select * from nobody", "no such table"), ("delete from note", "not authorized"), ("drop view gpu_samples", "not authorized"),
    ("attach '/tmp/x.db' as x", "not authorized"), ("pragma user_version = 5", "not authorized"), ("select 1; select 2", "one statement"),
    ("select reading('gpu.heat', 'n1/0', 5)", "raised exception"), ("create temp table x (y)", "not authorized"),
])
def test_it_reads_and_does_nothing_else(yesterday, query, words):
    before = yesterday.file.read_bytes()
    with pytest.raises(QueryError, match=words):
        ask(yesterday.file, query)
    assert yesterday.file.read_bytes() == before


def test_a_file_that_grows_is_read_again(tmp_path, wait_for):
    recorder = Recorder(tmp_path / "history.db", 1e5)
    recorder.start()
    recorder.record(fleet_at(1_700_000_000))
    wait_for(lambda: recorder.acknowledged == 1_700_000_000)
    with Reader(recorder.path) as reader:
        readings = Readings(reader)
        assert readings.value("gpu.temp_c", "node1/0", 1_700_000_000) is not None
        assert readings.value("gpu.temp_c", "node1/0", 1_700_000_001) is None
        recorder.record(fleet_at(1_700_000_001))
        wait_for(lambda: recorder.acknowledged == 1_700_000_001)
        assert readings.value("gpu.temp_c", "node1/0", 1_700_000_001) == round(fleet_at(1_700_000_001).gpu("temp_c")[2])
    recorder.close()
