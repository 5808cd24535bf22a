"""Any series of the past: times as people type them, a chart with honest gaps, and bytes that scripts rely on."""

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsconsole.cli.chart import HEIGHT_LINES, chart_lines, gaps
from opsconsole.cli.moments import duration_s, moment
from tests.cli.standin import StandIn

SERIES = ("W", np.array([0.0, 1.0, 2.0]), np.array([400.0, np.nan, 412.5]))


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
    assert moment("now", now) == now and moment("15m", now) == now - 900
    assert moment("03:12", now) == now - 47 and moment("03:13", now) == now - 86400 + 13
    assert moment("2025-11-21T03:12:00+01:00", now) == now - 3647
    assert moment("2025-11-21 03:12", now) == now - 47
    for text in ("25:00", "yesterday", "2025-13-01"):
        with pytest.raises(ValueError, match="is no time"):
            moment(text, now)


def test_json(opsconsole):
    session = StandIn(series=SERIES)
    code, out, _ = opsconsole("history", "gpu.power_w", "--node", "n1", "--gpu", "3", "--points", "60", "--json", session=session)
    value = json.loads(out)
    assert (code, value["series"], value["unit"], value["node"], value["gpu"], value["worker"]) == (0, "gpu.power_w", "W", "n1", 3, None)
    assert value["values"] == [400.0, None, 412.5] and value["times"][1] == "1970-01-01T00:00:01.000Z"
    (_, query), = session.asked
    assert (query["node"], query["gpu"], query["points"], round(query["until"] - query["since"])) == ("n1", 3, 60, 900)


def test_csv_is_pinned(opsconsole):
    _, out, _ = opsconsole("history", "gpu.power_w", "--csv", session=StandIn(series=SERIES))
    assert out == "at,gpu.power_w\n1970-01-01T00:00:00.000Z,400\n1970-01-01T00:00:01.000Z,\n1970-01-01T00:00:02.000Z,412.5\n"


def test_a_chart_tells_range_unit_and_gap(opsconsole):
    now = time.time()
    times = np.array([now - 800 + second for second in range(700) if not 200 <= second < 300])
    _, out, _ = opsconsole("history", "fleet.power_w", session=StandIn(series=("W", times, np.linspace(100, 900, 600))))
    for words in ("fleet.power_w, W", "900 |", "100 |", "min 100 W", "mean 500 W", "last 900 W", "gap: no reading", "(1 min)"):
        assert words in out


@pytest.mark.parametrize("arguments, words", [
    (("--since", "soon"), "is no time"), (("--since", "5m", "--until", "10m"), "not before"),
    (("--json", "--csv"), "choose one"), (("--gpu", "-1"), "--gpu"),
])
def test_wrong_usage(opsconsole, arguments, words):
    code, _, err = opsconsole("history", "fleet.power_w", *arguments, session=StandIn(series=SERIES))
    assert code == 2 and words in err


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
