"""A plan drawn in full: what happens in which order, what it changes, what holds and what to beware of; below it how to say yes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.cells import set_cell_size

from opsconsole.core.steps import Plan, Step
from opsconsole.core.text import clean
from opsconsole.tui.draft import KEYS, PHRASE, Draft
from opsconsole.tui.form import Choice, Field
from opsconsole.tui.paint import Row, cells, fit
from opsconsole.tui.screens.modal import Box

STEPS_LEAST, GUARDS_LEAST, CHANGES_LEAST = 3, 2, 4
"""Lines of steps, of guards and of changes that are shown whatever else wants room."""
LONGEST = 600
COMMAND_LINES = 3


class PlanBox(Box):
    EDGE = "warn"

    def __init__(self, draft: Draft) -> None:
        super().__init__()
        self.draft = draft

    def caption(self) -> str:
        draft, plan = self.draft, self.draft.plan
        if plan is None:
            return "PLAN · " + ("not made" if draft.trouble else "being made …")
        state = "refused" if plan.refusal else ("not started" if plan.steps else "nothing to do")
        if not draft.is_fresh and not draft.trouble:
            state = "being made again …"
        return f"PLAN · {clean(plan.title)} · {state}"

    def content(self, width: int) -> list[Row]:
        tail = self._tail(width)
        room = max(0, self.size.height - 2 - len(tail))
        body = self._details(width, room) if self.draft.details else self._overview(width, room)
        return [*body[:room], *[self.row() for _ in range(room - len(body))], *tail]

    def wanted_height(self, width: int) -> int:
        """Lines that show all of it, frame included."""
        below = len(self._tail(width)) + 2
        return len(self._overview(width, self.app.size.height - below)) + below

    # the plan

    def _overview(self, width: int, room: int) -> list[Row]:
        """All sections, the steps and the guards with as many lines as the others leave them."""
        plan = self.draft.plan
        head = [self.row(), *self._verdict(width)]
        if plan is None:
            return head
        warnings = self._some(self._told("▲  ", "warn", plan.warnings, width), max(GUARDS_LEAST, room // 4), "▲  ", "warn")
        changes = self._changes(plan, width)
        others = min(STEPS_LEAST, len(plan.steps)) + min(GUARDS_LEAST, len(plan.checks)) + len(warnings)
        most = max(CHANGES_LEAST, room - len(head) - others - 3)
        if len(changes) > most:
            changes = [*changes[: most - 2], self.row().put(f"  and {len(changes) - most + 1} more change: d shows all", "dim"), self.row()]
        free = room - len(head) - len(changes) - len(warnings) - 3
        # of a plan without steps the checks are the answer: why nothing needs to be done
        checks = self._marked("✔  ", "ok", plan.checks, width) if plan.steps else self._told("✔  ", "ok", plan.checks, width)
        guards = self._some(checks, max(GUARDS_LEAST, free - max(STEPS_LEAST, len(plan.steps))))
        steps = self._steps(plan, width, max(STEPS_LEAST, free - len(guards)))
        return [*head, *steps, *changes, *guards, *warnings, *([self.row()] if guards or warnings else [])]

    def _verdict(self, width: int) -> list[Row]:
        draft, plan = self.draft, self.draft.plan
        if draft.trouble:
            return [*self._wrapped("▲  ", "warn", draft.trouble, width), self.row()]
        if plan is None:
            return [self.row().put("◐  asking the collector", "info"), self.row()]
        if plan.refusal:
            return [*self._wrapped("✖  ", "crit", "It must not be done: " + clean(plan.refusal, LONGEST), width), self.row()]
        return [] if plan.steps else [self.row().put("There is nothing to do.", "text"), self.row()]

    def _steps(self, plan: Plan, width: int, fits: int) -> list[Row]:
        if not plan.steps:
            return []
        draft, count = self.draft, len(plan.steps)
        draft.top = max(0, min(draft.top, count - fits))
        shown = plan.steps[draft.top : draft.top + fits]
        more = f"  {draft.top + 1}–{draft.top + len(shown)} of {count}, ↑ ↓" if len(shown) < count else ""
        lines = [self.row().put("WHAT HAPPENS", "dim", True).put(more, "accent")]
        lines += [self._step(number, step, width) for number, step in enumerate(shown, draft.top + 1)]
        return [*lines, self.row()]

    def _step(self, number: int, step: Step, width: int) -> Row:
        waits = after_text(step.after)
        line = self.row().put(f"{number:4}  ", "dim").column(step.text, width - 7 - cells(waits), "text")
        return line.put(" " + waits, "accent")

    def _changes(self, plan: Plan, width: int) -> list[Row]:
        if not plan.changes:
            return []
        cell = max(11, min(18, (width - 40) // 3))
        room = max(10, width - 3 * cell - 10)
        lines = [self.row().column("", room).put("     ".join(f"{name:>{cell}}" for name in ("NOW", "DURING", "AFTER")), "dim", True)]
        for what, now, during, after in plan.changes:
            line = self.row().column("  " + clean(what), room).column(now, cell, "text", right=True).put("  →  ", "dim")
            line.column(during, cell, "text" if during == now else "warn", during != now, right=True).put("  →  ", "dim")
            lines.append(line.column(after, cell, "dim" if after == now else "strong", after != now, right=True))
        return [*lines, self.row()]

    def _told(self, glyph: str, ink: str, words: Iterable[str], width: int) -> list[Row]:
        """As `_marked`, in as many lines as it takes."""
        return [line for one in words for line in self._wrapped(glyph, ink, one, width, "text" if ink == "ok" else ink)]

    def _marked(self, glyph: str, ink: str, words: Iterable[str], width: int) -> list[Row]:
        text = "text" if ink == "ok" else ink
        return [self.row().put(glyph, ink, True).column(one, width - cells(glyph), text) for one in words]

    def _some(self, lines: list[Row], fits: int, glyph: str = "✔  ", ink: str = "ok") -> list[Row]:
        if len(lines) <= fits:
            return lines
        return [*lines[: fits - 1], self.row().put(f"{glyph}and {len(lines) - fits + 1} more lines: d shows all", ink)]

    # everything, in full

    def _details(self, width: int, room: int) -> list[Row]:
        lines = self._everything(width)
        self.draft.top = max(0, min(self.draft.top, len(lines) - room + 1))
        shown = lines[self.draft.top : self.draft.top + room - 1]
        where = f"{self.draft.top + 1}–{self.draft.top + len(shown)} of {len(lines)} lines, ↑ ↓" if len(lines) > len(shown) else ""
        return [self.row().put("DETAILS  ", "dim", True).put(where, "accent"), *shown]

    def _everything(self, width: int) -> list[Row]:
        plan = self.draft.plan
        lines = self._verdict(width)
        if plan is None:
            return lines
        for number, step in enumerate(plan.steps, 1):
            lines += self._wrapped(f"{number:4}  ", "dim", step.text, width)
            lines += self._wrapped("      ", "dim", after_text(step.after), width, "accent") if step.after else []
        lines += [self.row(), *self._changes(plan, width)]
        lines += [*self._told("▲  ", "warn", plan.warnings, width), *self._told("✔  ", "ok", plan.checks, width)]
        return [*lines, self.row(), *self._wrapped("$  ", "dim", self.draft.command_line(), width)]

    def _wrapped(self, glyph: str, ink: str, text: str, width: int, text_ink: str = "strong") -> list[Row]:
        parts, indent = wrapped(clean(text, LONGEST), width - cells(glyph)), " " * cells(glyph)
        return [
            self.row().put(indent if number else glyph, ink, True).column(part, width - cells(glyph), text_ink)
            for number, part in enumerate(parts)
        ]

    # how to say yes

    def _tail(self, width: int) -> list[Row]:
        draft = self.draft
        lines = self._fields(width)
        if draft.phrase:
            line = self.row().put("Production: type ", "text").put(draft.phrase, "strong", True).put(" to confirm  ", "text")
            lines.append(self._typed(line, draft.typed.text, draft.typed.place, draft.focus == PHRASE, width))
        if draft.command:
            lines += self._wrapped("$ ", "ok", draft.command, width)[:COMMAND_LINES]
        return [*lines, self.row(), self._keys(width)]

    def _fields(self, width: int) -> list[Row]:
        """Short fields side by side, one that is typed at length on its own line."""
        lines: list[Row] = []
        line = self.row()
        for place, field in enumerate(self.draft.form.fields):
            wanted = len(field.name) + 3 + (cells(field.said) + 4 if isinstance(field, Choice) else 24)
            if line.used and (field.field in ("reason", "to") or line.used + wanted > width):
                lines.append(line)
                line = self.row()
            self._field(line, field, self.draft.focus == place, width)
            if field.field in ("reason", "to"):
                lines.append(line)
                line = self.row()
        return lines

    def _field(self, line: Row, field: Field, here: bool, width: int) -> None:
        line.put(f"{field.name} ", "accent" if here else "dim", here)
        if isinstance(field, Choice):
            ground = "chosen" if here else "head"
            said = fit(field.said, min(cells(field.said), width - line.used - 6))
            line.put("‹ ", "accent", here, ground).put(said, "strong" if here else "text", here, ground)
            line.put(" ›", "accent", here, ground).put("  ")
            return
        end = width if field.field in ("reason", "to") else min(width, line.used + 24)
        if not field.editor.text and not here:
            line.column(field.hint, end - line.used - 2, "faint", ground="head").put("  ")
        else:
            self._typed(line, field.editor.text, field.editor.place, here, end - 2).put("  ")

    def _typed(self, line: Row, text: str, place: int, here: bool, end: int) -> Row:
        """Text with its cursor, its end kept in sight."""
        room = max(4, end - line.used)
        shown = text[:place] + "▏" + text[place:] if here else text
        while cells(shown) > room:
            shown = shown[1:]
        return line.column(shown, room, "strong" if here else "text", here, ground="chosen" if here else "head")

    def _keys(self, width: int) -> Row:
        draft = self.draft
        line = self.row()
        if draft.may_run or not draft.is_fresh and not draft.trouble:
            ready = draft.is_ready
            line.put(" ↵ RUN PLAN ", "strong" if ready else "faint", ready, "warn_ground" if ready else "head").put("  ")
            line.put(" esc cancel ", "strong", True, "head")
        else:
            line.put(" esc close ", "strong", True, "head")
        copy = "sent to the clipboard" if draft.command else "copy as command"
        if draft.focus == KEYS:
            line.pairs("  d ", "strong", "overview" if draft.details else "details", "dim", "  c ", "strong", copy, "dim")
            line.pairs("  ⇥ ", "strong", "choose", "dim")
        else:
            line.pairs("  ⇥ ", "strong", "next", "dim", "  ↑ ↓ ", "strong", "scroll", "dim")
            turns = isinstance(draft.chosen, Choice)
            line.pairs(*(("  ← → ", "strong", "change", "dim") if turns else ("   d details  c copy after ⇥", "faint")))
        return line


def after_text(after: tuple[int, ...]) -> str:
    """Which steps (from 0) it waits for, as they are numbered on the screen: "after 1, 3–5"."""
    spans: list[list[int]] = []
    for number in sorted(after):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return "after " + ", ".join(f"{first + 1}" if first == last else f"{first + 1}–{last + 1}" for first, last in spans) if spans else ""


def wrapped(text: str, width: int) -> list[str]:
    """Text in lines of at most `width` cells, broken between words where it can be."""
    lines = [""]
    for word in _pieces(text, max(width, 2)):
        if lines[-1] and cells(lines[-1]) + 1 + cells(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines


def _pieces(text: str, width: int) -> Iterator[str]:
    """Words; those longer than a line in parts of one."""
    for word in text.split():
        while cells(word) > width:
            part = set_cell_size(word, width).rstrip()
            yield part
            word = word[len(part):]
        yield word
