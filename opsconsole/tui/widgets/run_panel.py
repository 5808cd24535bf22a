"""A plan under way, step by step, while the rest of the screen goes on."""

from __future__ import annotations

from opsconsole.tui.paint import Row, title
from opsconsole.tui.pane import Pane

LINES_SHOWN = 6


class RunPanel(Pane):
    GROUND = "panel"

    def rows(self, width: int, height: int) -> list[Row]:
        run = self.app.run_shown
        if run is None:
            return []
        head = title(self.look, run.title, width, run.verdict, run.ink)
        lines = run.lines[-(height - 1):] if height > 1 else []
        return [head, *(self.row().put(f" {glyph} ", ink, True).column(text, width - 3, "text") for glyph, ink, text in lines)]

    def wanted_height(self) -> int:
        run = self.app.run_shown
        return 0 if run is None else 1 + min(LINES_SHOWN, max(1, len(run.lines)))
