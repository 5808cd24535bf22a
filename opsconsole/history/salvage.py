"""What can still be read of a damaged file goes into the new one, little by little, beside the recording.

Rows are read in the order of their numbers; where a page cannot be read, the next row that can is looked for by leaps that double. Who
stands in which place must be known in full, for what is kept of a number is its place: without that only what is in words is taken over.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from opsconsole.history.schema import writing

ROWS_AT_ONCE = 200
FARTHEST = 2**40
NAMES = {"entity": ("kind", "slot", "name"), "metric": ("id", "name", "unit", "scale")}
WORDS = {
    "note": ("at", "kind", "severity", "subject", "text", "actor"), "roster": ("key", "data"), "worker": ("name", "model", "node", "chip"),
}
NUMBERS = {
    "keyframe": ("id", "roster", "data"), "moment": ("t", "keyframe", "data"), "tick": ("t", "at", "headlines"),
    "frame": ("metric", "t", "data"), "rollup": ("step", "metric", "t", "mean", "below", "above", "readings"),
    "chunk": ("step", "metric", "t0", "block", "mean", "below", "above", "readings"),
}


class Salvage:
    """From the file at `path`, which nobody writes any more. `ticks`: seconds taken over so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ticks = 0
        self._old = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
        self._batches: Iterator[tuple[str, tuple[str, ...], list[tuple]]] | None = None
        self._pending: tuple[str, tuple[str, ...], list[tuple]] | None = None
        self._unread = 0

    def names(self) -> tuple[list[tuple[str, int, str]], dict[str, float]] | None:
        """Who stood where, (kind, slot, name), and the scale of each metric; None when not all of that can be read."""
        rows = list(self._readable("entity", NAMES["entity"]))
        whole = {(kind, slot) for kind, slot, _ in rows}
        counts: dict[str, int] = {}
        for kind, _ in whole:
            counts[kind] = counts.get(kind, 0) + 1
        # places are given without gaps, so one that is missing shows, but for the last
        if self._unread or not rows or not all(0 <= slot < counts[kind] for kind, slot in whole):
            return None
        scales = {name: scale for _, name, _, scale in self._readable("metric", NAMES["metric"])}
        return None if self._unread else (rows, scales)

    def step(self, new: sqlite3.Connection, with_numbers: bool) -> bool:
        """Takes over a little; False when all is done. May raise sqlite3.Error for the new file: the next step tries the same again."""
        if self._batches is None:
            self._batches = self._read(self._ids(new) if with_numbers else {}, with_numbers)
        self._pending = self._pending or next(self._batches, None)
        if self._pending is None:
            return False
        self._put(new, *self._pending)
        self._pending = None
        return True

    def close(self) -> None:
        self._old.close()

    def _read(self, ids: dict[int, int], with_numbers: bool) -> Iterator[tuple[str, tuple[str, ...], list[tuple]]]:
        """Tables, their columns and some rows at a time. ids: the new id of each metric."""
        for table, columns in {**WORDS, **(NUMBERS if with_numbers else {})}.items():
            batch: list[tuple] = []
            for row in self._readable(table, columns):
                if "metric" in columns:
                    place = columns.index("metric")
                    if row[place] not in ids:
                        continue
                    row = (*row[:place], ids[row[place]], *row[place + 1 :])
                batch.append(row)
                if len(batch) == ROWS_AT_ONCE:
                    yield table, columns, batch
                    batch = []
            yield table, columns, batch

    def _put(self, new: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: list[tuple]) -> None:
        marks = ",".join("?" * len(columns))
        with writing(new):
            taken = new.executemany(f"insert or ignore into {table}({','.join(columns)}) values({marks})", rows).rowcount
        if table == "tick":
            self.ticks += max(taken, 0)

    def _ids(self, new: sqlite3.Connection) -> dict[int, int]:
        """The new id of each metric that is counted in the same unit there."""
        now = {(name, scale): number for number, name, scale in new.execute("select id, name, scale from metric")}
        return {number: now[name, scale] for number, name, _, scale in self._readable("metric", NAMES["metric"]) if (name, scale) in now}

    def _readable(self, table: str, columns: tuple[str, ...]) -> Iterator[tuple]:
        self._unread = 0
        at, query = 0, f"select rowid, {','.join(columns)} from {table} where rowid > ? order by rowid limit ?"
        while True:
            count = 0
            try:
                for row in self._old.execute(query, (at, ROWS_AT_ONCE)):
                    at, count = row[0], count + 1
                    yield row[1:]
                if count < ROWS_AT_ONCE:
                    return
            except sqlite3.Error:
                self._unread += 1
                beyond = self._next_readable(query, at)
                if beyond is None:
                    return
                at = beyond

    def _next_readable(self, query: str, at: int) -> int | None:
        """The lowest number behind which a row can be read, or the end is reached; None when there is none."""
        leap = 1
        while leap < FARTHEST and not self._can_read(query, at + leap):
            leap *= 2
        if leap >= FARTHEST:
            return None
        low, high = at + leap // 2, at + leap
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._can_read(query, middle) else (middle, high)
        return high

    def _can_read(self, query: str, at: int) -> bool:
        try:
            self._old.execute(query, (at, 1)).fetchall()
        except sqlite3.Error:
            return False
        return True
