"""What the recorder was given is what the reader answers: numbers, gaps, changed fleets, notes, retention."""

import stat
from dataclasses import replace

import numpy as np
import pytest

from opsconsole.core.fleet import UNREACHABLE
from opsconsole.history.samples import HistoryError, Reader, Recorder
from tests.history.fleets import fleet_at, roster, with_gpu, worker

START = 1_700_000_000


def record(recorder, wait_for, fleets):
    for fleet in fleets:
        recorder.record(fleet)
        wait_for(lambda fleet=fleet: recorder.acknowledged == int(fleet.at))


def test_a_value_comes_back_at_its_second(recorder, wait_for):
    fleets = [with_gpu(fleet_at(START + n), "power_w", 3, 300.5 + n) for n in range(5)]
    record(recorder, wait_for, fleets)
    series = Reader(recorder.path).series("gpu.power_w", "node1", 1, since=START, until=START + 60)
    assert series.unit == "W"
    assert series.times.tolist() == [START + n for n in range(5)]
    assert series.values.tolist() == pytest.approx([300.5 + n for n in range(5)])


def test_every_kind_of_series_answers(recorder, wait_for):
    record(recorder, wait_for, [fleet_at(START, workers=[worker(), worker("w1", queue_depth=None)])])
    reader = Reader(recorder.path)
    span = {"since": START, "until": START}
    assert reader.series("worker.ttft_p95_ms", worker="w0", **span).values.tolist() == pytest.approx([41.5])
    assert np.isnan(reader.series("worker.queue_depth", worker="w1", **span).values).all()
    assert reader.series("fleet.queue_depth", **span).values.tolist() == [1.0]
    assert len(reader.series("node.cpu_pct", "node2", **span).values) == 1


def test_a_silent_node_leaves_a_gap_not_its_last_value(recorder, wait_for):
    fleet = fleet_at(START + 1, workers=[worker()])
    silent = replace(fleet, reach=np.array([UNREACHABLE, 0, 0], np.int8))
    record(recorder, wait_for, [fleet_at(START, workers=[worker()]), silent])
    reader = Reader(recorder.path)
    span = {"since": START, "until": START + 1}
    for series in (
        reader.series("gpu.temp_c", "node0", 0, **span), reader.series("node.load1", "node0", **span),
        reader.series("worker.queue_depth", worker="w0", **span),
    ):
        assert np.isnan(series.values).tolist() == [False, True]
    assert not np.isnan(reader.series("gpu.temp_c", "node1", 0, **span).values).any()


def test_nobody_recording_is_a_gap_too(recorder, wait_for):
    record(recorder, wait_for, [fleet_at(START), fleet_at(START + 100)])
    series = Reader(recorder.path).series("gpu.temp_c", "node0", 0, since=START, until=START + 200)
    assert series.times.tolist() == [START, START + 1, START + 100]
    assert np.isnan(series.values).tolist() == [False, True, False]


def test_a_changed_roster_stays_readable(recorder, wait_for):
    before = with_gpu(fleet_at(START), "temp_c", 5, 61)
    turned = roster(4)
    turned = replace_nodes(turned, turned.nodes[::-1])
    after = with_gpu(fleet_at(START + 1, turned), "temp_c", 3, 62)
    record(recorder, wait_for, [before, after])
    series = Reader(recorder.path).series("gpu.temp_c", "node2", 1, since=START, until=START + 1)
    assert series.values.tolist() == [61, 62]
    new = Reader(recorder.path).series("gpu.temp_c", "node3", 0, since=START, until=START + 1)
    assert np.isnan(new.values).tolist() == [True, False]


def replace_nodes(of, nodes):
    return replace(of, nodes=nodes)


def test_a_tick_is_written_once(recorder, wait_for):
    record(recorder, wait_for, [with_gpu(fleet_at(START), "temp_c", 0, 50), fleet_at(START + 1)])
    recorder.record(with_gpu(fleet_at(START + 1.5), "temp_c", 0, 99))
    recorder.record(with_gpu(fleet_at(START), "temp_c", 0, 99))
    record(recorder, wait_for, [fleet_at(START + 2)])
    series = Reader(recorder.path).series("gpu.temp_c", "node0", 0, since=START, until=START + 1)
    assert len(series.values) == 2 and 99 not in series.values


def test_history_goes_on_after_a_restart(recorder, wait_for):
    record(recorder, wait_for, [fleet_at(START)])
    recorder.close()
    again = Recorder(recorder.path)
    again.start()
    record(again, wait_for, [fleet_at(START + 1)])
    again.close()
    assert len(Reader(recorder.path).series("gpu.temp_c", "node2", 1, since=START, until=START + 9).values) == 2


def test_close_writes_what_waits(tmp_path):
    recorder = Recorder(tmp_path / "history.db")
    for n in range(20):
        recorder.record(fleet_at(START + n))
    recorder.start()
    recorder.close()
    assert recorder.acknowledged == START + 19


def test_old_ticks_go_in_small_steps(tmp_path, wait_for):
    recorder = Recorder(tmp_path / "history.db", hours=10 / 3600)
    recorder.start()
    record(recorder, wait_for, [fleet_at(START + n) for n in range(30)])
    recorder.close()
    series = Reader(recorder.path).series("gpu.temp_c", "node0", 0, since=START, until=START + 60)
    assert series.times.tolist() == [START + n for n in range(19, 30)]


def test_a_peak_survives_a_narrow_chart(recorder, wait_for):
    for n in range(200):
        recorder.record(with_gpu(fleet_at(START + n), "temp_c", 0, 95 if n == 77 else 3 if n == 150 else 50))
        wait_for(lambda n=n: recorder.acknowledged == START + n)
    series = Reader(recorder.path).series("gpu.temp_c", "node0", 0, since=START, until=START + 300, points=20)
    assert len(series.values) <= 20
    assert series.values.max() == 95 and series.values.min() == 3
    assert series.times[series.values.argmax()] == START + 77
    assert (np.diff(series.times) > 0).all()


def test_notes_are_kept(recorder, wait_for):
    recorder.note("action", "w0", "drain", "ops", at=START + 0.5)
    wait_for(lambda: recorder.path.exists() and not recorder._notes)
    (note,) = Reader(recorder.path).notes(START, START + 1)
    assert note == {"at": START + 0.5, "kind": "action", "subject": "w0", "text": "drain", "actor": "ops"}


def test_the_whole_fleet_at_a_moment(recorder, wait_for):
    record(recorder, wait_for, [with_gpu(fleet_at(START), "temp_c", 4, 71)])
    frame = Reader(recorder.path).frame("gpu.temp_c", START + 0.9)
    assert frame["node2/0"] == 71 and len(frame) == 6


def test_questions_that_have_no_answer(recorder, wait_for, tmp_path):
    record(recorder, wait_for, [fleet_at(START)])
    reader = Reader(recorder.path)
    span = {"since": START, "until": START + 1}
    for arguments, words in (
        ({"series": "gpu.heat"}, "no series `gpu.heat`"),
        ({"series": "gpu.temp_c", "node": "node0"}, "name its node and its index"),
        ({"series": "gpu.temp_c", "node": "node0", "gpu": 9}, "no GPU 9 of node node0"),
        ({"series": "node.load1", "node": "nowhere"}, "no node nowhere"),
        ({"series": "worker.running", "worker": "w9"}, "no worker w9"),
        ({"series": "worker.running"}, "of one worker"),
    ):
        with pytest.raises(HistoryError, match=words):
            reader.series(**arguments, **span)
    with pytest.raises(HistoryError, match="no history"):
        Reader(tmp_path / "nothing.db").series("fleet.power_w", **span)


def test_nobody_else_may_read_the_file(recorder, wait_for):
    record(recorder, wait_for, [fleet_at(START)])
    for path in recorder.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
