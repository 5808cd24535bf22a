"""Single readings of the history for SQL functions: whole blocks are decoded once and kept, as few as a query's way through time needs."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np

from opsconsole.history.catalog import METRICS
from opsconsole.history.reader import Reader
from opsconsole.history.schema import HistoryError

ONE_SPAN_S, ALL_SPAN_S, MINUTES_SPAN_S = 3600, 120, 3600
"""How long a stretch is read at once: of one thing, of all things of a kind, and of minutes of all things of a kind."""
MINUTE_S = 60
EDGES = ("mean", "low", "high")
"""What of a minute is kept."""
ONES_AT_MOST = 16
"""So many things (two nodes' GPUs) are read one by one in a stretch of time; whoever asks for more gets all of them at once."""
KEPT_BYTES = 256 * 1024 * 1024


@dataclass(slots=True)
class _Block:
    """values: (S, steps), NaN for no reading. until: the newest second that had been recorded when it was read."""

    start: int
    until: float
    rows: dict[str, int]
    values: np.ndarray
    step_s: int = 1

    @property
    def last(self) -> float:
        """The last second that it can tell of."""
        return min(self.until, self.start + self.values.shape[1] * self.step_s - 1)

    def value(self, entity: str, t: int) -> float | None:
        row = self.rows.get(entity)
        if row is None:
            return None
        value = self.values.item(row, (t - self.start) // self.step_s)
        return value if value == value else None


class Readings:
    """Answers for any second of any series, from the file that `reader` reads. A file that grows is read again where it has grown."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._blocks: OrderedDict[Hashable, _Block] = OrderedDict()
        self._bytes = 0
        self._asked: Counter[tuple[str, int]] = Counter()
        self._latest: dict[Hashable, tuple[int, float, _Block]] = {}
        """By series the block of all things that was used last, with its first and last second: a query goes through time in order."""

    def value(self, series: str, entity: str, t: int) -> float | None:
        """None for no reading. Raises HistoryError."""
        latest = self._latest.get(series)
        if latest is not None and latest[0] <= t <= latest[1]:
            return latest[2].value(entity, t)
        if series not in METRICS:
            raise HistoryError(f"there is no series {series!r}")
        block = self._kept((series, t // ALL_SPAN_S), t)
        if block is not None:
            self._latest[series] = (block.start, block.last, block)
        block = block or self._kept((series, entity, t // ONE_SPAN_S), t) or self._read(series, entity, t)
        return block.value(entity, t)

    def minute(self, series: str, entity: str, t: int, edge: str) -> float | None:
        """The mean, lowest or highest reading (EDGES) of the minute that begins at t. Raises HistoryError."""
        key = (series, edge)
        latest = self._latest.get(key)
        if latest is not None and latest[0] <= t <= latest[1]:
            return latest[2].value(entity, t)
        block = self._kept((*key, t // MINUTES_SPAN_S), t) or self._read_minutes(series, edge, t // MINUTES_SPAN_S * MINUTES_SPAN_S)
        self._latest[key] = (block.start, block.last, block)
        return block.value(entity, t)

    def _read_minutes(self, series: str, wanted: str, start: int) -> _Block:
        until = self._newest()
        _, names, planes = self._reader.edges(series, start, start + MINUTES_SPAN_S - 1, MINUTE_S)
        rows = {name: row for row, name in enumerate(names)}
        for edge, values in zip(EDGES, planes, strict=True):
            self._keep((series, edge, start // MINUTES_SPAN_S), _Block(start, until, rows, values, MINUTE_S))
        return self._blocks[series, wanted, start // MINUTES_SPAN_S]

    def is_heard(self, kind: str, entity: str, t: int) -> int:
        """Whether the thing told anything at all in that second."""
        for name in _TELLING[kind]:
            if self.value(name, entity, t) is not None:
                return 1
        return 0

    def _kept(self, key: Hashable, t: int) -> _Block | None:
        block = self._blocks.get(key)
        if block is None or t > block.until:
            return None
        self._blocks.move_to_end(key)
        return block

    def _read(self, series: str, entity: str, t: int) -> _Block:
        stretch = (series, t // ONE_SPAN_S)
        self._asked[stretch] += 1
        if self._asked[stretch] <= ONES_AT_MOST:
            return self._keep((series, entity, t // ONE_SPAN_S), self._one(series, entity, t // ONE_SPAN_S * ONE_SPAN_S))
        return self._keep((series, t // ALL_SPAN_S), self._all(series, t // ALL_SPAN_S * ALL_SPAN_S))

    def _keep(self, key: Hashable, block: _Block) -> _Block:
        old = self._blocks.pop(key, None)
        self._bytes += block.values.nbytes - (old.values.nbytes if old else 0)
        self._blocks[key] = block
        while self._bytes > KEPT_BYTES and len(self._blocks) > 1:
            self._bytes -= self._blocks.popitem(last=False)[1].values.nbytes
        return block

    def _newest(self) -> float:
        span = self._reader.span()
        return span[1] if span else 0.0

    def _one(self, series: str, entity: str, start: int) -> _Block:
        until = self._newest()
        found = self._reader.series(series, **_who(METRICS[series].kind, entity), since=start, until=start + ONE_SPAN_S - 1)
        return _Block(start, until, {entity: 0}, _by_second(found.times, found.values[None], start, ONE_SPAN_S))

    def _all(self, series: str, start: int) -> _Block:
        until = self._newest()
        found = self._reader.table([series], start, start + ALL_SPAN_S - 1, 1.0)
        rows = {name: row for row, name in enumerate(found.entities)}
        return _Block(start, until, rows, _by_second(found.times, found.values[series], start, ALL_SPAN_S))


def _by_second(times: np.ndarray, values: np.ndarray, start: int, seconds: int) -> np.ndarray:
    """(S, T) values at (T,) times as (S, seconds)."""
    spread = np.full((len(values), seconds), np.nan)
    places = times.astype(np.int64) - start
    inside = (places >= 0) & (places < seconds)
    spread[:, places[inside]] = values[:, inside]
    return spread


def _who(kind: str, entity: str) -> dict[str, object]:
    if kind == "gpu":
        node, _, gpu = entity.rpartition("/")
        return {"node": node, "gpu": int(gpu)}
    return {} if kind == "fleet" else {kind: entity}


_TELLING = {
    "gpu": ("gpu.power_w", "gpu.util_pct", "gpu.mem_used_mib", "gpu.temp_c"), "node": ("node.cpu_pct", "node.mem_used_mib", "node.load1"),
    "worker": ("worker.queue_depth", "worker.running", "worker.slots"), "fleet": ("fleet.nodes_live", "fleet.power_w"),
    "site": ("site.power_w", "site.util_pct", "site.tokens_per_s"), "model": ("model.queue_depth", "model.workers_ready"),
}
"""Readings of which a thing that is heard of has at least one."""

Function = Callable[..., object]


def functions(reader: Reader) -> dict[str, tuple[int, Function]]:
    """The SQL functions by name, each with how many arguments it takes."""
    readings = Readings(reader)
    return {"reading": (3, readings.value), "is_heard": (3, readings.is_heard), "minute": (4, readings.minute)}
