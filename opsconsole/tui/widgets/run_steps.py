"""One run in full: why it was wanted, how it ended, and each step with its state, what is in flight and how long it takes."""

from __future__ import annotations

from collections.abc import Callable

from opsconsole.core.run import Run, StepRun
from opsconsole.core.text import clean
from opsconsole.tui.actions import shown
from opsconsole.tui.paint import Row, cells, fit, title
from opsconsole.tui.pane import Pane
from opsconsole.tui.runs import RUN_LOOKS, STEP_LOOKS, facts_of, first_unfinished
from opsconsole.tui.widgets.plan_box import after_text, wrapped

WORDS_LINES = 3
LAST_WORD_LINES = 2
"""Of a step that did not end well; all of it is in the receipts."""
DETAILS_MOST = 8
"""Facts of a receipt that are shown a step: a node may send more than anybody reads."""


class RunSteps(Pane):
    top = 0
    """Lines above the first one that is shown; moved by keys."""

    def rows(self, width: int, height: int) -> list[Row]:
        run = self.screen.chosen()
        if run is None:
            return []
        glyph, ink = RUN_LOOKS.get(run.state, ("·", "dim"))
        head = [title(self.look, run.plan.title, width, f"{glyph} {run.state}", ink, indent=1), *self._words(run, width)]
        lines = [line for number in range(len(run.steps)) for line in self._step(run, number, width)]
        room = max(1, height - len(head) - 1)
        if not self.screen.inside:
            self.top = max(0, first_unfinished(run) - room // 2)
        self.top = max(0, min(self.top, len(lines) - room))
        body = lines[self.top : self.top + room]
        return [*head, *body, *[self.row() for _ in range(room - len(body))], self._keys(run, len(lines), room, width)]

    def _words(self, run: Run, width: int) -> list[Row]:
        intent = run.plan.intent
        who, why = f"by {intent.actor}" if intent.actor else "", f"because: {intent.reason}" if intent.reason else ""
        said = " · ".join(filter(None, (who, why)))
        lines = [self.row().put("  ").column(said, width - 2, "dim")] if said else []
        for part in wrapped(clean(run.text, 600), width - 4)[:WORDS_LINES] if run.text else ():
            lines.append(self.row().put("  ").column(part, width - 2, RUN_LOOKS.get(run.state, ("", "text"))[1]))
        return lines

    def _step(self, run: Run, number: int, width: int) -> list[Row]:
        step = run.steps[number]
        facts = self._facts(run, step)
        if not self.screen.inside:
            return step_rows(self.row, run, number, facts, width)
        lines = [step_row(self.row(), run, number, facts, width, quiet=True)]
        words = [step.text] if step.text else []
        words += [f"{clean(name, 40).replace('_', ' ')}: {clean(value)}" for name, value in list(step.detail.items())[:DETAILS_MOST]]
        for one in words:
            lines += [self.row().put("         ").column(part, width - 9, "dim") for part in wrapped(clean(one, 400), width - 10)]
        return lines

    def _facts(self, run: Run, step: StepRun) -> str:
        acting = self.app.acting
        now = run.ended_at or self.app.wall()
        return facts_of(step, self.frame.fleet if self.frame else None, acting.pace, now, acting.runs)

    def _keys(self, run: Run, lines: int, room: int, width: int) -> Row:
        keys = {action.id: shown(action.keys[0]) for action in self.app.actions}
        row = self.row()
        hints = [("resume", f"{keys.get('resume', '')} go on with it")] if run.state == "INTERRUPTED" else []
        hints += [("cancel", f"{keys.get('cancel', '')} cancel")] if run.state in ("OPEN", "INTERRUPTED") else []
        hints += [("undo", f"{keys.get('undo', '')} undo"), ("back", "esc runs") if self.screen.inside else ("open", "↵ receipts")]
        for action_id, words in hints:
            if action_id in keys and not (run.state == "INTERRUPTED" and action_id == "open" and not self.app.read_only):
                row.put("  ").put(words, "accent")
        more = f"{self.top + 1}–{min(lines, self.top + room)} of {lines} lines" if lines > room else ""
        return row.to(width - cells(more) - 2).put(more, "dim")


def step_rows(make: Callable[[], Row], run: Run, number: int, facts: str, width: int) -> list[Row]:
    """One step in one line, and in more where it did not end well and its last word would be cut."""
    step = run.steps[number]
    room = width - 10 - cells(facts) - cells(step.step.text)
    if step.state not in ("FAILED", "HELD", "UNSURE") or cells(step.text) <= room:
        return [step_row(make(), run, number, facts, width)]
    parts = wrapped(clean(step.text, 400), width - 9)[:LAST_WORD_LINES]
    return [
        step_row(make(), run, number, facts, width, quiet=True),
        *(make().put("         ").column(part, width - 9, STEP_LOOKS[step.state][1]) for part in parts),
    ]


def step_row(row: Row, run: Run, number: int, facts: str, width: int, quiet: bool = False) -> Row:
    """One step in one line. quiet: without its last word, which is told below it."""
    step = run.steps[number]
    glyph, ink = STEP_LOOKS.get(step.state, ("·", "dim"))
    row.put(f"{number + 1:4} ", "dim").put(f"{glyph} ", ink, True)
    waits = after_text(step.step.after) if step.state == "WAITING" else ""
    right = facts or waits or ("" if step.state in ("WAITING", "DONE", "SENT") else step.state.lower())
    room = max(8, width - row.used - cells(right) - 3)
    text = step.step.text
    if step.text and not quiet:
        said = fit(text, min(cells(clean(text)), max(12, room * 11 // 20))) if cells(text) + cells(step.text) + 2 > room else text
        row.put(said, "text").put("  ")
        row.column(step.text, max(0, width - row.used - cells(right) - 2), ink if step.state != "DONE" else "dim")
    else:
        row.column(text, room, "dim" if step.state in ("WAITING", "SKIPPED") else "text")
    return row.to(width - cells(right) - 2).put(" " + right, "accent" if step.state == "WAITING" else "text")
