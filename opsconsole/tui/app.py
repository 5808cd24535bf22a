"""The console on the screen: it holds the newest frame, hands it to the screen on top, and turns keys into requests to the session."""

from __future__ import annotations

import gc
import inspect
import os
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.text import Text
from textual import work
from textual.app import App
from textual.screen import Screen

from opsconsole.core.filter import FilterError, parse
from opsconsole.core.fleet import Fleet
from opsconsole.core.text import clean
from opsconsole.tui.acting import Acting
from opsconsole.tui.actions import Action, available, registry
from opsconsole.tui.foresight import Foresight, Learn
from opsconsole.tui.frame import Frame
from opsconsole.tui.looks import LOOKS, Look, choose_look
from opsconsole.tui.messages import FleetChanged
from opsconsole.tui.screens.fleet import FleetScreen
from opsconsole.tui.screens.view import View
from opsconsole.tui.sight import Sight
from opsconsole.tui.travel import Travel
from opsconsole.tui.widgets.alarm_strip import AlarmStrip
from opsconsole.tui.widgets.footer import Footer
from opsconsole.tui.widgets.status_line import StatusLine
from opsconsole.tui.widgets.time_bar import TimeBar
from opsconsole.tui.widgets.top_bar import TopBar

WRITES_WAITING_LIMIT = 3
"""A terminal with more unsent frames than this is given no new one: a stalled one would freeze the loop."""
NOTICE_S = 6.0
ATTACH_AGAIN_S = 3.0
COVERED_S = 3.0
"""How often a screen under a box is drawn: Textual sends all of it each time."""

SessionFactory = Callable[[Callable[[Fleet], None], Callable[[str], None]], Awaitable[Any]]
"""(on_fleet, on_lost) -> a session like control.session.AsyncSession."""


@dataclass(frozen=True)
class Settings:
    """What the screen needs of the fleet file."""

    fleet_name: str = ""
    environment: str = ""
    theme: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    actor: str = ""
    """Who sits here, for the audit."""


class ConsoleApp(App[int], inherit_bindings=False):
    CSS_PATH = Path(__file__).with_name("styles.tcss")
    ENABLE_COMMAND_PALETTE = False
    TITLE = "opsconsole"

    def __init__(
        self, session_factory: SessionFactory | None, settings: Settings, read_only: bool = False,
        wall: Callable[[], float] = time.time, environ: Mapping[str, str] = os.environ,
        open_past: Callable[[], Any] | None = None, stand_at: float | None = None, learn: Learn | None = None,
    ) -> None:
        """session_factory: None for a replay, which begins at stand_at. open_past: as tui.travel.Travel; learn: what history teaches
        about a fleet."""
        self.look: Look = choose_look(settings.theme, environ)
        super().__init__(ansi_color=self.look.is_native)
        self.session_factory, self.settings, self.read_only, self.wall = session_factory, settings, read_only, wall
        self.actions: tuple[Action, ...] = registry(settings.keys, read_only)
        self.sight = Sight()
        self.frame: Frame | None = None
        """What is drawn: the newest fleet, or that of a past moment."""
        self.live: Fleet | None = None
        """The newest fleet, whatever is drawn."""
        self.travel, self.stand_at = Travel(self, open_past), stand_at
        self.session: Any = None
        self.link_trouble = ""
        """Why there is no session, "" while there is one or it is being opened."""
        self.notice = ""
        """What is to be said just now, in place of the keys."""
        self._forgetting: Any = None
        self.acting = Acting(self)
        self.foresight = Foresight(self, learn)
        self._late: Fleet | None = None
        self._covered_at, self._problem = 0.0, -1
        for key in dict.fromkeys(key for action in self.actions for key in action.keys):
            self.bind(key, f"press('{key}')")

    def get_default_screen(self) -> Screen:
        return FleetScreen()

    def on_mount(self) -> None:
        from opsconsole.tui.screens.alarms import AlarmsScreen
        from opsconsole.tui.screens.capacity import CapacityScreen
        from opsconsole.tui.screens.chart import ChartScreen
        from opsconsole.tui.screens.node import NodeScreen
        from opsconsole.tui.screens.plans import PlansScreen
        from opsconsole.tui.screens.workers import WorkersScreen

        for screen in (NodeScreen(), WorkersScreen(), PlansScreen(), ChartScreen(), CapacityScreen(), AlarmsScreen()):
            self.install_screen(screen, screen.view_name)
        self.set_interval(1.0, self.tick)
        self.call_after_refresh(self._attach if self.session_factory is not None else self._begin_replay)

    def _begin_replay(self) -> None:
        self.travel.go(self.wall() if self.stand_at is None else self.stand_at)

    @work(exit_on_error=False)
    async def _attach(self) -> None:
        try:
            self.session, self.link_trouble = await self.session_factory(self.receive, self.lose), ""
        except Exception as error:  # SessionError derives from it; whatever it was, the screen says it and lives on
            self.lose(str(error) or type(error).__name__)
        else:
            await self.acting.look()

    async def on_unmount(self) -> None:
        if self.session is not None:
            await self.session.close()
        await self.travel.close()

    # fleets in

    def receive(self, fleet: Fleet) -> None:
        """Called by the session with each new fleet."""
        self.post_message(FleetChanged(fleet))

    def lose(self, words: str) -> None:
        """Called by the session, once, when the collector is gone. Another one is looked for, or started, until there is one."""
        self.session, self.link_trouble = None, words
        self.set_timer(ATTACH_AGAIN_S, self._attach)
        if self.view is not None:
            self.view.repaint(TopBar, AlarmStrip, StatusLine)

    def on_fleet_changed(self, message: FleetChanged) -> None:
        if self.is_stalled:
            if self._late is None:
                self.set_timer(0.25, self._draw_late)
            self._late = message.fleet
        else:
            self._take(message.fleet)

    def _draw_late(self) -> None:
        fleet, self._late = self._late, None
        self.on_fleet_changed(FleetChanged(fleet))

    @property
    def is_stalled(self) -> bool:
        """Whether the terminal has not taken the last frames yet. Textual keeps them in its driver's thread and has no word for it."""
        thread = getattr(self._driver, "_writer_thread", None)
        return thread is not None and thread._queue.qsize() > WRITES_WAITING_LIMIT

    def _take(self, fleet: Fleet) -> None:
        """A newer fleet: it is drawn, unless the screen stands in the past."""
        first = self.live is None
        self.live = fleet
        self.acting.watch(fleet)
        if not self.travel.is_on:
            self.draw(Frame(fleet, self.frame))
        if first:
            self.call_after_refresh(gc.freeze)

    def draw_live(self) -> None:
        """What is so now, after a journey."""
        self.draw(Frame(self.live) if self.live is not None else None)

    def draw(self, frame: Frame | None) -> None:
        self.frame = frame
        if frame is not None:
            self.sight.place(frame)
        if self.view is not None and self._is_due():
            self._covered_at = frame.fleet.at if frame is not None else 0.0
            self.view.show(frame)

    def moved(self) -> None:
        """Another moment is wanted, or more is known of the time around it."""
        if self.view is not None and self.view.is_composed:
            self.view.repaint(TopBar, TimeBar, StatusLine)

    def tick(self) -> None:
        """What moves without a new fleet: the clock, the age of what is shown, and the runs."""
        if self.view is not None and self.view is self.screen:
            self.view.repaint(TopBar, AlarmStrip, StatusLine)
        self.run_worker(self.acting.tick(), exit_on_error=False)
        self.foresight.tick()

    def _is_due(self) -> bool:
        return self.view is self.screen or self.frame is None or abs(self.frame.fleet.at - self._covered_at) >= COVERED_S

    @property
    def view(self) -> View | None:
        """The topmost full screen, even under a modal one."""
        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, View)), None)

    # keys in

    @property
    def actions_now(self) -> list[Action]:
        """The actions that do something at the time where the screen stands."""
        found = available(self.actions, self.travel.is_on)
        return found if self.travel.has_live else [action for action in found if action.id != "live"]

    def action_press(self, key: str) -> None:
        owners = [action for action in self.actions if key in action.keys]
        action = next(iter(sorted((action for action in owners if action in self.actions_now), key=lambda action: not action.when)), None)
        if action is None and owners:
            self.say(f"{owners[0].name} is off: {'this is the past, nothing is changed from here' if self.travel.is_on else 'this is now'}")
            return
        view = self.screen
        if action is None or not isinstance(view, View) or view.has_class("tiny") and action.id != "quit":
            return
        if view.view_name not in action.screens:
            self.say(f"{action.name} is not for this screen")
            return
        result = action.do(view)
        if inspect.isawaitable(result):
            self.run_worker(result, exit_on_error=False)

    def say(self, words: str) -> None:
        """Show some words in the footer for a moment."""
        self.notice = words
        if self.view is not None:
            self.view.repaint(Footer)
        if self._forgetting is not None:
            self._forgetting.stop()
        self._forgetting = self.set_timer(NOTICE_S, lambda: self.say("")) if words else None

    def _fatal_error(self) -> None:
        """A fault of ours ends the screen with a plain trace: Textual's own would print local variables, and with them what nodes said."""
        lines = "".join(traceback.format_exc()).splitlines()
        self._exit_renderables.append(Text("\n".join(clean(line) for line in lines)))
        self._close_messages_no_wait()

    def leave(self) -> None:
        under_way = ", ".join(clean(shown.title) for shown in self.acting.under_way)
        words = f"{under_way}: under way; the collector goes on with it" if under_way else ""
        self.exit(0, message=Text(words) if words else None)

    def open_view(self, name: str) -> None:
        if self.view is not None and self.view.view_name == name:
            return
        if name == "plans":
            self.sight.run = ""
        if name == "fleet":
            while len(self.screen_stack) > 1:
                self.pop_screen()
        elif len(self.screen_stack) == 1:
            self.push_screen(name)
        else:
            self.switch_screen(name)

    def next_problem(self) -> None:
        """Choose the node of the next alarm that has one; what is silenced is passed over."""
        alarms = [
            alarm for alarm in self.frame.fleet.alarms if alarm.node in self.frame.roster.node_row and not alarm.silenced_by
        ] if self.frame else []
        if not alarms:
            self.say("no alarm names a node")
            return
        self._problem = (self._problem + 1) % len(alarms)
        self.sight.node = alarms[self._problem].node
        if self.sight.place(self.frame) == 0 and self.sight.node != alarms[self._problem].node:
            self.say("the filter hides that node: esc takes it off")
        if self.view is not None:
            self.view.show(self.frame)

    def set_filter(self, expression: str) -> str:
        """Use a filter; what is wrong with it in words, or ""."""
        try:
            self.sight.filter = parse(expression)
        except FilterError as error:
            return str(error)
        if self.view is not None:
            self.view.repaint()
        return ""

    def set_look(self, name: str) -> None:
        look = LOOKS[name]
        if look.is_native != self.look.is_native:
            self.ansi_color = look.is_native
        self.look = look
        for screen in self.screen_stack:
            if isinstance(screen, View):
                screen.repaint()

    def open_filter(self) -> None:
        from opsconsole.tui.screens.filter_prompt import FilterPrompt

        self.push_screen(FilterPrompt(self.sight.filter.text))

    def open_help(self) -> None:
        from opsconsole.tui.screens.help import HelpScreen

        self.push_screen(HelpScreen())

    def open_palette(self, typed: str = "", after: str = "") -> None:
        from opsconsole.tui.screens.palette import PaletteScreen

        self.push_screen(PaletteScreen(typed, after))
