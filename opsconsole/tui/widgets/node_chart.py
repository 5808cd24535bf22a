"""One GPU's metric over the last ten minutes, over the band of the node's other GPUs: eight lines would be read by nobody."""

from __future__ import annotations

import numpy as np

from opsconsole.tui.curves import Curve
from opsconsole.tui.past import SPAN_S, SPANS, TITLES, WINDOW_S, Past
from opsconsole.tui.widgets.chart import Chart, Line, Picture

HOT_SPANS = 30
"""Spans at the end in which a crossed limit changes the ink of the line."""


class NodeChart(Chart):
    past: Past | None = None

    def picture(self) -> Picture | None:
        past = self.past
        if past is None or self.frame is None or past.node not in self.frame.roster.node_row:
            return None
        gpu = min(self.sight.gpu, len(past.values) - 1)
        limit = past.limit(self.frame, gpu) if gpu >= 0 else None
        start = past.until - WINDOW_S
        if gpu < 0:
            return Picture(TITLES[past.metric], self._caption(past, gpu, limit), start, past.until, ())
        times = start + SPAN_S * (np.arange(SPANS) + 0.5)
        hot = limit is not None and np.nan_to_num(past.values[gpu][-HOT_SPANS:]).max() > limit
        line = Line(Curve("", "", times, past.values[gpu], past.values[gpu], SPAN_S), "warn" if hot else "accent", past.bounds(self.frame))
        others = np.delete(past.values, gpu, axis=0)
        band = Curve("", "", times, np.fmin.reduce(others), np.fmax.reduce(others), SPAN_S) if len(others) else None
        limits = (limit,) if limit is not None else ()
        return Picture(TITLES[past.metric], self._caption(past, gpu, limit), start, past.until, (line,), band, limits)

    def _caption(self, past: Past, gpu: int, limit: float | None) -> str:
        others = len(past.values) - 1
        words = f"GPU {gpu}" + (f" against the other {others}" if others > 0 else "")
        return words + (f" · limit {limit:.0f}" if limit else "") + " · m metric"
