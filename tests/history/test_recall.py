"""A moment of the past is the fleet that was live then: every word, every array, every worker, and the trends."""

import numpy as np
import pytest

from opsconsole.core.events import Lost, Recorded, Routed
from opsconsole.core.fleet import UNREACHABLE, opening
from opsconsole.core.fold import fold
from opsconsole.history.moments import KEYFRAME_EVERY_S
from opsconsole.history.samples import HistoryError, Reader, Recorder
from opsconsole.history.schema import open_writer
from tests.history.fleets import assert_same
from tests.telemetry import linked, roster, sampled, tick, worker_fields

NODES = ("n1", "n2", "n3")


def story(seconds):
    """A fleet as it becomes second by second: nodes come, work, fall silent, come back with fewer GPUs; workers come and go."""
    random = np.random.default_rng(5)
    fleet = opening(roster(NODES))
    for second in range(seconds):
        mono = 100.0 + second + 0.37
        events = [linked(name, mono) for name in NODES] if second == 1 else []
        if second == 40:
            events.append(linked("n2", mono, gpus=2, boot_id="boot-2"))
        for number, name in enumerate(NODES if second else ()):
            if name == "n3" and 10 <= second < 30:
                continue
            gpus = 2 if name == "n2" and second >= 40 else 4
            gpu = {row: {"power_w": round(random.uniform(90, 700), 1), "util_pct": int(random.integers(0, 101))} for row in range(gpus)}
            state = "READY" if second % 7 else "NOT_READY"
            reason = "slow" if second == 9 else ""
            workers = [worker_fields(f"{name}-w", state, queue_depth=float(second), started_wall=900.125, reason=reason)]
            workers += [worker_fields("twin", ttft_p95_ms=20.0 + number)] if second > 15 else []
            events.append(sampled(
                name, mono - 0.01 * number, gpus=gpus, seq=second, workers=workers if second < 50 or name != "n1" else [], gpu=gpu,
                wall=1000.0 + second + 0.1 * number, procs=[[0, 99, "python3", 512 + second % 3]] if second % 2 else [],
                gpu_errors={"1": "LOST"} if second == 20 else {},
                cordon={"reason": "disk", "actor": "ana", "at": 5.5} if second in range(12, 18) else None,
            ))
        events += [Lost("n3", mono, UNREACHABLE, "the connection was cut")] if second == 11 else []
        events += [Routed({"demo": float(second)}, "old" if second == 21 else "")] if second > 3 else []
        events += [Recorded("history pauses: a lock")] if second == 22 else [Recorded("")] if second == 23 else []
        fleet = fold(fleet, [*events, tick(mono)])
        yield fleet


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """(the fleets of a story by second, the file that two recorders one after the other made of them)."""
    path = tmp_path_factory.mktemp("history") / "history.db"
    fleets = list(story(KEYFRAME_EVERY_S + 20))
    for part in (fleets[:60], fleets[60:]):
        recorder = Recorder(path)
        recorder.start()
        for fleet in part:
            recorder.record(fleet)
            while recorder._fleets:
                recorder._wake.wait(0.001)
        recorder.close()
        assert not recorder.trouble and not recorder.lost_ticks
    return {int(fleet.at): fleet for fleet in fleets}, path


def test_every_second_is_the_fleet_that_was_live_then(kept):
    fleets, path = kept
    with Reader(path) as reader:
        for second, fleet in fleets.items():
            assert_same(fleet, reader.at(second + 0.5), str(second))
        assert reader.span() == (fleets[min(fleets)].at, fleets[max(fleets)].at)


def test_seconds_in_any_order_are_the_same(kept):
    fleets, path = kept
    seconds = np.random.default_rng(1).permutation(sorted(fleets)).tolist()
    with Reader(path) as reader:
        for second in seconds[:40]:
            assert_same(fleets[second], reader.at(second), str(second))


def test_a_moment_that_nobody_recorded_is_the_one_before_or_a_sentence(kept):
    fleets, path = kept
    with Reader(path) as reader:
        assert reader.at(max(fleets) + 5000).at == fleets[max(fleets)].at
        with pytest.raises(HistoryError, match="before the beginning"):
            reader.at(min(fleets) - 1)


def test_an_empty_file_has_no_moment(tmp_path, wait_for):
    recorder = Recorder(tmp_path / "history.db")
    recorder.start()
    recorder.note("history", "x", "begun")
    wait_for(lambda: recorder.path.exists() and not recorder._notes)
    recorder.close()
    with Reader(recorder.path) as reader:
        assert reader.span() is None
        with pytest.raises(HistoryError, match="no moment yet"):
            reader.at(1.0)


def test_alarms_and_lost_nodes_are_marks(kept):
    fleets, path = kept
    with Reader(path) as reader:
        marks = reader.marks(0, 2e9)
    begin = min(fleets)
    lost = [mark for mark in marks if mark.subject == "n3"]
    assert [(mark.kind, int(mark.at) - begin, mark.severity) for mark in lost][:2] == [("event", 11, 0), ("alarm", 11, 2)]
    assert "UNREACHABLE: the connection was cut" == lost[0].text
    assert ("clear", 30) in {(mark.kind, int(mark.at) - begin) for mark in lost}
    assert [mark.at for mark in marks] == sorted(mark.at for mark in marks)
    raised = {(mark.subject, mark.text) for mark in marks if mark.kind == "alarm" and int(mark.at) - begin == 60}
    assert not raised, "what stood when the second recorder began is no news"
    with Reader(path) as reader:
        assert reader.marks(0, 2e9, limit=3) == marks[-3:]


def test_a_reader_that_was_there_first_learns_of_who_comes_later(tmp_path, wait_for):
    path = tmp_path / "history.db"
    open_writer(path).close()
    recorder = Recorder(path)
    with Reader(path) as reader:
        assert reader.span() is None
        recorder.start()
        for fleet in story(25):  # some workers come after the sixteenth second
            recorder.record(fleet)
            wait_for(lambda fleet=fleet: recorder.acknowledged == int(fleet.at))
            assert_same(fleet, reader.at(fleet.at))
    recorder.close()
    path.unlink()
    path.write_bytes(b"")
    with Reader(path) as reader, pytest.raises(HistoryError, match="no history at"):
        reader.span()


def test_who_a_worker_was_is_known_later(kept):
    with Reader(kept[1]) as reader:
        assert reader.workers_known()["n1-w"] == ("demo", "n1", "H100")


def test_a_field_that_fleet_gets_later_is_kept_too():
    from opsconsole.history.moments import FLEET_FIELDS

    assert {"alarms", "cordons", "router_queue", "history_cause", "gpu_errors", "mono"} <= set(FLEET_FIELDS)


def test_peers_and_tables(kept):
    fleets, path = kept
    begin, end = min(fleets), max(fleets)
    with Reader(path) as reader:
        own = reader.series("gpu.power_w", "n1", 0, since=begin + 5, until=begin + 8)
        band = reader.peers("gpu.power_w", "n1", 0, since=begin + 5, until=begin + 8)
        others = np.stack([fleets[begin + second].gpu("power_w")[1:4] for second in range(5, 9)], axis=1)
        np.testing.assert_allclose(band.low, others.min(axis=0))
        np.testing.assert_allclose(band.high, others.max(axis=0))
        assert own.step_s == 1.0 and (own.low == own.values).all()
        table = reader.table(["worker.queue_depth", "worker.ttft_p95_ms"], begin, end, 10.0)
        assert set(table.entities) == {"n1-w", "n2-w", "n3-w", "twin"}
        row = table.entities.index("n2-w")
        place = int(np.flatnonzero(table.times == (begin + 20) // 10 * 10)[0])
        assert table.values["worker.queue_depth"][row, place] == pytest.approx(
            np.mean([second - begin for second in fleets if second // 10 * 10 == (begin + 20) // 10 * 10]))
        assert reader.series("model.queue_depth", model="demo", since=begin + 5, until=begin + 5).values.tolist() == [20.0]
        assert reader.series("site.power_w", site="ams1", since=begin + 5, until=begin + 5).values.tolist() == pytest.approx(
            [float(fleets[begin + 5].gpu("power_w").sum())])
