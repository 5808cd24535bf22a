"""What becomes of the chosen model if nobody does anything, and what the keys would change."""

from __future__ import annotations

from opsconsole.core.nothing import if_nothing_is_done
from opsconsole.core.wording import age_text
from opsconsole.tui.paint import Row, title
from opsconsole.tui.pane import Pane

_INKS = ("text", "warn", "crit")


class IfNothing(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        foresight = self.app.foresight
        seen = age_text(foresight.learned.span_s) + " of history" if foresight.learned.span_s else "no history"
        lines = [title(self.look, "IF YOU DO NOTHING", width, f"forecast from {seen}", indent=1)]
        if self.frame is None:
            return [*lines, self.row().put("   not known yet", "dim")]
        look, _ = foresight.looks(self.frame)
        keys = {action.id: action.key_shown for action in self.app.actions}
        for line in if_nothing_is_done(look.capacity, look.saturation, self.sight.model):
            row = self.row().put("   ")
            if line.act:
                row.put(f"{keys[line.act]} {line.act}: " if line.act in keys else f"{line.act}: ", "accent")
            lines.append(row.column(line.text, max(0, width - row.used), _INKS[line.severity]))
        return lines
