"""Runs under way and past: which wait for a person, how far each is, and what can still be done about it."""

from __future__ import annotations

from textual.app import ComposeResult

from opsconsole.core.run import Run
from opsconsole.tui import asking
from opsconsole.tui.screens.view import View
from opsconsole.tui.widgets.run_steps import RunSteps
from opsconsole.tui.widgets.runs_table import RunsTable

TABLE_LEAST = 4


class PlansScreen(View):
    view_name = "plans"
    inside = False
    """Whether keys move through the steps of the chosen run, not the runs."""

    def compose_body(self) -> ComposeResult:
        yield RunsTable()
        yield RunSteps()

    @property
    def crumb(self) -> tuple[str, ...]:
        run = self.chosen()
        return ("Plans", run.plan.title) if self.inside and run is not None else ("Plans",)

    def arrange_body(self, width: int, height: int) -> None:
        count = len(self.app.acting.runs)
        self.query_one(RunsTable).styles.height = max(TABLE_LEAST, min(count + 2, (height - 4) * 2 // 5))
        self.query_one(RunsTable).display = not self.inside

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        self.run_worker(self._look(), exit_on_error=False)

    async def _look(self) -> None:
        """The first of the runs as they are now becomes the chosen one, and stays it whatever begins after it."""
        await self.app.acting.look()
        run = self.chosen()
        self.app.sight.run = run.id if run is not None else ""

    def show_run(self) -> None:
        """No panel here: the screen itself tells of all runs."""

    def runs_changed(self) -> None:
        if self.is_composed:
            self.arrange_body(*self.app.size)
            self.repaint()

    def chosen(self) -> Run | None:
        """The chosen run; the first one while none is, or when it is gone."""
        runs = self.app.acting.runs
        return self.app.acting.run_named(self.app.sight.run) or (runs[0] if runs else None)

    def chosen_name(self) -> str:
        return ""

    def move(self, rows: int) -> None:
        runs, run = self.app.acting.runs, self.chosen()
        if self.inside:
            self.query_one(RunSteps).top += rows
        elif run is not None:
            self.app.sight.run = runs[max(0, min(len(runs) - 1, runs.index(run) + rows))].id
            self.query_one(RunSteps).top = 0
        self.repaint()

    def open_chosen(self) -> None:
        """Go on with an interrupted run; look into another."""
        run = self.chosen()
        if run is not None and run.state == "INTERRUPTED" and not self.app.read_only and not self.inside:
            self.app.acting.resume(run)
        elif run is not None:
            self._go_inside(True)

    def back(self) -> None:
        if self.inside:
            self._go_inside(False)
        else:
            self.app.open_view("fleet")

    def _go_inside(self, inside: bool) -> None:
        self.inside = inside
        self.query_one(RunSteps).top = 0
        self.arrange_body(*self.app.size)
        self.call_after_refresh(self.repaint)

    def undo(self) -> None:
        run = self.chosen()
        if run is None:
            self.app.say("there is no run to undo")
        else:
            asking.take_back(self, run)

    def resume_run(self) -> None:
        run = self.chosen()
        if run is not None and run.state == "INTERRUPTED":
            self.app.acting.resume(run)
        else:
            self.app.say("only an interrupted run can be resumed")

    def cancel_run(self) -> None:
        run = self.chosen()
        if run is not None and run.state in ("OPEN", "INTERRUPTED"):
            self.app.acting.cancel(run)
        else:
            self.app.say("that run has ended: undo takes back what it has done")
