"""Numbers out of the file: of the whole fleet at one tick, or of some of it over a span of time, at the fineness that is still kept."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from math import ceil, floor

import numpy as np

from opsconsole.history.catalog import METRICS, Metric
from opsconsole.history.chunks import BLOCK, EVERY, unpack_readable
from opsconsole.history.codec import NONE, pick_count, scaled, unpack, unpack_counts
from opsconsole.history.sealing import open_rows
from opsconsole.history.tiers import COARSER, FINER, MINUTES, PLANES, SECONDS, TENS, TIERS, Tier, rolled_up

GAP_S = 3
"""Ticks further apart than this have a gap between them: nobody recorded."""
SECONDS_UP_TO_S, MINUTES_UP_TO_S = 7200, 2 * 86400
"""Spans for which a chart is drawn from seconds, and from minutes."""
SHOWN_PLANES = 3
SHOWN_COLUMNS = ", ".join(PLANES[:SHOWN_PLANES])
"""What charts show; how many readings there were is needed only to make the next tier."""
FEW_BLOCKS = 8
"""Up to so many are named in a query; of more, all are read."""
WINDOWS_KEPT = 3
"""Of all metrics, decoded, so that stepping through one costs nothing."""

_Column = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Numbers of each block (n, BLOCK, ticks), what makes them counts (n,), and which blocks they are (n,)."""


class Numbers:
    """Answers for one connection, and remembers the windows that moments were asked of last."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        rows = connection.execute("select name, id, scale from metric").fetchall()
        self._ids = {name: number for name, number, _ in rows if name in METRICS}
        self._scales = {name: scale for name, _, scale in rows}
        """Those that the file was written with, which an older release may have chosen otherwise."""
        self._windows: OrderedDict[int, dict[str, _Column]] = OrderedDict()

    @property
    def knows_metrics(self) -> bool:
        """Not when the file was opened before its first recorder had named them."""
        return bool(self._ids)

    def at(self, t: int, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """(S,) of each metric (of `names` alone) at a tick; what is damaged, or has no reading, is absent."""
        found = {}
        window = self._window(t)
        for name in self._ids if names is None else self._ids.keys() & set(names):
            if name in window:
                found[name] = self._column(name, window[name], t)
                continue
            row = self._connection.execute("select data from frame where metric = ? and t = ?", (self._ids[name], t)).fetchone()
            column = None if row is not None else self._sealed(name, t)
            try:
                if row is not None:
                    found[name] = unpack(row[0], self._scales[name])
                elif column is not None:
                    window[name] = column
                    found[name] = self._column(name, column, t)
            except ValueError:
                continue
        return found

    def _window(self, t: int) -> dict[str, _Column]:
        t0 = SECONDS.window(t)
        window = self._windows.setdefault(t0, {})
        self._windows.move_to_end(t0)
        while len(self._windows) > WINDOWS_KEPT:
            self._windows.popitem(last=False)
        return window

    def _sealed(self, name: str, t: int) -> _Column | None:
        query = "select block, mean from chunk where step = 1 and metric = ? and t0 = ? order by block"
        rows = self._connection.execute(query, (self._ids[name], SECONDS.window(t))).fetchall()
        if not rows:
            return None
        readable, numbers, offset = unpack_readable([data for _, data in rows], SECONDS.ticks)
        return (numbers, offset, np.array([rows[place][0] for place in readable], np.int64)) if readable else None

    def _column(self, name: str, column: _Column, t: int) -> np.ndarray:
        numbers, offset, blocks = column
        stored = numbers[:, :, (t - SECONDS.window(t)) % numbers.shape[2]].astype(np.int64)
        values = np.where(stored > 0, scaled(stored + offset[:, None], self._scales[name]), np.nan)
        if len(blocks) == blocks[-1] + 1:
            return values.reshape(-1)
        spread = np.full((int(blocks[-1]) + 1, BLOCK), np.nan)
        spread[blocks] = values
        return spread.reshape(-1)

    def ticks(self, since: float, until: float) -> np.ndarray:
        """The seconds that were recorded, with one more behind each tick that a gap follows."""
        rows = self._connection.execute("select t from tick where t between ? and ? order by t", (ceil(since), floor(until)))
        ticks = np.array([t for (t,) in rows], np.int64)
        ends = ticks[:-1][np.diff(ticks) > GAP_S]
        return np.sort(np.concatenate([ticks, ends + 1])) if len(ends) else ticks

    def tier(self, metric: Metric, since: float, until: float, points: int | None) -> Tier:
        """The tier that a span is answered from: seconds where they were asked for or the span is short, and as far back as kept."""
        reach = {tier: oldest for tier in TIERS if (oldest := self._oldest(tier, metric)) is not None}
        if not reach:
            return SECONDS
        since = max(since, min(reach.values()))
        until = min(until, self.newest() or until)
        span_s = 0.0 if points is None else until - since
        wanted = SECONDS if span_s <= SECONDS_UP_TO_S else MINUTES if span_s <= MINUTES_UP_TO_S else TENS
        fitting = [tier for tier in TIERS if tier in reach and tier.step_s >= wanted.step_s]
        far_enough = [tier for tier in fitting if reach[tier] <= since + (COARSER[tier] or tier).step_s]
        return far_enough[0] if far_enough else min(fitting or reach, key=lambda tier: reach[tier])

    def newest(self) -> int | None:
        return self._connection.execute("select max(t) from tick").fetchone()[0]

    def _oldest(self, tier: Tier, metric: Metric) -> int | None:
        if tier is SECONDS:
            return self._connection.execute("select min(t) from tick").fetchone()[0]
        key = (tier.step_s, self._ids.get(metric.name))
        sealed = self._connection.execute("select min(t0) from chunk where step = ? and metric = ?", key).fetchone()[0]
        return sealed or self._connection.execute("select min(t) from rollup where step = ? and metric = ?", key).fetchone()[0]

    def values(self, metric: Metric, slots: np.ndarray, tier: Tier, since: int, until: int) -> np.ndarray:
        """(3, S, T): mean, lowest and highest of some slots in each step of a tier from `since` to before `until`; NaN: no reading.

        Both are multiples of the step. Of seconds all three are the same: (1, S, T).
        """
        counts = np.full((1 if tier is SECONDS else SHOWN_PLANES, len(slots), max(until - since, 0) // tier.step_s), NONE)
        if metric.name in self._ids and counts.size:
            self._fill_sealed(metric, slots, tier, since, counts)
            self._fill_open(metric, slots, tier, since, until, counts)
            if tier in FINER:
                self._fill_newest(metric, slots, tier, since, until, counts)
        known = counts[0] != NONE
        if len(counts) > 1:
            counts = np.stack([counts[0], counts[0] - counts[1], counts[0] + counts[2]])
        return np.where(known, scaled(counts, self._scales.get(metric.name, metric.scale)), np.nan)

    def _fill_sealed(self, metric: Metric, slots: np.ndarray, tier: Tier, since: int, counts: np.ndarray) -> None:
        first, steps = tier.window(since), counts.shape[2]
        windows = -(-(since - first + steps * tier.step_s) // tier.window_s)
        blocks, block_of = np.unique(slots // BLOCK, return_inverse=True)
        rows = self._sealed_rows(metric, blocks, tier, first, windows)
        if not rows:
            return
        whole = np.full((len(slots), windows, tier.ticks), NONE)
        chosen = {block: np.flatnonzero(block_of == number) for number, block in enumerate(blocks.tolist())}
        skipped = (since - first) // tier.step_s
        for plane, of_plane in enumerate(counts):
            chunks = [row[2 + plane] for row in rows]
            readable, numbers, offset = unpack_readable(chunks, tier.ticks, slots % BLOCK if len(blocks) == 1 else EVERY)
            if len(blocks) == 1 and readable:
                places = (np.array([rows[place][0] for place in readable]) - first) // tier.window_s
                whole[:, places] = _as_counts(numbers, offset[:, None, None]).transpose(1, 0, 2)
            else:
                for number, place in enumerate(readable):  # a damaged chunk is a gap
                    t0, block = rows[place][:2]
                    here = chosen.get(block, ())
                    if len(here):
                        whole[here, (t0 - first) // tier.window_s] = _as_counts(numbers[number, slots[here] % BLOCK], offset[number])
            of_plane[:] = whole.reshape(len(slots), -1)[:, skipped : skipped + steps]

    def _sealed_rows(self, metric: Metric, blocks: np.ndarray, tier: Tier, first: int, windows: int) -> list[tuple]:
        """(t0, block, chunk of each plane) of so many windows."""
        begins = ",".join(str(first + window * tier.window_s) for window in range(windows))
        query = f"select t0, block, {SHOWN_COLUMNS} from chunk where step = ? and metric = ? and t0 in ({begins})"
        if len(blocks) <= FEW_BLOCKS:
            query += f" and block in ({','.join(map(str, blocks.tolist()))})"
        return self._connection.execute(query, (tier.step_s, self._ids[metric.name])).fetchall()

    def _fill_open(self, metric: Metric, slots: np.ndarray, tier: Tier, since: int, until: int, counts: np.ndarray) -> None:
        for t, *frames in open_rows(self._connection, tier, self._ids[metric.name], since, until):
            for plane, frame in zip(counts, frames, strict=False):  # what is shown needs no readings
                plane[:, (t - since) // tier.step_s] = _picked(frame, slots)

    def _fill_newest(self, metric: Metric, slots: np.ndarray, tier: Tier, since: int, until: int, counts: np.ndarray) -> None:
        """Steps that were not made yet, out of the open ones of the finer tier."""
        finer = FINER[tier]
        begin, newest = self._oldest_open(metric, finer), self.newest()
        if begin is None or newest is None:
            return
        until = min(until, newest + tier.step_s)
        for t in range(max(begin // tier.step_s * tier.step_s, since), until, tier.step_s):
            step = counts[:, :, (t - since) // tier.step_s]
            if (step[0] != NONE).all():
                continue
            fine = np.full((1 if finer is SECONDS else len(PLANES), len(slots), tier.step_s // finer.step_s), NONE)
            self._fill_open(metric, slots, finer, t, t + tier.step_s, fine)
            if finer in FINER:
                self._fill_newest(metric, slots, finer, t, t + tier.step_s, fine)
            np.copyto(step, rolled_up(fine, fine.shape[2])[: len(step), :, 0], where=step[0] == NONE)

    def _oldest_open(self, metric: Metric, tier: Tier) -> int | None:
        """Of all finer tiers, too."""
        key = self._ids[metric.name]
        oldest = [self._connection.execute("select min(t) from frame where metric = ?", (key,)).fetchone()[0]]
        if tier is not SECONDS:
            query = "select min(t) from rollup where step = ? and metric = ?"
            oldest.append(self._connection.execute(query, (tier.step_s, key)).fetchone()[0])
        return min((t for t in oldest if t is not None), default=None)


def _as_counts(numbers: np.ndarray, offset: np.ndarray) -> np.ndarray:
    return np.where(numbers > 0, numbers.astype(np.int64) + offset, NONE)


def _picked(frame: bytes, slots: np.ndarray) -> np.ndarray | int:
    try:
        if len(slots) == 1:
            return pick_count(frame, int(slots[0]))
        counts = unpack_counts(frame)
    except ValueError:  # one damaged frame is a gap of one step
        return NONE
    there = slots < len(counts)
    return np.where(there, counts[np.where(there, slots, 0)], NONE)
