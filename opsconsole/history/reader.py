"""Questions to the history: the fleet at a moment, what happened, and any series over a span of time with its gaps and peaks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np

from opsconsole.core.fleet import TREND_LENGTH, Fleet
from opsconsole.core.marks import KINDS, Mark
from opsconsole.core.text import clean
from opsconsole.core.wording import at_text
from opsconsole.history.catalog import Metric, find_metric
from opsconsole.history.charts import Band, Series, Table, reduced, reduced_band
from opsconsole.history.moments import WORD_LIMIT, applied, unpacked
from opsconsole.history.numbers import Numbers
from opsconsole.history.plausible import check_fleet, check_roster
from opsconsole.history.recall import IN_A_FLEET, Recall, headline_table, roster_of
from opsconsole.history.schema import HistoryError, file_at, open_reader
from opsconsole.history.spans import band_of, means_of, stretch
from opsconsole.history.tiers import TIERS


class Reader:
    """Answers from the file at `path`, which a recorder may be writing. Opened at the first question; close it, or use `with`.

    Every question may raise HistoryError.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._recalls: dict[str, Recall] = {}
        self._keyframes: dict[int, dict[str, Any]] = {}
        self._newest_entity: int | None = None
        self._numbers: Numbers | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._recalls, self._keyframes = {}, {}

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The connection, in one transaction, with SQLite's complaints in our words."""
        if self._connection is None or self._file != file_at(self.path):
            self.close()
            self._connection, self._file = open_reader(self.path), file_at(self.path)
            self._numbers = None
        try:
            self._connection.execute("begin")
            if self._numbers is None or not self._numbers.knows_metrics:
                self._numbers = Numbers(self._connection)
            try:
                yield self._connection
            finally:
                self._connection.execute("rollback")  # a reader that lingers keeps the log from being cut
        except sqlite3.Error as error:
            self.close()
            raise HistoryError(f"the history at {self.path} cannot be read: {error}") from None

    def span(self) -> tuple[float, float] | None:
        """The first and the last moment that `at` can show; None: none."""
        with self._opened() as connection:
            ends = [connection.execute(f"select at from tick order by t {way} limit 1").fetchone() for way in ("asc", "desc")]
        return None if None in ends else (ends[0][0], ends[1][0])

    def ticks(self, since: float, until: float) -> list[int]:
        """The seconds of a span that were recorded, in order."""
        with self._opened() as connection:
            rows = connection.execute("select t from tick where t between ? and ? order by t", (ceil(since), floor(until)))
            return [t for (t,) in rows]

    def next_after(self, moment: float) -> float | None:
        """The first moment that was recorded after `moment`; None: none."""
        with self._opened() as connection:
            row = connection.execute("select at from tick where t > ? order by t limit 1", (floor(moment),)).fetchone()
        return None if row is None else row[0]

    def at(self, moment: float) -> Fleet:
        """The fleet at the newest second that was recorded and is not after `moment`: its `at` tells which."""
        with self._opened() as connection:
            row = connection.execute("select t, at from tick where t <= ? order by t desc limit 1", (int(moment),)).fetchone()
            if row is None:
                raise HistoryError(self._no_moment(connection, moment))
            return self._recalled(connection, *row)

    def _no_moment(self, connection: sqlite3.Connection, moment: float) -> str:
        first = connection.execute("select at from tick order by t limit 1").fetchone()
        if first is None:
            return f"the history at {self.path} has no moment yet; it begins with the first node that is watched"
        return f"{at_text(moment)} lies before the beginning of the history, {at_text(first[0])}"

    def _recalled(self, connection: sqlite3.Connection, t: int, at: float) -> Fleet:
        query = "select roster, keyframe, moment.data from moment join keyframe on keyframe.id = keyframe where moment.t = ?"
        row = connection.execute(query, (t,)).fetchone()
        if row is None:
            raise HistoryError(f"of {at_text(at)} only series were kept, by an older opsconsole; choose a later moment")
        try:
            return self._fleet_of(connection, t, at, row)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:  # damaged, or made by a stranger
            raise HistoryError(f"the moment {at_text(at)} cannot be read: {error}; choose another one") from None

    def _fleet_of(self, connection: sqlite3.Connection, t: int, at: float, row: tuple[str, int, bytes]) -> Fleet:
        """row: which roster and keyframe, and the moment."""
        picture = applied(self._keyframe(connection, row[1]), unpacked(row[2]))
        query = "select t, headlines from tick where t <= ? order by t desc limit ?"
        headlines = dict(connection.execute(query, (t, min(picture["trend"], TREND_LENGTH))).fetchall()[::-1])
        if picture["first"] and picture["first"][0] in headlines:
            headlines[picture["first"][0]] = picture["first"][1]
        recall = self._recall(connection, row[0])
        fleet = recall.fleet(at, picture, self._numbers.at(t, IN_A_FLEET), headline_table(list(headlines.values())))
        check_fleet(fleet)
        return fleet

    def _keyframe(self, connection: sqlite3.Connection, number: int) -> dict[str, Any]:
        """The one that was asked for last is remembered: moments in a row share theirs."""
        if number not in self._keyframes:
            data = connection.execute("select data from keyframe where id = ?", (number,)).fetchone()[0]
            self._keyframes = {number: unpacked(data)}
        return self._keyframes[number]

    def _recall(self, connection: sqlite3.Connection, key: str) -> Recall:
        """What is known of a roster, until somebody new gets a place."""
        newest = connection.execute("select max(rowid) from entity").fetchone()[0]
        if key not in self._recalls or newest != self._newest_entity:
            self._newest_entity = newest
            row = connection.execute("select data from roster where key = ?", (key,)).fetchone()
            if row is None:
                raise ValueError("what the fleet consisted of is missing")
            places: dict[str, dict[str, int]] = {}
            for kind, slot, name in connection.execute("select kind, slot, name from entity"):
                places.setdefault(kind, {})[name] = slot
            roster = roster_of(unpacked(row[0]))
            check_roster(roster)
            self._recalls = {key: Recall(roster, places)}
        return self._recalls[key]

    def marks(self, since: float, until: float, limit: int = 1000) -> tuple[Mark, ...]:
        """What happened, oldest first; of more than `limit` the newest."""
        query = "select at, kind, severity, subject, text, actor from note where at between ? and ? order by at desc, id desc limit ?"
        with self._opened() as connection:
            rows = connection.execute(query, (since, until, limit)).fetchall()
        return tuple(
            Mark(at, kind if kind in KINDS else "event", severity, *(clean(words or "", WORD_LIMIT) for words in (subject, text, actor)))
            for at, kind, severity, subject, text, actor in reversed(rows)
        )

    def series(
        self, series: str, node: str | None = None, gpu: int | None = None, worker: str | None = None, model: str | None = None,
        site: str | None = None, *, since: float, until: float, points: int | None = None,
    ) -> Series:
        """`series` of one entity from `since` to `until` (epoch seconds), at most `points` of them."""
        metric = find_metric(series)
        entity = _entity_name(metric, node, gpu, worker, model, site)
        _check_span(since, until, points)
        with self._opened() as connection:
            slot, numbers = _slot_of(connection, metric.kind, entity), self._numbers
            tier = numbers.tier(metric, since, until, points)
            times, planes = stretch(numbers, metric, np.array([slot]), tier, since, until)
        found = Series(series, metric.unit, times, *(planes[min(plane, len(planes) - 1), 0] for plane in range(3)), float(tier.step_s))
        return found if points is None else reduced(found, points)

    def peers(
        self, series: str, node: str | None = None, gpu: int | None = None, worker: str | None = None, model: str | None = None,
        site: str | None = None, *, since: float, until: float, points: int | None = None,
    ) -> Band:
        """The lowest and the highest of all others of the same kind: of the GPUs of one node, else of the whole fleet."""
        metric = find_metric(series)
        entity = _entity_name(metric, node, gpu, worker, model, site)
        _check_span(since, until, points)
        with self._opened() as connection:
            _slot_of(connection, metric.kind, entity)
            slots = np.array([
                slot for slot, name in connection.execute("select slot, name from entity where kind = ? order by slot", (metric.kind,))
                if name != entity and (metric.kind != "gpu" or name.rpartition("/")[0] == node)
            ], np.int64)
            tier = self._numbers.tier(metric, since, until, points)
            band = band_of(self._numbers, metric, slots, tier, since, until)
        return band if points is None else reduced_band(band, points)

    def table(self, names: Sequence[str], since: float, until: float, step_s: float) -> Table:
        """Several series of one kind for all its entities: the mean of each step of `step_s` seconds."""
        metrics = [find_metric(name) for name in names]
        if len({metric.kind for metric in metrics}) != 1:
            raise HistoryError(f"series of one kind are needed, not {', '.join(names) or 'none'}")
        _check_span(since, until, None)
        if step_s < 1:
            raise HistoryError(f"a step of {step_s:g} s is too short; at least 1 s is needed")
        with self._opened() as connection:
            rows = connection.execute("select slot, name from entity where kind = ? order by slot", (metrics[0].kind,)).fetchall()
            slots = np.array([slot for slot, _ in rows], np.int64)
            times, values = means_of(self._numbers, metrics, slots, since, until, int(step_s))
        return Table(times, tuple(name for _, name in rows), values)

    def edges(self, series: str, since: float, until: float, step_s: int) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
        """Of every entity (S) the mean, the lowest and the highest of each whole step (T) of a tier: times (T,), names, (3, S, T).

        step_s: 60 or 600. NaN: no reading.
        """
        metric, tier = find_metric(series), next(tier for tier in TIERS if tier.step_s == step_s)
        first, after = int(since // step_s) * step_s, (int(until // step_s) + 1) * step_s
        with self._opened() as connection:
            rows = connection.execute("select slot, name from entity where kind = ? order by slot", (metric.kind,)).fetchall()
            planes = self._numbers.values(metric, np.array([slot for slot, _ in rows], np.int64), tier, first, after)
        return np.arange(first, after, step_s, dtype=np.float64), tuple(name for _, name in rows), planes

    def workers_known(self) -> dict[str, tuple[str, str, str]]:
        """Model, node and chip of every worker there ever was, by its name; where a name was used again, of the last one."""
        with self._opened() as connection:
            return {name: tuple(about) for name, *about in connection.execute("select name, model, node, chip from worker")}

    def frame(self, series: str, at: float) -> dict[str, float]:
        """`series` of every entity at the newest tick not after `at`, by entity name."""
        metric = find_metric(series)
        with self._opened() as connection:
            row = connection.execute("select max(t) from tick where t <= ?", (int(at),)).fetchone()
            values = self._numbers.at(row[0], [series]).get(series, np.zeros(0)) if row[0] is not None else np.zeros(0)
            names = connection.execute("select name, slot from entity where kind = ? and slot < ?", (metric.kind, len(values))).fetchall()
        return {name: float(values[slot]) for name, slot in names if np.isfinite(values[slot])}

    def notes(self, since: float, until: float) -> list[dict[str, object]]:
        """Actions and events of a span, oldest first."""
        columns = ("at", "kind", "subject", "text", "actor")
        query = f"select {', '.join(columns)} from note where at between ? and ? order by at, id"
        with self._opened() as connection:
            return [dict(zip(columns, row, strict=True)) for row in connection.execute(query, (since, until))]


def _check_span(since: float, until: float, points: int | None) -> None:
    if until < since:
        raise HistoryError("the end of the span lies before its beginning")
    if points is not None and points < 2:
        raise HistoryError("at least 2 points are needed")


def _entity_name(
    metric: Metric, node: str | None, gpu: int | None, worker: str | None, model: str | None = None, site: str | None = None
) -> str:
    if metric.kind == "gpu":
        if not node or gpu is None:
            raise HistoryError(f"`{metric.name}` is of one GPU; name its node and its index")
        return f"{node}/{gpu}"
    wanted = {"node": node, "worker": worker, "fleet": "", "model": model, "site": site}[metric.kind]
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
