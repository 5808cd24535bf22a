"""History as rows for other tools: of each kind of thing who it is, where it stands and its readings, in blocks that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from opsconsole.history.catalog import METRICS
from opsconsole.history.reader import Reader
from opsconsole.history.schema import HistoryError

IDENTITY = {
    "gpu": ("site", "chip", "node", "gpu"), "node": ("site", "chip", "node"), "worker": ("model", "chip", "node", "worker"),
    "fleet": (), "site": ("site",), "model": ("model",),
}
"""What tells one thing of a kind from another, and the words to group by, as columns before its readings."""
EVENT_COLUMNS = ("at", "kind", "severity", "subject", "text", "actor")
BLOCK_VALUES = 2_000_000
"""Readings held at once: 16 MB of them."""

Block = Mapping[str, np.ndarray]
"""Columns by name, each (R,): `at` as epoch seconds, words as objects, readings as floats with NaN for none."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a kind. columns: of its readings; node: only on this one, where the kind has nodes; step_s: a row each, of means."""

    kind: str
    columns: tuple[str, ...]
    since: float
    until: float
    step_s: float = 1.0
    node: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the rows."""
        return ("at", *IDENTITY[self.kind], *self.columns)


def columns_of(kind: str) -> tuple[str, ...]:
    """The readings of a kind; events have none. Raises HistoryError."""
    if kind == "event":
        return ()
    found = tuple(metric.column for metric in METRICS.values() if metric.kind == kind)
    if not found:
        raise HistoryError(f"there is no kind {kind!r}; there are {', '.join(IDENTITY)} and event")
    return found


def blocks(reader: Reader, wanted: Wanted) -> Iterator[Block]:
    """The rows of a span in the order of time; a thing without any reading at a step has none. Raises HistoryError."""
    names = [f"{wanted.kind}.{column}" for column in wanted.columns]
    since, steps = wanted.since, 60
    while since <= wanted.until:
        after = (since // wanted.step_s + steps) * wanted.step_s  # where a step begins, or it would be cut in two
        table = reader.table(names, since, min(np.nextafter(after, 0.0), wanted.until), wanted.step_s)
        if len(table.times):
            yield from _rows(reader, wanted, table)
            steps = max(BLOCK_VALUES // max(int(len(names) * len(table.entities) * wanted.step_s), 1), 1)
        since = after


def _rows(reader: Reader, wanted: Wanted, table: Any) -> Iterator[Block]:
    who = identities(reader, wanted.kind, table.entities, float(table.times[-1]))
    chosen = np.array([wanted.node in (None, one.get("node", wanted.node)) for one in who], bool)
    readings = np.stack([table.values[f"{wanted.kind}.{column}"].T[:, chosen] for column in wanted.columns])  # (columns, T, S)
    step, place = np.nonzero(~np.isnan(readings).all(axis=0))  # in the order of time, then of things
    if len(step):
        kept = [one for one, is_chosen in zip(who, chosen.tolist(), strict=True) if is_chosen]
        words = {name: np.array([one[name] for one in kept], object)[place] for name in IDENTITY[wanted.kind]}
        yield {"at": table.times[step], **words, **{column: readings[row][step, place] for row, column in enumerate(wanted.columns)}}


def identities(reader: Reader, kind: str, entities: Sequence[str], at: float) -> list[dict[str, Any]]:
    """Who each entity is and where it stood at a moment, by the columns of IDENTITY; "" where that is not known."""
    if kind in ("site", "model"):
        return [{kind: name} for name in entities]
    if kind == "fleet":
        return [{} for _ in entities]
    if kind == "worker":
        known = reader.workers_known()
        return [dict(zip(("model", "node", "chip"), known.get(name, ("", "", "")), strict=True)) | {"worker": name} for name in entities]
    nodes = {node.name: node for node in reader.at(at).roster.nodes}
    found = []
    for name in entities:
        node, _, gpu = name.rpartition("/") if kind == "gpu" else (name, "", "")
        facts = nodes.get(node)
        where = {"site": facts.site if facts else "", "chip": facts.chip if facts else "", "node": node}
        found.append(where | ({"gpu": int(gpu)} if kind == "gpu" else {}))
    return found


def event_blocks(reader: Reader, since: float, until: float) -> Iterator[Block]:
    """What happened in a span, in the order of time, by EVENT_COLUMNS."""
    marks = reader.marks(since, until, 1_000_000)
    if marks:
        yield {name: np.array([getattr(mark, name) for mark in marks], float if name == "at" else object) for name in EVENT_COLUMNS}
