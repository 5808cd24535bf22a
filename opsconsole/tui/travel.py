"""Time travel: at which past moment the screens stand, how they get there, and what is read of the history for it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opsconsole.core.text import clean
from opsconsole.tui.frame import Frame
from opsconsole.tui.lookup import Absence, gap_around, mark_words, marks_beyond
from opsconsole.tui.newest import Newest
from opsconsole.tui.overview import Overview, overview_of
from opsconsole.tui.when import clock_text, span_text

if TYPE_CHECKING:
    from opsconsole.core.fleet import Fleet
    from opsconsole.tui.app import ConsoleApp

GAP_S = 3.0
"""What was recorded longer before a moment than this says nothing of it: there is a gap."""
SPEEDS = (1, 2, 5, 10, 30, 60, 300, 900)
"""Seconds of the past in one of ours."""
PLAY_TICK_S = 0.1
SLOW_READ_S = 0.4
"""A read that takes longer shows that it reads, not what was on the screen before."""
WINDOWS_S = (120.0, 600.0, 3600.0, 6 * 3600.0, 86400.0, 7 * 86400.0, 30 * 86400.0)
"""Spans of the time bar and of charts."""
BAR_FRESH_S = 10.0


class Travel:
    """open_past: gives a control.past.Past, whose errors are sentences; None where nothing is recorded."""

    def __init__(self, app: ConsoleApp, open_past: Callable[[], Any] | None) -> None:
        self.app, self._open_past = app, open_past
        self.past: Any = None
        self.moment: float | None = None
        """The whole second that the screens shall stand at; None: now."""
        self.absence: Absence | None = None
        self.kept: tuple[float, float] | None = None
        """First and last recorded moment, as last seen."""
        self.overview: Overview | None = None
        self.speed = SPEEDS[0]
        self.window_s = 3600.0
        self.is_playing = False
        self._exact, self._beat = 0.0, 0.0
        self._bars_are_called = False
        self._timer: Any = None
        self._bar_asked: tuple[float, float, float] = (0.0, 0.0, 0.0)
        self._moments: Newest[float] = Newest(app.run_worker, self._read)
        self._bars: Newest[tuple[float, float]] = Newest(app.run_worker, self._read_bar)
        self._searches: Newest[int] = Newest(app.run_worker, self._find_event)

    @property
    def is_on(self) -> bool:
        return self.moment is not None

    @property
    def is_reading(self) -> bool:
        """Whether what is drawn is not yet what is wanted."""
        frame = self.app.frame
        return self.is_on and self.absence is None and (frame is None or not -1.0 < self.moment - frame.fleet.at <= GAP_S)

    def open(self) -> bool:
        """Whether there is a history to ask; why not is said."""
        if self.past is None and self._open_past is not None:
            try:
                self.past = self._open_past()
            except Exception as error:  # a HistoryError, which this floor does not know: its text is the sentence
                self.app.say(clean(str(error)))
        elif self.past is None:
            self.app.say("there is no history to look into here")
        return self.past is not None

    def ask(self) -> None:
        """Let a time be typed."""
        from opsconsole.tui.screens.time_prompt import TimePrompt

        if self.open():
            self.app.push_screen(TimePrompt())

    async def close(self) -> None:
        if self.past is not None:
            await self.past.close()

    # moving

    def go(self, moment: float) -> None:
        """Stand at a moment."""
        if not self.open():
            return
        if not self.is_on:
            self._enter()
        self.moment = self._exact = math.floor(min(moment, self.app.wall()))
        self._want()

    def _enter(self) -> None:
        self.absence = None
        entered = self.app.frame
        self.app.set_timer(SLOW_READ_S, lambda: self._blank(entered))

    def _blank(self, entered: Frame | None) -> None:
        """What was live on the screen when the journey began does not stay under a banner of the past."""
        if self.is_on and self.absence is None and self.app.frame is entered:
            self._show_absence(Absence("reading what was recorded then …"))

    def _want(self) -> None:
        is_late = self._moments.is_busy  # then the bars move at once, the rest follows; else all of it comes in a moment
        self._moments.want(self.moment)
        self._want_bar()
        if is_late and not self._bars_are_called:
            self._bars_are_called = True
            self.app.call_later(self._move_bars)  # behind all keys that wait

    def _move_bars(self) -> None:
        self._bars_are_called = False
        self.app.moved()

    def step(self, seconds: float) -> None:
        """So far on, or back; out of a gap to its nearer end."""
        if not self.is_on:
            if seconds > 0:
                self.app.say("this is now: there is only a way back")
            else:
                self.go(self.newest + seconds)
            return
        edge = (self.absence.until if seconds > 0 else self.absence.since) if self.absence else None
        if edge is None and seconds > 0 and self.moment >= math.floor(self.newest):
            self.app.say("this is the newest second" + (": esc is back to live" if self.has_live else ""))
        else:
            self.go(self.moment + seconds if edge is None else edge)

    @property
    def newest(self) -> float:
        """The newest moment that there may be a record of."""
        if self.app.live is not None:
            return self.app.live.at
        return self.kept[1] if self.kept else self.app.wall()

    @property
    def end(self) -> float:
        """What a time that is typed is counted back from: now, or the end of the file that is replayed."""
        return self.app.wall() if self.has_live else self.newest

    @property
    def has_live(self) -> bool:
        return self.app.session_factory is not None

    def leave(self) -> None:
        """Back to live."""
        if self.is_on and self.has_live:
            self.stop()
            self._moments.forget()
            self.moment = self.absence = None
            self.app.draw_live()

    # playing

    def play(self) -> None:
        """Play, or pause."""
        if self.is_playing:
            self.stop()
        elif self.is_on:
            self.is_playing, self._exact, self._beat = True, self.moment, time.monotonic()
            self._timer = self._timer or self.app.set_interval(PLAY_TICK_S, self._tick, pause=True)
            self._timer.resume()
        self.app.moved()

    def stop(self) -> None:
        self.is_playing = False
        if self._timer is not None:
            self._timer.pause()

    def change_speed(self, steps: int) -> None:
        place = SPEEDS.index(self.speed) + steps
        self.speed = SPEEDS[max(0, min(len(SPEEDS) - 1, place))]
        self.app.moved()

    def _tick(self) -> None:
        elapsed_s, self._beat = time.monotonic() - self._beat, time.monotonic()
        self.advance(elapsed_s)

    def advance(self, elapsed_s: float) -> None:
        """Play on by so much of our own time; gaps are leapt over."""
        if not (self.is_playing and self.is_on):
            return
        if self.absence is not None and self.absence.until is not None:
            self.app.say(f"{self.absence.words}: leapt over")
            self._exact, self.absence = self.absence.until, None
        else:
            self._exact += elapsed_s * self.speed
        if self._exact >= self.newest:
            self.stop()
            self.app.say("played to the newest second" + (": esc is back to live" if self.has_live else ""))
        moment = math.floor(min(self._exact, self.newest))
        if moment != self.moment:
            self.moment = moment
            self._want()

    # what is read

    async def _read(self, moment: float) -> None:
        try:
            fleet = await self.past.at(moment)
        except Exception as error:  # as in open
            self._found(moment, await self._before_all(str(error)))
            return
        if moment - fleet.at > GAP_S:
            self._found(moment, await gap_around(self.past, fleet.at, moment, self.app.wall()))
        else:
            self._found(moment, fleet)

    def _found(self, moment: float, found: Fleet | Absence) -> None:
        if not self.is_on:
            return
        if isinstance(found, Absence):
            if moment == self.moment:
                self._show_absence(found)
        elif self.app.is_stalled:
            self.app.set_timer(0.25, lambda: self._moments.want(self.moment) if self.is_on else None)
        else:
            self.absence = None
            self.app.draw(Frame(found, self.app.frame, steady=False))

    def _show_absence(self, absence: Absence) -> None:
        self.absence = absence
        if absence.until is None:
            self.stop()  # there is nothing to leap to
        self.app.draw(None)

    async def _before_all(self, words: str) -> Absence:
        """Why nothing can be read; before the first recorded second also where that is."""
        try:
            self.kept = await self.past.span()
        except Exception:  # the first error says what is wrong
            return Absence(clean(words))
        first = self.kept[0] if self.kept else None
        return Absence(clean(words), until=first if first is not None and first > (self.moment or 0.0) else None)

    # the time bar

    def zoom(self, closer: bool) -> None:
        place = WINDOWS_S.index(self.window_s) + (-1 if closer else 1)
        self.window_s = WINDOWS_S[max(0, min(len(WINDOWS_S) - 1, place))]
        self._want_bar()
        self.app.say(f"the time bar shows {span_text(self.window_s)}")

    def _want_bar(self) -> None:
        start, until = window_around(self.moment, self.window_s, self.newest)
        now = self.app.wall()
        if self._bar_asked[:2] != (start, until) or not 0 <= now - self._bar_asked[2] < BAR_FRESH_S:
            self._bar_asked = (start, until, now)
            self._bars.want((start, until))

    async def _read_bar(self, window: tuple[float, float]) -> None:
        try:
            await self._look_at_kept()
            self.overview = await overview_of(self.past, self.app.frame, *window)
        except Exception as error:  # the bar stays as it is; what cannot be read is also said by the moment itself
            self.app.say(clean(f"no time bar: {error}"))
        self.app.moved()

    async def _look_at_kept(self) -> None:
        """Learn how much is kept; the first time, a short history shortens the time bar."""
        is_first, self.kept = self.kept is None, await self.past.span()
        if is_first and self.kept is not None:
            length_s = self.kept[1] - self.kept[0]
            fitting = next((window_s for window_s in WINDOWS_S if window_s >= length_s), self.window_s)
            if fitting < self.window_s:
                self.window_s = fitting
                self._want_bar()

    # events

    def next_event(self, direction: int) -> None:
        """Stand at the next alarm, action or event after (1) or before (-1) where we stand."""
        if not self.is_on and direction > 0:
            self.app.say("this is now: there is only a way back")
        elif self.open():
            self._searches.want(direction)

    async def _find_event(self, direction: int) -> None:
        stand = self.moment if self.is_on else self.newest + 1.0
        try:
            marks = await marks_beyond(self.past, stand, direction, self.app.wall())
        except Exception as error:  # as in open
            self.app.say(clean(str(error)))
            return
        if not marks:
            self.app.say(f"no event is kept {'after' if direction > 0 else 'before'} {clock_text(stand, self.app.wall())}")
            return
        self.go(marks[0].at)
        self.app.say(mark_words(marks, self.app.wall()))


def window_around(moment: float, window_s: float, newest: float) -> tuple[float, float]:
    """A span of `window_s` that holds the moment and stays as it is while the moment moves a little: it moves by quarters of itself."""
    quarter = window_s / 4
    start = math.floor((moment - window_s / 2) / quarter) * quarter
    latest = math.ceil(newest / (window_s / 60)) * (window_s / 60)
    return (start, start + window_s) if start + window_s <= latest else (latest - window_s, latest)
