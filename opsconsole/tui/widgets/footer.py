"""The last line: the keys that matter here, as the registry has them, or what there is to say just now."""

from __future__ import annotations

from opsconsole.tui.actions import Action
from opsconsole.tui.paint import Row
from opsconsole.tui.pane import Pane


class Footer(Pane):
    GROUND = "head"

    def rows(self, width: int, height: int) -> list[Row]:
        if self.app.notice:
            return [self.row().put(" ").column(self.app.notice, width - 1, "strong", True)]
        here = [action for action in self.app.actions_now if action.footer and self.screen.view_name in action.screens]
        for spare in range(len(here)):
            row = self._keys(here, spare)
            if row.used <= width:
                break
        return [row]

    def _keys(self, here: list[Action], spare: int) -> Row:
        """All keys in full, then in short, then without the least needed ones; help is never left out."""
        kept = sorted(here, key=lambda action: (action.id != "help", *self._place(action)))[: len(here) - max(0, spare - 1)]
        row = self.row()
        for action in sorted(kept, key=self._place):
            row.put(f" {action.key_shown} ", "strong", True).put((action.name.split()[0] if spare else action.name) + " ", "dim")
        return row

    def _place(self, action: Action) -> tuple[bool, int]:
        """In the past its own keys come first: nobody has them in the fingers."""
        return self.app.travel.is_on and action.group != "time", action.footer
