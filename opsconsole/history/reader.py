"""Questions to the history: one series over a span of time, with gaps where nothing was heard and peaks that survive a chart."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from opsconsole.history.catalog import Metric, find_metric
from opsconsole.history.codec import pick, unpack
from opsconsole.history.schema import HistoryError, open_reader

GAP_S = 3
"""Ticks further apart than this have a gap between them: nobody recorded."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """times: epoch seconds, (T,) float64; values: (T,) float64, NaN: no reading."""

    series: str
    unit: str
    times: np.ndarray
    values: np.ndarray


class Reader:
    """Answers from the file at `path`, which a recorder may be writing. Opened at the first question; close it, or use `with`."""

    def __init__(self, path: Path):
        self.path = Path(path)
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The connection, with SQLite's complaints in our words."""
        if self._connection is None:
            self._connection = open_reader(self.path)
        try:
            yield self._connection
        except sqlite3.Error as error:
            self.close()
            raise HistoryError(f"the history at {self.path} cannot be read: {error}") from None

    def series(
        self, series: str, node: str | None = None, gpu: int | None = None, worker: str | None = None, *,
        since: float, until: float, points: int | None = None,
    ) -> Series:
        """`series` of one entity from `since` to `until` (epoch seconds), at most `points` of them. Raises HistoryError."""
        metric = find_metric(series)
        entity = _entity_name(metric, node, gpu, worker)
        if until < since:
            raise HistoryError("the end of the span lies before its beginning")
        if points is not None and points < 2:
            raise HistoryError("at least 2 points are needed")
        with self._opened() as connection:
            times, values = _read(connection, metric, entity, since, until)
        if points is not None:
            times, values = reduce(times, values, points)
        return Series(series, metric.unit, times, values)

    def frame(self, series: str, at: float) -> dict[str, float]:
        """`series` of every entity at the newest tick not after `at`, by entity name. Raises HistoryError."""
        metric = find_metric(series)
        with self._opened() as connection:
            return _read_frame(connection, metric, at)

    def notes(self, since: float, until: float) -> list[dict[str, object]]:
        """Actions and events of a span, oldest first. Raises HistoryError."""
        columns = ("at", "kind", "subject", "text", "actor")
        query = f"select {', '.join(columns)} from note where at between ? and ? order by at, id"
        with self._opened() as connection:
            return [dict(zip(columns, row, strict=True)) for row in connection.execute(query, (since, until))]


def _entity_name(metric: Metric, node: str | None, gpu: int | None, worker: str | None) -> str:
    if metric.kind == "gpu":
        if not node or gpu is None:
            raise HistoryError(f"`{metric.name}` is of one GPU; name its node and its index")
        return f"{node}/{gpu}"
    wanted = {"node": node, "worker": worker, "fleet": ""}[metric.kind]
    if wanted is None:
        raise HistoryError(f"`{metric.name}` is of one {metric.kind}; name it")
    return wanted


def _slot_of(connection: sqlite3.Connection, kind: str, name: str) -> int:
    row = connection.execute("select slot from entity where kind = ? and name = ?", (kind, name)).fetchone()
    if row is not None:
        return row[0]
    if kind == "fleet":
        return 0
    called = f"GPU {name.rpartition('/')[2]} of node {name.rpartition('/')[0]}" if kind == "gpu" else f"{kind} {name}"
    raise HistoryError(f"the history knows no {called}")


def _read(connection: sqlite3.Connection, metric: Metric, entity: str, since: float, until: float) -> tuple[np.ndarray, np.ndarray]:
    slot = _slot_of(connection, metric.kind, entity)
    scale = _scale_of(connection, metric)
    rows = connection.execute(
        "select tick.t, frame.data from tick left join frame on frame.t = tick.t"
        " and frame.metric = (select id from metric where name = ?) where tick.t between ? and ? order by tick.t",
        (metric.name, int(np.ceil(since)), int(np.floor(until))),
    )
    times: list[float] = []
    values: list[float] = []
    for t, data in rows:
        if times and t - times[-1] > GAP_S:
            times.append(times[-1] + 1.0)
            values.append(np.nan)
        times.append(float(t))
        values.append(_value(data, slot, scale))
    return np.array(times), np.array(values)


def _scale_of(connection: sqlite3.Connection, metric: Metric) -> float:
    """The scale that the file was written with, which an older release may have chosen otherwise."""
    row = connection.execute("select scale from metric where name = ?", (metric.name,)).fetchone()
    return metric.scale if row is None else row[0]


def _value(data: bytes | None, slot: int, scale: float) -> float:
    if data is None:
        return np.nan
    try:
        return pick(data, slot, scale)
    except ValueError:  # one damaged frame is a gap of one second
        return np.nan


def _read_frame(connection: sqlite3.Connection, metric: Metric, at: float) -> dict[str, float]:
    row = connection.execute(
        "select data from frame where metric = (select id from metric where name = ?) and t = (select max(t) from tick where t <= ?)",
        (metric.name, int(at)),
    ).fetchone()
    if row is None:
        return {}
    try:
        values = unpack(row[0], _scale_of(connection, metric))
    except ValueError:
        return {}
    names = connection.execute("select name, slot from entity where kind = ? and slot < ?", (metric.kind, len(values)))
    return {name: float(values[slot]) for name, slot in names if np.isfinite(values[slot])}


def reduce(times: np.ndarray, values: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `points` of them: the lowest and the highest of each span of time, in their order, so that no peak is lost.

    A span without any reading stays as one point without a reading.
    """
    if len(times) <= points:
        return times, values
    buckets = max(points // 2, 1)
    width_s = (times[-1] - times[0]) / buckets
    bucket = np.minimum(((times - times[0]) / width_s).astype(np.int64), buckets - 1)  # (T,)
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    ends = np.append(starts[1:], len(times))
    kept: list[int] = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        part = values[start:end]
        if np.isnan(part).all():
            kept.append(start)
        else:
            kept.extend(sorted({start + int(np.nanargmin(part)), start + int(np.nanargmax(part))}))
    return times[kept], values[kept]
