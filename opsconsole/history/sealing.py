"""Turns the frames of a window that is over into chunks, and makes the steps of the next coarser tier of them, in small transactions.

What is due is one metric of one window of one tier at a time, so the file is never held for long and nothing is lost when the recorder
is killed between two of them: until then the frames are there, afterwards the chunks are.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterable

import numpy as np

from opsconsole.history.chunks import BLOCK, counts_of, pack_chunks, unpack_chunks
from opsconsole.history.codec import NONE, pack_counts, unpack_counts
from opsconsole.history.schema import writing
from opsconsole.history.tiers import COARSER, PLANES, SECONDS, TIERS, Tier, rolled_up

LATE_S = 5
"""A window is taken for over so long after its end."""
STRIPE = 8192
"""Slots worked on at once: what a large fleet costs in memory."""


COLUMNS = ", ".join(PLANES)


def open_rows(connection: sqlite3.Connection, tier: Tier, metric: int, since: int, until: int) -> Iterable[tuple]:
    """(t, frame of each plane) of the steps from `since` to before `until` that are not sealed."""
    if tier is SECONDS:
        return connection.execute("select t, data from frame where metric = ? and t >= ? and t < ?", (metric, since, until))
    query = f"select t, {COLUMNS} from rollup where step = ? and metric = ? and t >= ? and t < ?"
    return connection.execute(query, (tier.step_s, metric, since, until))


class Sealer:
    """The part of the one writer that makes its file small."""

    def __init__(self, connection: sqlite3.Connection, metric_ids: Iterable[int]) -> None:
        self._connection, self._metric_ids = connection, tuple(metric_ids)
        self._due: deque[tuple[Tier, int]] = deque()
        self._looked_at: int | None = None

    def step(self, newest: int) -> bool:
        """Seals one metric of one window; False when nothing is due. newest: the newest tick. Raises sqlite3.Error."""
        window = SECONDS.window(newest - LATE_S)
        if not self._due and window != self._looked_at:
            self._looked_at = window
            self._due.extend((tier, metric) for tier in TIERS for metric in self._metric_ids)
        while self._due:
            tier, metric = self._due[0]
            t0 = self._oldest(tier, metric)
            if t0 is not None and t0 + tier.window_s + LATE_S <= newest:
                self._seal(tier, metric, t0)
                return True
            self._due.popleft()
        return False

    def _oldest(self, tier: Tier, metric: int) -> int | None:
        """The oldest window that has frames."""
        if tier is SECONDS:
            row = self._connection.execute("select min(t) from frame where metric = ?", (metric,)).fetchone()
        else:
            row = self._connection.execute("select min(t) from rollup where step = ? and metric = ?", (tier.step_s, metric)).fetchone()
        return None if row[0] is None else tier.window(row[0])

    def _seal(self, tier: Tier, metric: int, t0: int) -> None:
        frames = [(row[0], *map(_counts, row[1:])) for row in open_rows(self._connection, tier, metric, t0, t0 + tier.window_s)]
        sealed = self._sealed(tier, metric, t0)
        slots = max([len(frame[1]) for frame in frames] + [(block + 1) * BLOCK for block in sealed])
        chunks, steps = [], []
        for first in range(0, slots, STRIPE):
            planes = _planes(tier, t0, frames, sealed, first, min(STRIPE, slots - first))
            chunks += _chunk_rows(tier, metric, t0, first // BLOCK, planes)
            if coarser := COARSER[tier]:
                steps.append(rolled_up(planes, coarser.step_s // tier.step_s))
        with writing(self._connection):
            self._connection.executemany("insert or replace into chunk values(?, ?, ?, ?, ?, ?, ?, ?)", chunks)
            if steps:
                self._write_steps(COARSER[tier], metric, t0, np.concatenate(steps, axis=1))
            self._forget(tier, metric, t0)

    def _sealed(self, tier: Tier, metric: int, t0: int) -> dict[int, np.ndarray]:
        """What was sealed of this window before, (planes, BLOCK, ticks) by block: its clock had gone back, or it was slow to write."""
        query = f"select block, {COLUMNS} from chunk where step = ? and metric = ? and t0 = ?"
        rows = self._connection.execute(query, (tier.step_s, metric, t0)).fetchall()
        return {
            block: np.stack([_spread(counts_of(*unpack_chunks([data], tier.ticks)), tier) for data in blobs[: _plane_count(tier)]])
            for block, *blobs in rows
        }

    def _write_steps(self, coarser: Tier, metric: int, t0: int, planes: np.ndarray) -> None:
        rows = [
            (coarser.step_s, metric, t0 + place * coarser.step_s, *(pack_counts(plane[:, place]) for plane in planes))
            for place in range(planes.shape[2])
        ]
        self._connection.executemany("insert or replace into rollup values(?, ?, ?, ?, ?, ?, ?)", [row for row in rows if row[3]])

    def _forget(self, tier: Tier, metric: int, t0: int) -> None:
        ends = (metric, t0, t0 + tier.window_s)
        if tier is SECONDS:
            self._connection.execute("delete from frame where metric = ? and t >= ? and t < ?", ends)
        else:
            self._connection.execute("delete from rollup where step = ? and metric = ? and t >= ? and t < ?", (tier.step_s, *ends))


def _plane_count(tier: Tier) -> int:
    return 1 if tier is SECONDS else len(PLANES)


def _spread(counts: np.ndarray, tier: Tier) -> np.ndarray:
    return np.broadcast_to(counts, (BLOCK, tier.ticks))


def _counts(frame: bytes) -> np.ndarray:
    try:
        return unpack_counts(frame)
    except ValueError:  # one damaged frame is a gap of one step
        return np.zeros(0, np.int64)


def _planes(tier: Tier, t0: int, frames: list[tuple], sealed: dict[int, np.ndarray], first: int, count: int) -> np.ndarray:
    """(planes, slots from `first` on, ticks) counts."""
    planes = np.full((_plane_count(tier), tier.ticks, count), NONE)
    for t, *counts in frames:
        for plane, values in zip(planes, counts, strict=True):
            part = values[first : first + count]
            plane[(t - t0) // tier.step_s, : len(part)] = part
    planes = np.ascontiguousarray(planes.transpose(0, 2, 1))
    for block, known in sealed.items():
        place = block * BLOCK - first
        if 0 <= place < count:
            part = planes[:, place : place + BLOCK]
            known = known[:, : part.shape[1]]
            np.copyto(part, known, where=(part == NONE) & (known != NONE))
    return planes


def _chunk_rows(tier: Tier, metric: int, t0: int, first_block: int, planes: np.ndarray) -> list[tuple]:
    packed = [pack_chunks(plane) for plane in planes]
    packed += [[None] * len(packed[0])] * (len(PLANES) - len(packed))
    rows = zip(*packed, strict=True)
    return [(tier.step_s, metric, t0, first_block + block, *row) for block, row in enumerate(rows) if row[0] is not None]
