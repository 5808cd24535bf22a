"""Where in time the screen stands: how much trouble there was in the last minutes, and that this is now."""

from __future__ import annotations

import time

import numpy as np

from opsconsole.core.fleet import HEADLINES
from opsconsole.tui.paint import BARS, Row, buckets
from opsconsole.tui.pane import Pane
from opsconsole.tui.runs import RUN_LOOKS

BEGAN = ("◆", "accent")


class TimeBar(Pane):
    GROUND = "panel"

    def rows(self, width: int, height: int) -> list[Row]:
        row = self.row()
        if self.frame is None or not self.frame.fleet.trend.shape[1] or width < 40:
            return [row.put(" no history on the screen yet", "faint")]
        fleet = self.frame.fleet
        trouble = self._trouble()
        room = width - 25
        spans = min(room, len(trouble))
        row.put(time.strftime(" %H:%M:%S ", time.gmtime(fleet.at - len(trouble))), "dim")
        row.put("─" * (room - spans), "line")
        marks = self._marks(fleet.at, len(trouble), spans)
        for place, height_now in enumerate(buckets(trouble, spans).tolist()):
            bar = (BARS[1 + int(min(6, height_now))], "warn") if height_now else ("▁", "faint")
            row.put(*marks.get(place, bar))
        return [row.put("┃", "strong").put(time.strftime(" %H:%M ", time.gmtime(fleet.at)), "dim").put(" LIVE ▸ ", "ok", True)]

    def _marks(self, at: float, seconds: int, spans: int) -> dict[int, tuple[str, str]]:
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
