"""The plan in full before the yes: steps, guards, what will change; a refused plan has no yes."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult

from opsconsole.core.steps import Plan
from opsconsole.core.text import REPLACEMENT, clean
from opsconsole.tui.editor import Editor
from opsconsole.tui.paint import Row, cells
from opsconsole.tui.screens.modal import Box, Modal


def phrase_for(plan: Plan) -> str:
    """What must be typed: the one target's name, the number of several targets, or the model to launch."""
    targets = getattr(plan.intent, "targets", None) or (getattr(plan.intent, "model", "") or getattr(plan.intent, "target", "") or "yes",)
    phrase = targets[0] if len(targets) == 1 else str(len(targets))
    phrase = clean(phrase, 60)
    return "yes" if REPLACEMENT in phrase else phrase


class PlanBox(Box):
    EDGE = "warn"

    def __init__(self, plan: Plan, phrase: str) -> None:
        super().__init__()
        self.plan, self.phrase = plan, phrase
        self.typed = Editor()
        self.first_step = 0

    @property
    def is_ready(self) -> bool:
        """Whether Enter would start it."""
        return not self.plan.refusal and bool(self.plan.steps) and (not self.phrase or self.typed.text.strip() == self.phrase)

    def caption(self) -> str:
        return f"PLAN · {clean(self.plan.title)} · " + ("refused" if self.plan.refusal else "not started")

    def content(self, width: int) -> list[Row]:
        lines = [self.row(), *self._verdict(width), *self._steps(width), *self._changes(width), *self._guards(width)]
        tail = self._answer(width)
        room = max(0, self.size.height - 2 - len(tail))
        return [*lines[:room], *[self.row() for _ in range(room - len(lines))], *tail]

    def _verdict(self, width: int) -> list[Row]:
        if self.plan.refusal:
            parts = wrapped("It must not be done: " + clean(self.plan.refusal, 600), width - 3)
            return [
                *(
                    self.row().put("✖  " if not number else "   ", "crit", True).column(part, width - 3, "strong")
                    for number, part in enumerate(parts)
                ),
                self.row(),
            ]
        if not self.plan.steps:
            return [self.row().put("There is nothing to do.", "text"), self.row()]
        return []

    def _steps(self, width: int) -> list[Row]:
        if not self.plan.steps:
            return []
        fits = max(1, self.size.height - 12 - len(self.plan.changes) - len(self.plan.checks) - len(self.plan.warnings))
        self.first_step = max(0, min(self.first_step, len(self.plan.steps) - fits))
        shown = self.plan.steps[self.first_step : self.first_step + fits]
        more = (
            f"  {self.first_step + 1}–{self.first_step + len(shown)} of {len(self.plan.steps)}, ↑ ↓"
            if len(shown) < len(self.plan.steps)
            else ""
        )
        lines = [self.row().put("WHAT HAPPENS", "dim", True).put(more, "accent")]
        for number, step in enumerate(shown, self.first_step + 1):
            lines.append(self.row().put(f"{number:3}  ", "dim").column(step.text, width - 5, "text"))
        return [*lines, self.row()]

    def _changes(self, width: int) -> list[Row]:
        if not self.plan.changes:
            return []
        room = max(10, width - 46)
        lines = [self.row().column("", room).put(f"{'NOW':>11}     {'DURING':>11}     {'AFTER':>11}", "dim", True)]
        for what, now, during, after in self.plan.changes:
            same = now == after
            lines.append(
                self.row()
                .column("  " + clean(what), room)
                .column(now, 11, "text", right=True)
                .put("  →  ", "dim")
                .column(during, 11, "text", right=True)
                .put("  →  ", "dim")
                .column(after, 11, "dim" if same else "strong", not same, right=True)
            )
        return [*lines, self.row()]

    def _guards(self, width: int) -> list[Row]:
        lines = [self.row().put("✔  ", "ok", True).column(check, width - 3, "text") for check in self.plan.checks]
        return lines + [self.row().put("▲  ", "warn", True).column(warning, width - 3, "warn") for warning in self.plan.warnings]

    def _answer(self, width: int) -> list[Row]:
        if self.plan.refusal or not self.plan.steps:
            return [self.row(), self.row().put(" esc close ", "strong", True, "head")]
        lines = [self.row()]
        if self.phrase:
            line = self.row().put("Production: type ", "text").put(self.phrase, "strong", True).put(" to confirm  ", "text")
            lines += [line.column(self.typed.text + "▏", max(4, min(40, width - line.used)), "strong", True, ground="chosen"), self.row()]
        go = self.row().put(
            " ↵ RUN PLAN ", "strong" if self.is_ready else "faint", self.is_ready, "warn_ground" if self.is_ready else "head"
        )
        return [*lines, go.put("   ").put(" esc cancel ", "strong", True, "head")]

    def wanted_height(self, width: int) -> int:
        plan = self.plan
        verdict = len(wrapped(plan.refusal, max(10, width - 7))) + 2 if plan.refusal else 0
        return (
            6
            + verdict
            + min(len(plan.steps), 12)
            + 2
            + len(plan.changes)
            + 2 * bool(plan.changes)
            + len(plan.checks)
            + len(plan.warnings)
            + 2 * bool(self.phrase)
        )


def wrapped(text: str, width: int) -> list[str]:
    """Text in lines of at most `width` cells, broken between words."""
    lines = [""]
    for word in text.split():
        if lines[-1] and cells(lines[-1]) + 1 + cells(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines


class PlanConfirm(Modal[bool]):
    def __init__(self, plan: Plan, phrase: str) -> None:
        super().__init__()
        self.box = PlanBox(plan, phrase)

    def compose(self) -> ComposeResult:
        yield self.box

    def fit_box(self) -> None:
        self.box.styles.height = min(self.app.size.height, self.box.wanted_height(min(92, self.app.size.width)))

    def press(self, event: events.Key) -> None:
        if event.key == "enter":
            if self.box.is_ready:
                self.dismiss(True)
        elif event.key in ("down", "up", "pagedown", "pageup"):
            self.box.first_step = max(0, self.box.first_step + {"down": 1, "up": -1, "pagedown": 8, "pageup": -8}[event.key])
        elif self.box.phrase:
            self.box.typed.press(event)

    def on_paste(self, event: events.Paste) -> None:
        """A pasted name is no confirmation: it must be typed."""
        event.stop()
