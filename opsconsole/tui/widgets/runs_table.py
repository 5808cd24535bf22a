"""Every run as one row: those that wait for a person first, then those under way, then the newest."""

from __future__ import annotations

from opsconsole.core.run import Run
from opsconsole.core.wording import UNKNOWN, age_text
from opsconsole.tui.paint import Fields, Row, columns, title
from opsconsole.tui.pane import Pane
from opsconsole.tui.runs import ID_SHOWN, RUN_LOOKS, progress_text

WIDE: Fields = (
    ("", 3, False), ("RUN", ID_SHOWN + 2, False), ("STATE", 13, False), ("STEPS", 8, True), ("BEGAN", 9, True), ("TOOK", 9, True),
    ("WHO", 22, False), ("PLAN", 0, False),
)
NARROW: Fields = (
    ("", 2, False), ("RUN", ID_SHOWN + 1, False), ("STATE", 12, False), ("STEPS", 7, True), ("BEGAN", 8, True), ("WHO", 12, False),
    ("PLAN", 0, False),
)


class RunsTable(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        acting = self.app.acting
        fields = WIDE if width >= 110 else NARROW
        waiting, live = len(acting.interrupted), sum(run.state == "OPEN" for run in acting.runs)
        counts = (f"{waiting} interrupted" if waiting else "", f"{live} under way" if live else "", f"{len(acting.runs)} in all")
        lines = [title(self.look, "PLANS", width, " · ".join(filter(None, counts)), "warn" if waiting else "dim", indent=1)]
        lines.append(columns(self.row(), fields[:-1]).put("PLAN", "dim"))
        travel = self.app.travel
        if not travel.has_live:
            lines.append(self.row().put("  the history keeps no plans: marks in the time bar tell what was done", "dim"))
        elif acting.trouble:
            lines.append(self.row().put(" ◌ ", "info").column(f"the runs are not known now: {acting.trouble}", width - 3, "dim"))
        elif not acting.runs:
            hint = "nothing had been done yet" if travel.is_on else "nothing was done yet: D, L or R on the fleet opens a plan"
            lines.append(self.row().put("  " + hint, "dim"))
        chosen = self.screen.chosen()
        page = max(1, height - len(lines))
        place = acting.runs.index(chosen) if chosen in acting.runs else 0
        top = max(0, min(place - page // 2, len(acting.runs) - page))
        return [*lines, *(self._line(run, run is chosen, fields, width) for run in acting.runs[top : top + page])]

    def _line(self, run: Run, chosen: bool, fields: Fields, width: int) -> Row:
        row = self.row("chosen" if chosen else "")
        glyph, ink = RUN_LOOKS.get(run.state, ("·", "dim"))
        now = self.app.wall()
        plain = "strong" if chosen else "text"
        cells = {
            "": (" " * (fields[0][1] > 2) + glyph, ink), "RUN": (run.id[:ID_SHOWN], plain), "STATE": (run.state, ink),
            "STEPS": (progress_text(run), plain), "BEGAN": (age_text(max(0.0, now - run.began_at)), "dim" if not chosen else plain),
            "TOOK": (age_text((run.ended_at or now) - run.began_at) if run.ended_at or run.state == "OPEN" else UNKNOWN, plain),
            "WHO": (run.plan.intent.actor or UNKNOWN, "dim" if not chosen else plain),
        }
        for name, room, right in fields[:-1]:
            text, said_in = cells[name]
            row.column(text, room - 1, said_in, name == "STATE" and run.state == "INTERRUPTED", right).put(" ")
        words = run.plan.title + (f": {run.text}" if run.text else "")
        return row.column(words, max(0, width - row.used), plain)
