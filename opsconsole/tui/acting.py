"""From an intent to its end on the screen: the plan is asked for, shown and confirmed, its run is followed; other runs are looked after."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opsconsole.core.run import Run
from opsconsole.core.steps import Intent, Plan, Progress
from opsconsole.tui.runs import Pace, RunShown, begun, can_undo, newest_first, runs_then

if TYPE_CHECKING:
    from opsconsole.core.fleet import Fleet
    from opsconsole.tui.app import ConsoleApp

LOOK_AGAIN_S = 5
"""How often the runs are asked for while none is under way and nobody looks at them."""


class Acting:
    def __init__(self, app: ConsoleApp) -> None:
        self.app = app
        self.followed: list[RunShown] = []
        """What was confirmed or resumed here, the newest last, until it is closed."""
        self.known: list[Run] = []
        """All that the collector knows of, those that wait for a person first."""
        self.trouble = "not asked yet"
        """Why the runs are not known; "" when they are."""
        self.pace = Pace()
        self._looking = False
        self._ticks = 0

    # plans and what comes of them

    def ask(self, intent: Intent) -> None:
        """Open the plan of an intent; it is carried out when it is confirmed."""
        if self._may_change() and self.app.frame is not None:
            intent = replace(intent, actor=self.app.settings.actor)
            self.app.run_worker(self._confirm_and_follow(self.app.session, intent), exit_on_error=False)

    def resume(self, run: Run) -> None:
        """Ask whether an interrupted run shall go on, and follow it."""
        if self._may_change():
            self.app.run_worker(self._resume(self.app.session, run), exit_on_error=False)

    def cancel(self, run: Run) -> None:
        """Ask whether a run shall begin nothing more and take back what it has under way, and say so to the collector."""
        if self._may_change():
            self.app.run_worker(self._cancel(self.app.session, run), exit_on_error=False)

    def _may_change(self) -> bool:
        if self.app.travel.is_on:
            self.app.say("this is the past: nothing is changed from here")
        elif self.app.read_only:
            self.app.say("read only: nothing is changed from here")
        elif self.app.session is None:
            self.app.say("there is no collector to ask")
        return not self.app.read_only and not self.app.travel.is_on and self.app.session is not None

    async def _confirm_and_follow(self, session: Any, intent: Intent) -> None:
        from opsconsole.tui.draft import Draft
        from opsconsole.tui.form import Form
        from opsconsole.tui.screens.plan_confirm import PlanConfirm

        draft = Draft(Form(intent, self.app.frame.fleet), self.app.settings.environment == "production")
        plan = await self.app.push_screen_wait(PlanConfirm(draft, session.plan))
        if plan is not None:
            self.app.sight.marked.clear()
            await self._follow(self._shown(begun(plan, self.app.wall())), session.act(plan))

    async def _resume(self, session: Any, run: Run) -> None:
        from opsconsole.tui.screens.question import Question, resuming

        if await self.app.push_screen_wait(Question(*resuming(run))):
            await self._follow(self._shown(run), session.resume(run.id, self.app.settings.actor))

    async def _cancel(self, session: Any, run: Run) -> None:
        from opsconsole.tui.screens.question import Question, cancelling

        if await self.app.push_screen_wait(Question(*cancelling(run))):
            try:
                await session.cancel(run.id, self.app.settings.actor)
            except Exception as error:  # a refusal or a lost collector: said, never raised into the screen
                self.app.say(f"not cancelled: {error}")
            await self.look()

    async def _follow(self, shown: RunShown, news: AsyncIterator[Plan | Progress]) -> None:
        self.followed.append(shown)
        self._show()
        try:
            async for one in news:
                shown.planned(one, self.app.wall()) if isinstance(one, Plan) else shown.heard(one, self.app.wall())
                self._show()
        except Exception as error:  # as above; the collector goes on by itself, so nothing is claimed of what it does
            shown.trouble, shown.lost = f"not heard of any more: {error}", True
        shown.ended = True
        self._show()
        await self.look()

    def _shown(self, run: Run) -> RunShown:
        return RunShown(run, self.key("undo"), self.key("plans"))

    def key(self, action_id: str) -> str:
        """The key of an action as people write it; "" where it is not bound."""
        return next((action.key_shown for action in self.app.actions if action.id == action_id), "")

    def _show(self) -> None:
        if self.app.view is not None:
            self.app.view.show_run()

    @property
    def shown(self) -> RunShown | None:
        """What the panel shows: the newest that was begun here; nothing in the past."""
        return self.followed[-1] if self.followed and not self.app.travel.is_on else None

    @property
    def under_way(self) -> list[RunShown]:
        return [shown for shown in self.followed if not shown.ended]

    def close_shown(self) -> bool:
        """Take a run that has ended off the screen; False when the panel shows none."""
        if self.shown is None or not self.shown.ended:
            return False
        self.followed.pop()
        self._show()
        return True

    # all runs

    @property
    def runs(self) -> list[Run]:
        """Those that are known; in the past as they were then."""
        moment = self.app.travel.moment
        return self.known if moment is None else runs_then(self.known, moment)

    @property
    def interrupted(self) -> list[Run]:
        return [run for run in self.runs if run.state == "INTERRUPTED"]

    def watch(self, fleet: Fleet) -> None:
        """Learn from a new fleet how fast the draining workers become empty."""
        if self.under_way or any(run.state == "OPEN" for run in self.known):
            self.pace.watch(fleet)

    async def tick(self) -> None:
        """Once a second: ask for the runs while one is under way or looked at, seldom else."""
        self._ticks += 1
        looked_at = self.app.view is not None and self.app.view.view_name == "plans"
        if looked_at or self.under_way or any(run.state == "OPEN" for run in self.known) or self._ticks % LOOK_AGAIN_S == 0:
            await self.look()

    async def look(self) -> None:
        """Ask the collector for its runs and draw what follows from them."""
        session = self.app.session
        if session is None or self._looking:
            return
        self._looking = True
        try:
            self.known, self.trouble = newest_first(await session.runs()), ""
        except Exception as error:  # what is known already stays; why it may be old is said on the plans screen
            self.trouble = str(error) or type(error).__name__
        else:
            for shown in self.followed:
                shown.found_in(self.known)
        finally:
            self._looking = False
        if self.app.view is not None:
            self.app.view.runs_changed()
            self.app.view.show_run()

    def run_named(self, run_id: str) -> Run | None:
        return next((run for run in self.runs if run.id == run_id), None)

    def last_run(self) -> Run | None:
        """The newest that is not over or has done something, whoever began it: what an undo without a choice takes back."""
        runs = [run for run in self.runs if run.state in ("OPEN", "INTERRUPTED") or can_undo(run)]
        return max(runs, key=lambda run: run.began_at, default=None)
