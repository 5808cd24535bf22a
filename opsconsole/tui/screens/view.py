"""What all full screens share: the bars around the body, sizes, moving, marking, and asking for plans."""

from __future__ import annotations

from collections.abc import Iterator

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import Screen

from opsconsole.core.steps import Intent
from opsconsole.tui import asking
from opsconsole.tui.frame import Frame
from opsconsole.tui.pane import Pane
from opsconsole.tui.subject import FLEET, Subject
from opsconsole.tui.widgets.absence_notice import AbsenceNotice
from opsconsole.tui.widgets.alarm_strip import AlarmStrip
from opsconsole.tui.widgets.footer import Footer
from opsconsole.tui.widgets.run_panel import RunPanel
from opsconsole.tui.widgets.status_line import StatusLine
from opsconsole.tui.widgets.time_bar import TimeBar
from opsconsole.tui.widgets.top_bar import TopBar

TINY_WIDTH, TINY_HEIGHT = 60, 15
"""Below this only a status line is drawn."""
WIDE_WIDTH, TALL_HEIGHT = 120, 34
"""Below this the compact layout is drawn."""


class View(Screen[None], inherit_bindings=False):
    view_name = ""
    needs_moment = True
    """Whether there is nothing to draw here where nothing was recorded."""

    def compose(self) -> ComposeResult:
        yield TopBar()
        yield AlarmStrip()
        with Vertical(id="body"):
            yield from self.compose_body()
        yield AbsenceNotice()
        yield RunPanel()
        yield TimeBar()
        yield Footer()
        yield StatusLine()

    def compose_body(self) -> ComposeResult:
        yield from ()

    @property
    def crumb(self) -> tuple[str, ...]:
        return (self.view_name.capitalize(),)

    @property
    def frame(self) -> Frame | None:
        return self.app.frame

    @property
    def is_small(self) -> bool:
        return self.has_class("small")

    def panes(self) -> Iterator[Pane]:
        return iter(self.query(Pane))

    @property
    def is_composed(self) -> bool:
        """Whether there is something to draw on yet: a screen just opened learns of the frame when it resumes."""
        return self.is_mounted and bool(self.query(Pane))

    def show(self, frame: Frame | None) -> None:
        self._show_time()
        for pane in self.panes():
            pane.show(frame)

    def _show_time(self) -> None:
        """Room for what the past needs: its time bar, and the words where there is nothing to draw."""
        wanted = self.app.travel.is_on, self.needs_moment and self.app.travel.absence is not None
        if self.is_composed and (self.has_class("past"), self.has_class("absent")) != wanted:
            self.set_class(wanted[0], "past")
            self.set_class(wanted[1], "absent")
            self.show_run()

    def repaint(self, *kinds: type[Pane]) -> None:
        """Draw again all panes, or those of some kinds."""
        for pane in self.panes():
            if not kinds or isinstance(pane, kinds):
                pane.repaint()

    def on_mount(self) -> None:
        self._arrange()

    def on_resize(self) -> None:
        self._arrange()

    def on_screen_resume(self) -> None:
        self._arrange()
        self.show(self.frame)

    def _arrange(self) -> None:
        """Choose the layout by size; panes learn of it by their resize."""
        if not self.is_composed:
            return
        width, height = self.app.size
        self.set_class(width < TINY_WIDTH or height < TINY_HEIGHT, "tiny")
        self.set_class(width < WIDE_WIDTH or height < TALL_HEIGHT, "small")
        self.arrange_body(width, height)
        self.show_run()

    def arrange_body(self, width: int, height: int) -> None:
        """A screen's own sizes."""

    def show_run(self) -> None:
        """Make room for the run panel as its lines come."""
        if not self.is_composed:
            return
        panel = self.query_one(RunPanel)
        wanted = min(panel.wanted_height(), max(0, self.app.size.height // 3))
        if panel.display != bool(wanted) or panel.styles.height is None or panel.styles.height.value != wanted:
            panel.styles.height = wanted
            panel.display = bool(wanted)
        panel.repaint()

    def runs_changed(self) -> None:
        """Draw what follows from the runs that the collector knows of."""
        self.repaint(AlarmStrip, TimeBar, RunPanel)

    # what keys ask of a screen

    def move(self, rows: int) -> None:
        """Another row becomes the chosen one."""

    def move_page(self, direction: int) -> None:
        self.move(direction * max(1, self.page // 2))

    @property
    def page(self) -> int:
        return 10

    def open_chosen(self) -> None:
        """Look into the chosen row."""

    def back(self) -> None:
        if not self.app.acting.close_shown():
            self.app.open_view("fleet")

    def next_problem(self) -> None:
        self.app.next_problem()

    def next_metric(self) -> None:
        self.app.sight.next_metric()
        self.repaint()

    def next_sort(self) -> None:
        self.app.sight.next_sort()
        self.repaint()

    def mark(self) -> None:
        """Toggle the mark of the chosen row and go on to the next."""
        name = self.chosen_name()
        if name:
            self.app.sight.marked ^= {name}
            self.move(1)
            self.repaint()

    def zoom(self, closer: bool) -> None:
        """A shorter or a longer span of time."""
        if self.app.travel.is_on:
            self.app.travel.zoom(closer)
        else:
            self.app.say("for the chart, and for the time bar of the past")

    def open_chart(self) -> None:
        """Chart what is chosen here."""
        self.app.get_screen("chart").begin(self.chart_subject(), self.view_name)
        self.app.open_view("chart")

    def chart_subject(self) -> Subject:
        """What the cursor stands on."""
        return Subject("node", node=self.app.sight.node) if self.app.sight.node else FLEET

    def chosen_name(self) -> str:
        """Node or worker that an action takes when nothing is marked; "" when there is none."""
        return self.app.sight.node

    def mend_of(self, action: str) -> Intent | None:
        """What an action's key does about a chosen alarm; None where none is chosen, or it does nothing about it."""
        return None

    def undo(self) -> None:
        """Take the last action back, or what is chosen out of its drain."""
        asking.undo(self)
