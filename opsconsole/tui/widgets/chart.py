"""One GPU's metric over time as a braille line, over the band of the node's other GPUs: eight lines would be read by nobody."""

from __future__ import annotations

import time

import numpy as np

from opsconsole.tui.paint import Row, buckets, title
from opsconsole.tui.pane import Pane
from opsconsole.tui.past import TITLES, WINDOW_S, Past
from opsconsole.tui.widgets.braille import BRAILLE, raster

AXIS_CELLS = 7


class Chart(Pane):
    past: Past | None = None

    def rows(self, width: int, height: int) -> list[Row]:
        past = self.past
        if past is None or self.frame is None or past.node not in self.frame.roster.node_row:
            return [title(self.look, "CHART", width)]
        gpu = min(self.sight.gpu, len(past.values) - 1)
        head = title(self.look, TITLES[past.metric], width, self._caption(gpu), "dim")
        plot_height = height - 2
        if plot_height < 2 or gpu < 0:
            return [head]
        return [head, *self._plot(past, gpu, width - AXIS_CELLS, plot_height), self._times(past, width)]

    def _caption(self, gpu: int) -> str:
        others = len(self.past.values) - 1
        limit = self.past.limit(self.frame, gpu)
        words = f"GPU {gpu}" + (f" against the other {others}" if others > 0 else "")
        return words + (f" · limit {limit:.0f}" if limit else "") + " · m metric"

    def _plot(self, past: Past, gpu: int, width: int, height: int) -> list[Row]:
        low, high = past.bounds(self.frame)
        codes = raster(past.values[gpu], width, height, low, high)
        band = self._band(past, gpu, width, height, low, high)
        limit = past.limit(self.frame, gpu)
        limit_line = int((high - limit) * (height - 1e-9) / (high - low)) if limit is not None and low <= limit <= high else -1
        labels = {0: high, height // 2: (low + high) / 2, height - 1: low}
        hot = limit is not None and np.nan_to_num(past.values[gpu][-30:]).max() > limit
        return [
            self._line(y, codes[y].tolist(), band[y].tolist(), labels, y == limit_line, "warn" if hot else "accent") for y in range(height)
        ]

    def _line(self, y: int, codes: list[int], band: list[bool], labels: dict[int, float], is_limit: bool, ink: str) -> Row:
        row = self.row()
        row.put(f"{labels[y]:5.0f} " if y in labels else " " * 6, "dim").put("┤" if y in labels else "│", "line")
        for code, inside in zip(codes, band, strict=False):
            ground = "band" if inside else "ground"
            if code:
                row.put(BRAILLE[code], ink, True, ground)
            elif is_limit:
                row.put("╌", "crit", False, ground)
            else:
                row.put("░" if inside and self.look.is_native else " ", "faint", False, "ground" if self.look.is_native else ground)
        return row

    def _band(self, past: Past, gpu: int, width: int, height: int, low: float, high: float) -> np.ndarray:
        """(height, width) whether a cell lies between the lowest and the highest of the other GPUs."""
        others = np.delete(past.values, gpu, axis=0)
        if not len(others):
            return np.zeros((height, width), bool)
        scale = (height - 1e-9) / (high - low)
        top = np.floor((high - buckets(np.fmax.reduce(others), width)) * scale)
        bottom = np.floor((high + buckets(-np.fmin.reduce(others), width)) * scale)
        line = np.arange(height)[:, None]
        with np.errstate(invalid="ignore"):
            return (line >= top) & (line <= bottom)

    def _times(self, past: Past, width: int) -> Row:
        row = self.row().to(AXIS_CELLS)
        room = width - AXIS_CELLS
        for part in range(5):
            place = AXIS_CELLS + (room - 6) * part // 4
            if place >= row.used:
                row.to(place).put(time.strftime("%H:%M ", time.gmtime(past.until - WINDOW_S * (4 - part) / 4)), "dim")
        return row
