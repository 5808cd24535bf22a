"""Charts: lines that keep their peaks and gaps, what a series is told beside, and the keys that ask it."""

from __future__ import annotations

import numpy as np
import pytest

from opsconsole.tui.curves import Curve
from opsconsole.tui.overview import overview_of
from opsconsole.tui.subject import FLEET, Choice, Subject, choices, limits, of_subject
from opsconsole.tui.travel import window_around
from opsconsole.tui.when import span_text
from opsconsole.tui.widgets.series_chart import axis_of
from tests.tui import fleets
from tests.tui.pasts import BEGAN, GAP, NOW, MadeUp
from tests.tui.shown import console, press, settled, text_of


def curve(times: list[float] | np.ndarray, values: list[float] | np.ndarray, step_s: float = 1.0) -> Curve:
    values = np.asarray(values, float)
    return Curve("", "W", np.asarray(times, float), values, values, step_s)


def test_a_peak_of_one_second_survives_any_width() -> None:
    values = np.full(86_400, 10.0)
    values[40_000] = 900.0
    for count in (7, 60, 333, 2000):
        low, high = curve(np.arange(86_400), values).columns(0.0, 86_400.0, count)
        assert np.nanmax(high) == 900.0 and np.nanmax(low) == 10.0 and not np.isnan(low).any()


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_a_gap_stays_a_gap_however_wide_the_chart_is(count: int) -> None:
    times = np.concatenate([np.arange(0, 300), np.arange(600, 1000)])
    low, high = curve(times, np.ones(len(times))).columns(0.0, 1000.0, count)
    middle = (np.arange(count) + 0.5) * 1000 / count
    gap = (middle > 302 + 500 / count) & (middle < 600 - 500 / count)
    assert np.isnan(low[gap]).all() and np.isnan(high[gap]).all() and gap.any()
    assert not np.isnan(low[(middle < 299) | (middle > 601) & (middle < 998)]).any()


def test_what_is_not_known_has_no_value() -> None:
    line = curve([0, 1, 2, 3], [1.0, np.nan, np.nan, 4.0])
    assert line.at(0, 0.5) == (1.0, 1.0) and np.isnan(line.at(50, 0.5)[0]) and np.isnan(line.at(1.5, 0.2)[0])
    assert line.bounds() == (1.0, 4.0) and np.isnan(curve([], []).bounds()[0]) and np.isnan(curve([], []).at(1, 9)[0])


def test_axes_are_round_and_hold_what_is_near() -> None:
    assert axis_of([curve([0], [3.0])], "%", []) == (0.0, 100.0)
    assert axis_of([curve([0, 1], [310.0, 560.0])], "W", [700.0]) == (0.0, 800.0)
    assert axis_of([curve([0, 1], [61.0, 74.0])], "°C", [85.0])[0] == 60.0
    assert axis_of([curve([0, 1], [1.0, 2.0])], "ms", [2000.0])[1] < 10
    low, high = axis_of([curve([0], [np.nan])], "W", [])
    assert low < high


def test_every_subject_has_its_series_and_those_around_it() -> None:
    from opsconsole.tui.frame import Frame

    frame = Frame(fleets.calm())
    worker = frame.fleet.workers[0]
    kinds = [choice.subject.kind for choice in choices(frame, Subject("worker", name=worker.name))]
    assert kinds[0] == "worker" and {"node", "gpu", "model", "site", "fleet"} <= set(kinds)
    assert choices(None, FLEET) == of_subject(FLEET) and not limits(None, of_subject(FLEET)[0])
    assert limits(frame, Choice(Subject("model", name="llama-8b"), "model.ttft_p95_ms")) == [(500.0, "objective")]
    assert limits(frame, Choice(Subject("site", name="fra2"), "site.power_w")) == [(40_000.0, "budget")]
    assert limits(frame, Choice(Subject("gpu", node="h200-001", gpu=0), "gpu.power_w")) == [(700.0, "limit")]
    assert limits(frame, Choice(Subject("gpu", node="gone", gpu=0), "gpu.power_w")) == []


def test_a_window_holds_the_moment_and_moves_seldom() -> None:
    windows = {window_around(moment, 3600.0, NOW) for moment in range(int(NOW) - 5000, int(NOW) - 4000)}
    assert len(windows) <= 3
    for moment in np.linspace(NOW - 9000, NOW, 200):
        start, until = window_around(moment, 3600.0, NOW)
        assert start <= moment <= until <= NOW + 60 and until - start == 3600.0


async def test_the_time_bar_knows_trouble_and_gaps() -> None:
    overview = await overview_of(MadeUp(), None, NOW - 3600, NOW)
    height = dict(zip(overview.times.tolist(), overview.trouble.tolist(), strict=True))
    at = lambda moment: next(value for time, value in height.items() if time >= moment)  # noqa: E731
    assert at(NOW - 3500) == 0 and at(BEGAN + 5) == 3 and at(NOW - 60) < 3 and np.isnan(at(GAP[0] + 60))
    assert np.isnan(overview.cells(60)[12]) and overview.cells(60)[-2] > 0
    assert overview.marked(60)[int((BEGAN - overview.start) / 60)] == ("✖", "crit")


@pytest.mark.parametrize(("seconds", "words"), [(12, "12 s"), (432, "7 min 12 s"), (11_100, "3 h 5 min"), (187_200, "2 d 4 h")])
def test_lengths_of_time(seconds: float, words: str) -> None:
    assert span_text(seconds) == words


async def test_a_chart_of_what_the_cursor_stands_on_and_back() -> None:
    async with console(fleets.calm(), (160, 48), past=MadeUp()) as (app, pilot, _):
        await press(pilot, "j", "c")
        assert f"mean of the GPUs of {app.sight.node}" in text_of(app) and "its GPUs" in text_of(app)
        await press(pilot, "c")
        assert app.screen.view_name == "fleet"
        await press(pilot, "2", "j", "m", "c")
        assert f"TEMPERATURE °C · GPU 1 of {app.sight.node}" in text_of(app) and "hot 85 °C" in text_of(app)
        await press(pilot, "escape")
        assert app.screen.view_name == "node"
        await press(pilot, "3", "enter", "c")
        assert f"worker {app.sight.worker}" in text_of(app)
        await press(pilot, "j")
        assert "TTFT P95 ms" in text_of(app) and "objective 500 ms" in text_of(app)


async def test_crosshair_zoom_and_going_there() -> None:
    async with console(fleets.calm(), (160, 48), past=MadeUp()) as (app, pilot, _):
        await press(pilot, "c", "w")
        assert app.screen.window_s == 3600.0 and app.screen.cross is None
        await press(pilot, "left", "left", "left")
        cross = app.screen.cross
        assert cross == NOW - 72 and "03:11:35" in text_of(app).splitlines()[3] and "│" in text_of(app)
        await press(pilot, "z")
        start, until = app.screen.drawn.wanted.start, app.screen.drawn.wanted.until
        assert start <= cross <= until and until - start == 600.0
        await press(pilot, "enter")
        assert app.travel.moment == cross and app.screen.view_name == "chart"
        await press(pilot, "left", "escape")
        assert not app.travel.is_on and app.screen.view_name == "chart"
        await press(pilot, "enter")
        assert "put the crosshair on a moment" in text_of(app)


async def test_a_second_series_and_another_time() -> None:
    past = MadeUp()
    async with console(fleets.calm(), (160, 48), past=past) as (app, pilot, _):
        await press(pilot, "3", "c", "v", *"ttft", "enter")
        assert app.screen.versus.series == "model.ttft_p95_ms" and "TTFT p95, model llama-8b" in text_of(app) and "├" in text_of(app)
        past.asked_series.clear()
        await press(pilot, "y", "y")
        assert "a day before" in text_of(app)
        spans = {name: query["since"] for name, query in past.asked_series}
        assert any(query["since"] == app.screen.drawn.wanted.start - 86400 for _, query in past.asked_series) and spans
        await press(pilot, "v", *"ttft", "enter")
        assert app.screen.versus is None and "├" not in text_of(app)


async def test_gaps_and_refusals_are_said() -> None:
    past = MadeUp()
    async with console(fleets.calm(), (80, 24), past=past) as (app, pilot, _):
        await press(pilot, "c")
        app.travel.go((GAP[0] + GAP[1]) / 2)
        await settled(pilot)
        app.screen.zoom(True)
        await settled(pilot)
        assert "nobody recorded this from" in text_of(app) and "no reading" in text_of(app)

        async def refused(*_: object, **__: object) -> None:
            raise ValueError("the history knows no node \x1b[31m x")

        past.series = refused
        await press(pilot, "j")
        assert "the history knows no node" in text_of(app) and "\x1b" not in text_of(app)


async def test_without_a_history_it_is_said() -> None:
    async with console(fleets.calm(), (120, 40)) as (app, pilot, _):
        await press(pilot, "left_square_bracket")
        assert "there is no history" in text_of(app) and not app.travel.is_on
        await press(pilot, "t", "comma", "c")
        assert app.screen.view_name == "chart" and "there is no history" in text_of(app)
