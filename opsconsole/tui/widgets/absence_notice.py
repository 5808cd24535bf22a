"""What stands in place of the numbers where none were recorded: since when, until when, and the keys that lead out."""

from __future__ import annotations

from opsconsole.tui.paint import Row, cells, fit
from opsconsole.tui.pane import Pane


class AbsenceNotice(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        absence = self.app.travel.absence
        if absence is None:
            return []
        key = self.app.acting.key
        ways = [
            *((f"{key('step-back')} the last second before",) if absence.since is not None else ()),
            *((f"{key('step-on')} the first second after",) if absence.until is not None else ()),
            f"{key('time')} a time", *((f"{key('live')} live",) if self.app.travel.has_live else ()),
        ]
        blank = [self.row() for _ in range(max(0, height // 2 - 2))]
        return [*blank, self._centred(f"◌  {absence.words}", width, "strong"), self.row(), self._centred("   ".join(ways), width, "dim")]

    def _centred(self, words: str, width: int, ink: str) -> Row:
        words = fit(words, min(cells(words), width))
        return self.row().to((width - cells(words)) // 2).put(words, ink, ink == "strong")
