"""Any series of the past: times as people type them, a chart with honest gaps, and bytes that scripts rely on."""

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsconsole.cli import history
from opsconsole.cli.chart import HEIGHT_LINES, SHADE, chart_lines, gaps
from opsconsole.cli.moments import duration_s, moment
from opsconsole.core.wording import at_text
from opsconsole.history.charts import Series
from opsconsole.history.samples import Recorder
from tests.history.fleets import fleet_at, with_gpu


@pytest.mark.parametrize("text, seconds", [
    ("15m", 900), ("2h", 7200), ("30s", 30), ("1d", 86400), ("1h30m", 5400), ("1.5h", 5400), ("250ms", 0.25), (" 10M ", 600), ("2 h", 7200),
])
def test_durations(text, seconds):
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "soon", "-5m", "5 parsecs", "1h30", "\u0661m"])
def test_no_durations(text):
    with pytest.raises(ValueError, match="15m"):
        duration_s(text)


def test_moments(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    now = 1_763_694_767.0  # 2025-11-21 03:12:47
    assert moment("now", now) == now and moment("15m", now) == now - 900 == moment("-15m", now)
    assert moment("03:12", now) == now - 47 and moment("03:13", now) == now - 86400 + 13
    assert moment("2025-11-21T03:12:00+01:00", now) == now - 3647
    assert moment("2025-11-21 03:12", now) == now - 47
    for text in ("25:00", "yesterday", "2025-13-01"):
        with pytest.raises(ValueError, match="is no time"):
            moment(text, now)


@pytest.fixture(scope="module")
def three_seconds(tmp_path_factory):
    """Options that choose a state directory with a past of three seconds: GPU 1 of node1 drew 400 W, told nothing, and drew 412.5 W."""
    state = tmp_path_factory.mktemp("state")
    start = int(time.time()) - 100
    recorder = Recorder(state / "history.db", 1e5)
    recorder.start()
    for second, power_w in enumerate((400.0, np.nan, 412.5)):
        recorder.record(with_gpu(fleet_at(start + second), "power_w", 3, power_w))
    recorder.close()
    return start, ("--state-dir", str(state))


POWER = ("history", "gpu.power_w", "--node", "node1", "--gpu", "1")


def test_json(opsconsole, three_seconds):
    start, options = three_seconds
    code, out, _ = opsconsole(*options, *POWER, "--json")
    value = json.loads(out)
    assert (code, value["series"], value["unit"], value["node"], value["gpu"], value["worker"]) == (0, "gpu.power_w", "W", "node1", 1, None)
    assert value["values"] == [400.0, None, 412.5] and value["times"][1] == at_text(start + 1) and value["step_s"] == 1
    assert "low" not in value


def test_csv_is_pinned(opsconsole, three_seconds):
    start, options = three_seconds
    _, out, _ = opsconsole(*options, *POWER, "--csv")
    assert out == f"at,gpu.power_w\n{at_text(start)},400\n{at_text(start + 1)},\n{at_text(start + 2)},412.5\n"


def test_where_a_tier_answers_its_edges_are_columns(capsys):
    times, mean, low, high = (np.array(values) for values in ((0.0, 60.0), (400.0, np.nan), (300.0, np.nan), (700.0, np.nan)))
    found = Series("gpu.power_w", "W", times, mean, low, high, 60.0)
    history._print_csv(found)
    assert capsys.readouterr().out == (
        "at,gpu.power_w,low,high\n1970-01-01T00:00:00.000Z,400,300,700\n1970-01-01T00:01:00.000Z,,,\n"
    )
    history._print_json(found, {}, 0.0, 120.0)
    value = json.loads(capsys.readouterr().out)
    assert (value["low"], value["high"], value["step_s"]) == ([300.0, None], [700.0, None], 60)
    history._print_chart(found, {}, 0.0, 120.0)
    out = capsys.readouterr().out
    assert "each value is of 1 min" in out and "max 700 W" in out and "mean 400 W" in out and SHADE in out


def test_a_chart_tells_range_unit_and_gap():
    now = time.time()
    times = np.array([now - 800 + second for second in range(700) if not 200 <= second < 300])
    out = "\n".join(chart_lines(times, np.linspace(100, 900, 600), now - 900, now, "W", 100))
    for words in ("900 |", "100 |", "min 100 W", "mean 500 W", "last 900 W", "gap: no reading", "(1 min)"):
        assert words in out


def test_a_peak_of_one_second_is_seen_in_a_chart_of_a_day():
    times = np.arange(0.0, 86400.0, 60.0)
    values, highs = np.full(1440, 50.0), np.full(1440, 51.0)
    highs[700] = 99.0
    lines = chart_lines(times, values, 0.0, 86400.0, "°C", 80, values, highs)
    assert lines[0].startswith("99 |") and lines[0].count("░") == 1 and "max 99 °C" in "\n".join(lines)


def test_the_series_there_are(opsconsole):
    code, out, _ = opsconsole("history")
    assert code == 0 and out == opsconsole("history", "--list")[1]
    assert "gpu.power_w" in out and "°C" in out and "--node and --gpu" in out
    known = json.loads(opsconsole("history", "--list", "--json")[1])["series"]
    assert {"series": "site.power_w", "unit": "W", "of": "--site"} in known


@pytest.mark.parametrize("arguments, words", [
    (("--since", "soon"), "is no time"), (("--since", "5m", "--until", "10m"), "not before"),
    (("--json", "--csv"), "choose one"), (("--gpu", "-1"), "--gpu"), (("--points", "1"), "--points"),
    (("--sql", "select 1"), "give a SERIES or --sql"),
])
def test_wrong_usage(opsconsole, three_seconds, arguments, words):
    code, _, err = opsconsole(*three_seconds[1], "history", "fleet.power_w", *arguments)
    assert code == 2 and words in err


@pytest.mark.parametrize("arguments, words", [
    (("gpu.heat",), "there is no series `gpu.heat`"), (("gpu.temp_c",), "of one GPU; name its node"),
    (("gpu.temp_c", "--node", "node1", "--gpu", "9"), "knows no GPU 9 of node node1"), (("site.power_w",), "of one site"),
])
def test_what_cannot_be_asked_is_one_sentence(opsconsole, three_seconds, arguments, words):
    code, out, err = opsconsole(*three_seconds[1], "history", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and words in err


def test_no_history_yet(opsconsole, tmp_path):
    code, out, err = opsconsole("--state-dir", str(tmp_path), "history", "fleet.power_w")
    assert (code, out) == (1, "") and "no history" in err


def test_gaps_at_both_ends_are_told():
    times = np.arange(100.0, 200.0)
    assert gaps(times, np.ones(100), 0.0, 300.0) == [(0.0, 100.0), (199.0, 300.0)]
    assert gaps(times, np.full(100, np.nan), 0.0, 300.0) == [(0.0, 300.0)]


def test_sparse_readings_are_not_gaps():
    times = np.arange(0.0, 3600.0, 60.0)
    assert gaps(times, np.ones(60), 0.0, 3600.0) == []
    lines = chart_lines(times, np.ones(60), 0.0, 3600.0, "", 200)
    assert " " not in lines[HEIGHT_LINES - 1].split("| ")[1]


def test_nothing_known_is_said():
    assert "no reading between" in chart_lines(np.zeros(0), np.zeros(0), 0.0, 9.0, "W", 80)[0]


def test_ascii_where_the_terminal_has_no_blocks(monkeypatch):
    monkeypatch.setattr("opsconsole.cli.chart.can_print", lambda text: False)
    assert all(line.isascii() for line in chart_lines(np.arange(9.0), np.arange(9.0), 0.0, 9.0, "W", 80))


@settings(derandomize=True, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), max_size=50), st.integers(20, 200))
def test_any_series_fits_its_width(values, width):
    array = np.array([np.nan if value is None else value for value in values])
    lines = chart_lines(np.arange(float(len(array))), array, 0.0, 50.0, "W", width)
    assert all(len(line) <= max(width, 60) for line in lines[: HEIGHT_LINES + 1])
