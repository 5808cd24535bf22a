"""Where in time the screen stands: trouble, alarms and actions over a span of time, gaps in it, and how far back anything is kept."""

from __future__ import annotations

import time
from itertools import groupby

import numpy as np

from opsconsole.core.fleet import HEADLINES
from opsconsole.core.wording import age_text
from opsconsole.tui.overview import Overview
from opsconsole.tui.paint import BARS, Row, buckets, cells
from opsconsole.tui.pane import Pane
from opsconsole.tui.runs import RUN_LOOKS
from opsconsole.tui.when import clock_text, span_text

BEGAN = ("◆", "accent")
GAP = ("┈", "faint")
ENDS = 25
"""Cells at both ends of the bar together."""
LABEL = 10
"""Of them at its beginning."""


class TimeBar(Pane):
    GROUND = "panel"
    _drawn_of: tuple[object, int, int] = (None, 0, 0)
    _runs: list[tuple[int, str, str]] = []

    def rows(self, width: int, height: int) -> list[Row]:
        if self.app.travel.is_on:
            return self._past(width, height)
        row = self.row()
        if self.frame is None or not self.frame.fleet.trend.shape[1] or width < 40:
            return [row.put(" no history on the screen yet", "faint")]
        return [self._live(row, width)]

    # the last minutes, from the fleet itself

    def _live(self, row: Row, width: int) -> Row:
        fleet = self.frame.fleet
        trouble = self._trouble()
        room = width - ENDS
        spans = min(room, len(trouble))
        row.put(time.strftime(" %H:%M:%S ", time.gmtime(fleet.at - len(trouble))), "dim")
        row.put("─" * (room - spans), "line")
        marks = self._run_marks(fleet.at, len(trouble), spans)
        for place, height_now in enumerate(buckets(trouble, spans).tolist()):
            row.put(*marks.get(place, _bar(height_now)))
        return row.put("┃", "strong").put(time.strftime(" %H:%M ", time.gmtime(fleet.at)), "dim").put(" LIVE ▸ ", "ok", True)

    def _run_marks(self, at: float, seconds: int, spans: int) -> dict[int, tuple[str, str]]:
        """Place on the bar -> glyph and ink of an action: where one began, and how it ended."""
        marks: dict[int, tuple[str, str]] = {}
        followed = [shown.run for shown in self.app.acting.followed if not shown.run.id]
        for run in (*self.app.acting.runs, *followed):
            ended = RUN_LOOKS.get(run.state, BEGAN)
            for moment, mark in ((run.ended_at, ended), (run.began_at, BEGAN)):
                place = int((moment - at + seconds) * spans / seconds) if moment is not None else -1
                if 0 <= place < spans:
                    marks[place] = mark
        return marks

    def _trouble(self) -> np.ndarray:
        """(T,) 0 to 6 for each second: nodes missing, by order of magnitude, and one step for a latency over every objective."""
        trend = dict(zip(HEADLINES, self.frame.fleet.trend, strict=False))
        missing = np.nan_to_num(len(self.frame.roster.nodes) - trend["nodes_live"], nan=0.0)
        height = np.minimum(6, np.ceil(np.log2(1 + missing)))
        objectives = [model.ttft_p95_ms for model in self.frame.roster.models if model.ttft_p95_ms]
        if objectives:
            height = height + (np.nan_to_num(trend["ttft_p95_ms"]) > max(objectives))
        return np.minimum(height, 6.0)

    # the past, from the history

    def _past(self, width: int, height: int) -> list[Row]:
        overview, room = self.app.travel.overview, width - ENDS
        if overview is None or room < 10:
            return [self.row().put(" looking into the history …", "faint")]
        moment = self.app.travel.moment
        stand = int((moment - overview.start) * room / (overview.until - overview.start))
        one_line = height < 2
        row = self.row().column(f" {_edge_text(overview.start, overview)} ", LABEL, "dim")
        for first, text, ink in self._bar_runs(overview, room, one_line):
            here = stand - first
            if 0 <= here < len(text):
                row.put(text[:here], ink).put("┃", "strong", True, "info_ground").put(text[here + 1 :], ink)
            else:
                row.put(text, ink)
        row.column(f" {_edge_text(overview.until, overview)}", ENDS - LABEL, "dim")
        return [row] if one_line else [row, self._marks_line(overview, stand, width, room)]

    def _bar_runs(self, overview: Overview, room: int, with_marks: bool) -> list[tuple[int, str, str]]:
        """(first cell, glyphs, ink) of neighbours of one ink, kept while only the place where we stand moves."""
        if self._drawn_of != (overview, room, with_marks):
            marks = overview.marked(room) if with_marks else {}
            cells = [
                marks.get(place) or (GAP if height != height else _bar(height)) for place, height in enumerate(overview.cells(room))
            ]
            self._runs = []
            for ink, run in groupby(enumerate(cells), lambda cell: cell[1][1]):
                glyphs = list(run)
                self._runs.append((glyphs[0][0], "".join(glyph for _, (glyph, _) in glyphs), ink))
            self._drawn_of = (overview, room, with_marks)
        return self._runs

    def _marks_line(self, overview: Overview, stand: int, width: int, room: int) -> Row:
        row = self.row()
        here = f"▲ {clock_text(self.app.travel.moment)}"
        from_cell = LABEL + max(0, min(room - cells(here), stand))
        marks = overview.marked(room)
        kept = self._kept_text()
        for place in sorted(marks):
            if LABEL + place < width - cells(kept) and not from_cell <= LABEL + place < from_cell + cells(here):
                if row.used <= from_cell < LABEL + place:
                    row.to(from_cell).put(here, "strong", True, "info_ground")
                row.to(LABEL + place).put(*marks[place], True)
        if row.used <= from_cell:
            row.to(from_cell).put(here, "strong", True, "info_ground")
        return row.to(width - cells(kept)).put(kept, "dim") if row.used <= width - cells(kept) else row

    def _kept_text(self) -> str:
        kept = self.app.travel.kept
        if kept is None:
            return ""
        return f"kept {span_text(kept[1] - kept[0])} " if kept[1] - kept[0] < 86400 else f"kept {age_text(kept[1] - kept[0])} "


def _bar(height: float) -> tuple[str, str]:
    return (BARS[1 + int(min(6, height))], "warn") if height else ("▁", "faint")


def _edge_text(moment: float, overview: Overview) -> str:
    length_s = overview.until - overview.start
    form = "%H:%M:%S" if length_s <= 600 else ("%H:%M" if length_s <= 86400 else "%d %b")
    return time.strftime(form, time.gmtime(moment))
