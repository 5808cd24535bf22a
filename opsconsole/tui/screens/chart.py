"""A chart of what the cursor stood on: any of its series, against its peers, another series or another time; live or in the past."""

from __future__ import annotations

import math
import time

from textual.app import ComposeResult

from opsconsole.core.text import clean
from opsconsole.tui import curves
from opsconsole.tui.curves import Drawn, Wanted
from opsconsole.tui.frame import Frame
from opsconsole.tui.newest import Newest
from opsconsole.tui.screens.view import View
from opsconsole.tui.subject import FLEET, Choice, Subject, choices, of_subject
from opsconsole.tui.travel import WINDOWS_S, window_around
from opsconsole.tui.when import span_text
from opsconsole.tui.widgets.series_chart import SHIFTS, SeriesChart

READINGS = 300
"""A live chart is read again when so small a part of its span has passed, but not more often than once a second."""
PAST_FRESH_S = 10.0
"""In the past little is added, and a step must not wait for a chart."""
POINTS_A_CELL = 4
_SERIES_OF_METRIC = {"util": "gpu.util_pct", "temp": "gpu.temp_c", "mem": "gpu.mem_used_mib", "power": "gpu.power_w"}


class ChartScreen(View):
    view_name = "chart"
    needs_moment = False

    def __init__(self) -> None:
        super().__init__()
        self.choice = of_subject(FLEET)[0]
        self.versus: Choice | None = None
        self.shift_s = 0.0
        self.window_s = WINDOWS_S[1]
        self.drawn: Drawn | None = None
        self.roster_frame: Frame | None = None
        """The last frame there was: in a gap there is none, and limits and GPUs are still wanted."""
        self._cross: tuple[float, float | None] | None = None
        self._came_from = "fleet"
        self._asked: tuple[Wanted, float] | None = None
        self._reads: Newest[Wanted] = Newest(self.run_worker, self._read)

    def compose_body(self) -> ComposeResult:
        yield SeriesChart()

    @property
    def crumb(self) -> tuple[str, ...]:
        return ("Chart", self.choice.subject.label)

    def begin(self, subject: Subject, came_from: str) -> None:
        """Chart another subject; the series stays where it has it."""
        own = [choice.series for choice in of_subject(subject)]
        meant = _SERIES_OF_METRIC[self.app.sight.metric]
        series = next((name for name in (self.choice.series, meant) if name in own and subject.kind == self.choice.subject.kind), None)
        self._came_from, self.versus, self.shift_s, self._cross = came_from, None, 0.0, None
        self._look_at(Choice(subject, series or (meant if meant in own else own[0])))

    def _look_at(self, choice: Choice) -> None:
        self.choice, self.drawn, self._asked = choice, None, None
        self.refresh_chart()

    # what is read

    @property
    def cross(self) -> float | None:
        """Where the crosshair stands: where it was put, else the past moment of the screens."""
        moment = self.app.travel.moment
        if self._cross is not None and self._cross[1] == moment:
            return self._cross[0]
        return moment

    def span(self) -> tuple[float, float]:
        newest = self.app.travel.newest
        return window_around(newest if self.cross is None else self.cross, self.window_s, newest)

    def show(self, frame: Frame | None) -> None:
        self.roster_frame = frame or self.roster_frame
        self._want()
        super().show(frame)

    def refresh_chart(self) -> None:
        self._want()
        if self.is_composed:
            self.repaint()

    def _want(self) -> None:
        if not self.is_composed or self.app.view is not self or not self.app.travel.open():
            return
        width = max(20, self.app.size.width)
        wanted = Wanted(self.choice, self.versus, self.shift_s, *self.span(), POINTS_A_CELL * width)
        fresh_s = max(PAST_FRESH_S if self.app.travel.is_on else 1.0, self.window_s / READINGS)
        if self._asked is None or self._asked[0] != wanted or time.monotonic() - self._asked[1] >= fresh_s:
            self._asked = (wanted, time.monotonic())
            self._reads.want(wanted)

    async def _read(self, wanted: Wanted) -> None:
        try:
            drawn = await curves.read(self.app.travel.past, self.roster_frame, wanted)
        except Exception as error:  # a HistoryError, which this floor does not know: its text is the sentence
            drawn = Drawn(wanted, trouble=clean(str(error)))
        if wanted.choice == self.choice:
            self.drawn = drawn
            if self.is_composed:
                self.repaint(SeriesChart)

    # what keys ask

    def open_chart(self) -> None:
        self.back()

    def back(self) -> None:
        if self._cross is not None and self._cross[1] == self.app.travel.moment:
            self._cross = None
            self.refresh_chart()
        else:
            self.app.open_view(self._came_from)

    def open_chosen(self) -> None:
        """Take all screens to the moment under the crosshair."""
        if self.cross is None or self.cross == self.app.travel.moment:
            self.app.say("← → put the crosshair on a moment, ↵ takes all screens there")
        else:
            self.app.travel.go(self.cross)

    def move(self, rows: int) -> None:
        own = of_subject(self.choice.subject)
        place = own.index(self.choice) if self.choice in own else 0
        self._look_at(own[max(0, min(len(own) - 1, place + rows))])

    def move_cross(self, cells: int) -> None:
        newest = self.app.travel.newest
        step_s = max(1.0, self.window_s / max(20, self.query_one(SeriesChart).plot_width))
        at = newest if self.cross is None else self.cross
        self._cross = (math.floor(max(0.0, min(newest, at + cells * step_s))), self.app.travel.moment)
        self.refresh_chart()

    def zoom(self, closer: bool) -> None:
        place = WINDOWS_S.index(self.window_s) + (-1 if closer else 1)
        self.window_s = WINDOWS_S[max(0, min(len(WINDOWS_S) - 1, place))]
        self.app.say(f"the chart shows {span_text(self.window_s)}")
        self.refresh_chart()

    def next_shift(self) -> None:
        places = [shift_s for shift_s, _ in SHIFTS]
        self.shift_s = places[(places.index(self.shift_s) + 1) % len(places)]
        self.refresh_chart()

    def next_metric(self) -> None:
        """Choose another series from the list."""
        self._open_list(self._look_at)

    def choose_versus(self) -> None:
        """Choose a second series; the same once more takes it off."""
        self._open_list(self._put_versus)

    def _put_versus(self, choice: Choice) -> None:
        self.versus = None if choice in (self.versus, self.choice) else choice
        self.refresh_chart()

    def _open_list(self, take: object) -> None:
        from opsconsole.tui.screens.palette import Entry, PaletteScreen

        listed = [
            Entry(f"{choice.words}: {choice.of}", choice.series, lambda choice=choice: take(choice))
            for choice in choices(self.roster_frame, self.choice.subject)
        ]
        self.app.push_screen(PaletteScreen(listed=listed))
