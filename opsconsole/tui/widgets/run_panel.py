"""A run that was begun here, step by step, while the rest of the screen goes on."""

from __future__ import annotations

from opsconsole.tui.paint import Row, title
from opsconsole.tui.pane import Pane
from opsconsole.tui.runs import RunShown, facts_of, first_unfinished
from opsconsole.tui.widgets.run_steps import step_rows

LINES_SHOWN = 6


class RunPanel(Pane):
    GROUND = "panel"

    def rows(self, width: int, height: int) -> list[Row]:
        acting = self.app.acting
        if acting.shown is None:
            return []
        shown, others = acting.shown, sum(other is not acting.shown for other in acting.under_way)
        verdict = shown.verdict + (f" · {others} more under way, {shown.plans} plans" if others else "")
        head = title(self.look, shown.title, width, verdict, shown.ink)
        trouble = [self.row().put(" ✖ ", "crit", True).column(shown.trouble, width - 3, "text")] if shown.trouble else []
        room = max(0, height - 1 - len(trouble))
        steps = [self._step(shown, number, width) for number in range(len(shown.run.steps))]
        lines = [line for step in steps for line in step]
        now = sum(map(len, steps[: first_unfinished(shown.run)]))
        top = max(0, min(now - room // 2, len(lines) - room))
        return [head, *lines[top : top + room], *trouble]

    def _step(self, shown: RunShown, number: int, width: int) -> list[Row]:
        acting, step = self.app.acting, shown.run.steps[number]
        facts = facts_of(step, self.frame.fleet if self.frame else None, acting.pace, self.app.wall(), acting.runs)
        return step_rows(self.row, shown.run, number, facts, width)

    def wanted_height(self) -> int:
        shown = self.app.acting.shown
        if shown is None:
            return 0
        lines = sum(len(self._step(shown, number, self.app.size.width)) for number in range(min(LINES_SHOWN, len(shown.run.steps))))
        return 1 + min(LINES_SHOWN, max(1, lines + bool(shown.trouble)))
