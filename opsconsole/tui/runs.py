"""What the screen remembers of a plan under way: its steps in words and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from opsconsole.core.steps import Plan, Progress


@dataclass
class RunShown:
    title: str
    steps: int = 0
    ended: bool = False
    failed: int = 0
    finished: int = 0
    lines: list[tuple[str, str, str]] = field(default_factory=list)
    """(glyph, ink, text), newest last; a step has one line, replaced as it goes on."""
    _line_of: dict[int, int] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        if not self.ended:
            return f"◐ running · {self.finished} of {self.steps} done · goes on when you quit"
        if self.failed:
            return f"✖ ended · {self.failed} of {self.steps} failed"
        return f"✔ done · {self.finished} of {self.steps} · esc closes"

    @property
    def ink(self) -> str:
        return "info" if not self.ended else ("crit" if self.failed else "ok")

    def planned(self, plan: Plan) -> None:
        self.steps = len(plan.steps)
        if plan.refusal:
            self.failed += 1
            self.lines.append(("✖", "crit", f"refused: {plan.refusal}"))

    def progressed(self, progress: Progress) -> None:
        glyph, ink = ("◐", "info") if not progress.done else (("✔", "ok") if progress.ok else ("✖", "crit"))
        line = (glyph, ink, f"{progress.step + 1}  {progress.worker} on {progress.node}: {progress.text}")
        if progress.step in self._line_of:
            self.lines[self._line_of[progress.step]] = line
        else:
            self._line_of[progress.step] = len(self.lines)
            self.lines.append(line)
        if progress.done:
            self.finished += progress.ok
            self.failed += not progress.ok

    def broke(self, words: str) -> None:
        """The session said no, or was lost: nothing is claimed of what the collector does."""
        self.failed += 1
        self.lines.append(("✖", "crit", words))
        self.ended = True
