"""Frames become chunks and coarser steps: every tier answers with what the seconds said, sealed or not, with gaps, peaks and late ticks."""

import numpy as np
import pytest

from opsconsole.history.catalog import METRICS
from opsconsole.history.codec import pack
from opsconsole.history.numbers import Numbers
from opsconsole.history.reader import Reader
from opsconsole.history.retention import Retention
from opsconsole.history.schema import open_writer
from opsconsole.history.sealing import Sealer
from opsconsole.history.tiers import MINUTES, SECONDS, TENS

START = 1_700_006_400  # a whole ten minutes, and a whole window of minutes
METRIC = METRICS["gpu.power_w"]
HOURS = 3


class File:
    """A file with one metric, written second by second as the recorder does, its seconds known beside it."""

    def __init__(self, path, slots=40):
        self.path, self.slots = path, slots
        self.connection = open_writer(path)
        self.connection.execute("insert into metric(id, name, unit, scale) values(7, ?, 'W', 0.1)", (METRIC.name,))
        self.connection.executemany(
            "insert into entity(kind, slot, name) values('gpu', ?, ?)", [(slot, f"n{slot // 8}/{slot % 8}") for slot in range(slots)])
        self.sealer = Sealer(self.connection, [7])
        self.known: dict[int, np.ndarray] = {}

    def write(self, t, values):
        self.known[t] = np.append(values, np.full(self.slots - len(values), np.nan))
        self.connection.execute("insert into tick(t, at) values(?, ?)", (t, t + 0.2))
        if (frame := pack(values, METRIC.scale)) is not None:
            self.connection.execute("insert into frame(metric, t, data) values(7, ?, ?)", (t, frame))

    def seal(self, newest, limit=10_000):
        count = 0
        while count < limit and self.sealer.step(newest):
            count += 1
        return count

    def count(self, table):
        return self.connection.execute(f"select count(*) from {table}").fetchone()[0]

    def expected(self, step_s, since, until):
        """(3, slots, T) of the seconds, reduced step by step."""
        found = np.full((3, self.slots, (until - since) // step_s), np.nan)
        for place, begin in enumerate(range(since, until, step_s)):
            seconds = [self.known[t] for t in range(begin, begin + step_s) if t in self.known]
            if seconds:
                table = np.stack(seconds)
                some = ~np.isnan(table).all(axis=0)
                for plane, reduced in enumerate((np.nanmean, np.nanmin, np.nanmax)):
                    found[plane, some, place] = reduced(table[:, some], axis=0)
        return found


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Three hours: sealed as they went by, with a gap of 20 minutes, a GPU that is silent for a while and one that came later."""
    made = File(tmp_path_factory.mktemp("history") / "history.db")
    made.connection.execute("begin")
    random = np.random.default_rng(11)
    level = np.full(made.slots, 400.0)
    for second in range(HOURS * 3600 + 77):
        if 4000 <= second < 5200:
            continue
        level = np.clip(level + random.normal(0, 4, made.slots), 90, 700)
        values = level.round(1)
        if 600 <= second < 2400:
            values[3] = np.nan
        if second == 7777:
            values[5] = 999.9
        made.write(START + second, values[: 39 if second < 1000 else 40])
        if second % 500 == 0:
            made.connection.execute("commit")
            made.seal(START + second, limit=3)
            made.connection.execute("begin")
    made.connection.execute("commit")
    made.seal(max(made.known))
    return made


def test_what_is_over_is_sealed_and_what_is_not_is_open(file):
    newest = max(file.known)
    ends = dict(file.connection.execute("select step, max(t0) from chunk group by step").fetchall())
    assert ends[1] == SECONDS.window(newest - 5) - SECONDS.window_s and ends[60] == MINUTES.window(newest) - MINUTES.window_s
    assert file.count("frame") == newest - SECONDS.window(newest - 5) + 1
    assert file.connection.execute("select min(t) from frame").fetchone()[0] == SECONDS.window(newest - 5)


@pytest.mark.parametrize("tier", [SECONDS, MINUTES, TENS], ids=lambda tier: f"{tier.step_s}s")
def test_every_tier_says_what_the_seconds_said(file, tier):
    since, until = START, START + HOURS * 3600 + 600
    values = Numbers(file.connection).values(METRIC, np.arange(file.slots), tier, since, until)
    expected = file.expected(tier.step_s, since, until)[: len(values)]
    np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))
    tolerance = {1: 1e-9, 60: 0.0501, 600: 0.1001}[tier.step_s]
    for plane, exact in ((0, False), (1, True), (2, True)):
        if plane < len(values):
            np.testing.assert_allclose(values[plane], expected[plane], atol=1e-9 if exact and tier is MINUTES else tolerance, rtol=0)


def test_one_slot_is_what_all_slots_say(file):
    numbers = Numbers(file.connection)
    for tier, since in ((SECONDS, START + 3777), (MINUTES, START + 60 * 17), (TENS, START)):
        everything = numbers.values(METRIC, np.arange(file.slots), tier, since, since + 10 * tier.window_s)
        for slot in (0, 5, 39):
            np.testing.assert_array_equal(numbers.values(METRIC, np.array([slot]), tier, since, since + 10 * tier.window_s)[:, 0],
                                          everything[:, slot])


def test_the_whole_fleet_at_any_second(file):
    numbers = Numbers(file.connection)
    for t in np.random.default_rng(3).choice(sorted(file.known), 200).tolist():
        found = numbers.at(t)[METRIC.name]
        np.testing.assert_allclose(np.append(found, np.full(64, np.nan))[: file.slots], file.known[t])


def test_charts_have_gaps_and_peaks(file):
    with Reader(file.path) as reader:
        series = reader.series(METRIC.name, "n0", 5, since=START, until=START + HOURS * 3600, points=300)
        assert series.step_s == 60 and np.nanmax(series.high) == 999.9
        missing = series.times[np.isnan(series.values)]
        assert (np.abs(missing - (START + 4020)) < 60).any(), "the gap is there"
        raw = reader.series(METRIC.name, "n0", 5, since=START + 7700, until=START + 7800, points=50)
        assert len(raw.values) <= 50 and np.nanmax(raw.values) == 999.9 and raw.times[np.nanargmax(raw.values)] == START + 7777
        short = reader.series(METRIC.name, "n0", 5, since=START + 7000, until=START + 11000, points=20)
        assert np.nanmax(short.values) == 999.9
        assert len(reader.series(METRIC.name, "n0", 5, since=START, until=START + 3 * 3600).times) > 9000, "without points: every second"
        band = reader.peers(METRIC.name, "n0", 5, since=START, until=START + HOURS * 3600, points=100)
        assert len(band.times) <= 100 and np.nanmax(band.high) < 999 and (band.low <= band.high)[~np.isnan(band.low)].all()
        table = reader.table([METRIC.name], START, START + 3600, 600)
        np.testing.assert_allclose(table.values[METRIC.name], file.expected(600, START, START + 4200)[0], atol=0.1)


def test_ticks_that_come_late_are_added_to_what_is_sealed(tmp_path):
    made = File(tmp_path / "history.db", slots=4)
    late = range(30, 50)
    for second in range(1300):
        if second not in late:
            made.write(START + second, np.full(4, 100.0 + second))
    made.seal(START + 1300)
    for second in late:
        made.write(START + second, np.full(3, 900.0))
    made.sealer = Sealer(made.connection, [7])
    assert made.seal(START + 1300) == 1
    values = Numbers(made.connection).values(METRIC, np.arange(4), SECONDS, START, START + 1300)
    np.testing.assert_allclose(values, made.expected(1, START, START + 1300)[:1])
    assert Numbers(made.connection).values(METRIC, np.arange(4), MINUTES, START, START + 60)[2, 0, 0] == 900.0


def test_a_damaged_chunk_is_a_gap(tmp_path):
    made = File(tmp_path / "history.db", slots=40)
    for second in range(400):
        made.write(START + second, np.random.default_rng(second).uniform(100, 600, 40).round(1))
    made.seal(START + 400)
    made.connection.execute("update chunk set mean = substr(mean, 1, 40) where t0 = ? and block = 0", (START + 120,))
    numbers = Numbers(made.connection)
    values = numbers.values(METRIC, np.array([0, 39]), SECONDS, START, START + 360)[0]
    assert np.isnan(values[0]).tolist() == [120 <= second < 240 for second in range(360)] and not np.isnan(values[1]).any()
    assert np.isnan(numbers.at(START + 130)[METRIC.name][:32]).all()


def test_each_tier_is_kept_for_its_time(tmp_path):
    made = File(tmp_path / "history.db", slots=2)
    made.connection.execute("begin")
    for second in range(0, 4 * 3600, 4):
        made.write(START + second, np.array([100.0, 200.0]))
    made.connection.execute("commit")
    newest = max(made.known)
    made.seal(newest)
    retention = Retention(made.connection, [7], {SECONDS: 600.0, MINUTES: 2 * 3600.0, TENS: 1e9})
    for _ in range(5000):
        retention.step(newest)
    assert made.connection.execute("select min(t) from tick").fetchone()[0] == newest - 600
    oldest = dict(made.connection.execute("select step, min(t0) from chunk group by step"))
    assert newest - 600 - 120 < oldest[1] <= newest - 600 and newest - 3 * 3600 - 60 < oldest[60] <= newest - 2 * 3600
    with Reader(made.path) as reader:
        series = reader.series(METRIC.name, "n0", 0, since=START, until=newest, points=1000)
        assert series.step_s == 600 and series.times[0] == START and not np.isnan(series.values[:-1]).any()
        series = reader.series(METRIC.name, "n0", 0, since=newest - 300, until=newest)
        assert series.step_s == 1 and len(series.times) >= 75
