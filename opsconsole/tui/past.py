"""The last ten minutes of one metric on one node: loaded from history once, kept up by the frames that follow, or cut from a longer
stretch where the frames are those of the past."""

from __future__ import annotations

import numpy as np

from opsconsole.tui.frame import HOT_C, Frame

WINDOW_S = 600.0
SPANS = 300
SPAN_S = WINDOW_S / SPANS
MIB_A_GIB = 1024.0


class Past:
    """values: (GPUs of the node, spans), newest last, NaN where nothing is known."""

    def __init__(self, node: str, metric: str, gpus: int, until: float, spans: int = SPANS) -> None:
        self.node, self.metric, self.until = node, metric, until
        self.values = np.full((gpus, spans), np.nan)

    @property
    def since(self) -> float:
        return self.until - SPAN_S * self.values.shape[1]

    def covers(self, node: str, metric: str, gpus: int, at: float) -> bool:
        """Whether the last minutes before a moment can be cut from it."""
        same = (self.node, self.metric, len(self.values)) == (node, metric, gpus)
        return same and self.since + WINDOW_S <= at <= self.until

    def cut(self, at: float) -> Past:
        """The last minutes before a moment that it covers."""
        last = self.values.shape[1] - int((self.until - at) / SPAN_S)
        past = Past(self.node, self.metric, len(self.values), self.until - SPAN_S * (self.values.shape[1] - last))
        past.values = self.values[:, last - SPANS : last].copy()
        return past

    @property
    def series(self) -> str:
        """The name in history."""
        return f"gpu.{_COLUMNS[self.metric]}"

    def load(self, gpu: int, times: np.ndarray, values: np.ndarray) -> None:
        """Put the history of one GPU (position on the node) into its spans; what is here already stays, a gap stays a gap."""
        times, values = np.asarray(times, float), np.asarray(values, float)
        if len(times):
            spans = self.since + SPAN_S * (np.arange(self.values.shape[1]) + 1)
            before = np.searchsorted(times, spans, side="right") - 1
            step = float(np.median(np.diff(times))) if len(times) > 1 else SPAN_S
            heard = (before >= 0) & (spans - times[before] <= max(step, SPAN_S) * 1.5)
            line = np.where(heard, values[before], np.nan) / self._unit
            self.values[gpu] = np.where(np.isnan(self.values[gpu]), line, self.values[gpu])

    def add(self, frame: Frame) -> None:
        """Move on to a newer frame and write its values."""
        row = frame.roster.node_row.get(self.node)
        if row is None:
            return
        steps = min(SPANS, max(0, int((frame.fleet.at - self.until) / SPAN_S)))
        if steps:
            self.values = np.concatenate([self.values[:, steps:], np.full((len(self.values), steps), np.nan)], axis=1)
            self.until += steps * SPAN_S
        newest = frame.fleet.gpu(_COLUMNS[self.metric])[frame.roster.gpus_of(row)]
        if frame.fleet.answering[row] and len(newest) == len(self.values):
            self.values[:, -1] = newest / self._unit

    @property
    def _unit(self) -> float:
        return MIB_A_GIB if self.metric == "mem" else 1.0

    def bounds(self, frame: Frame) -> tuple[float, float]:
        """Lowest and highest value of the chart's axis."""
        if self.metric == "util":
            return 0.0, 100.0
        gpus = frame.roster.gpus_of(frame.roster.node_row[self.node])
        if self.metric == "temp":
            known = self.values[~np.isnan(self.values)]
            return (float(min(known.min(), 60.0)) // 5 * 5, float(max(known.max(), 90.0)) // 5 * 5 + 5) if known.size else (30.0, 95.0)
        full = frame.roster.gpu_fact("mem_total_mib")[gpus] / MIB_A_GIB if self.metric == "mem" else frame.fleet.gpu("power_limit_w")[gpus]
        known = np.concatenate([full[~np.isnan(full)], self.values[~np.isnan(self.values)], [1.0]])
        return 0.0, float(known.max()) * 1.02

    def limit(self, frame: Frame, gpu: int) -> float | None:
        """A line that should not be crossed; None when there is none."""
        if self.metric == "temp":
            return HOT_C
        if self.metric == "power":
            gpus = frame.roster.gpus_of(frame.roster.node_row[self.node])
            limit = frame.fleet.gpu("power_limit_w")[gpus]
            return float(limit[gpu]) if gpu < len(limit) and limit[gpu] == limit[gpu] else None
        return None


_COLUMNS = {"util": "util_pct", "temp": "temp_c", "mem": "mem_used_mib", "power": "power_w"}
TITLES = {"util": "UTILIZATION %", "temp": "TEMPERATURE °C", "mem": "MEMORY GiB", "power": "POWER W"}
