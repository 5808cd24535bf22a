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
EDGED_STEPS_S = (60, 600)
EDGE_ENDINGS = ("", "_low", "_high")
BLOCK_VALUES = 2_000_000
"""Readings held at once: 16 MB of them."""

Block = Mapping[str, np.ndarray]
"""Columns by name, each (R,): `at` as epoch seconds, words as objects, readings as floats with NaN for none."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a kind. columns: of its readings; node: only on this one, where the kind has nodes; step_s: a row each, of means.

    Where the step is one of those that history itself keeps (60, 600), the lowest and the highest reading stand beside each mean.
    """

    kind: str
    columns: tuple[str, ...]
    since: float
    until: float
    step_s: float = 1.0
    node: str | None = None

    @property
    def has_edges(self) -> bool:
        return self.step_s in EDGED_STEPS_S

    @property
    def readings(self) -> tuple[str, ...]:
        """The columns of the rows that measure."""
        return tuple(f"{column}{ending}" for column in self.columns for ending in (EDGE_ENDINGS if self.has_edges else ("",)))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the rows."""
        if self.kind == "event":
            return EVENT_COLUMNS
        return ("at", *IDENTITY[self.kind], *self.readings)


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
    since, steps = wanted.since, 60
    while since <= wanted.until:
        after = (since // wanted.step_s + steps) * wanted.step_s  # where a step begins, or it would be cut in two
        times, entities, values = _values(reader, wanted, since, min(np.nextafter(after, 0.0), wanted.until))
        if len(times):
            yield from _rows(reader, wanted, times, entities, values)
            steps = max(BLOCK_VALUES // max(int(values.size / len(times) * wanted.step_s), 1), 1)
        since = after


def expected_rows(reader: Reader, wanted: Wanted) -> int:
    """At most so many rows will come of it. Raises HistoryError."""
    span = reader.span()
    if span is None or wanted.kind == "event":
        return 0
    things = reader.table([f"{wanted.kind}.{wanted.columns[0]}"], span[1], span[1], 1.0).entities
    chosen = [wanted.node in (None, one.get("node", wanted.node)) for one in identities(reader, wanted.kind, things, span[1])]
    kept_s = min(wanted.until, span[1]) - (wanted.since if wanted.has_edges else max(wanted.since, span[0]))
    return sum(chosen) * (int(max(kept_s, 0.0) / wanted.step_s) + 1)


def _values(reader: Reader, wanted: Wanted, since: float, until: float) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """times (T,), names of the things (S), and (readings, S, T)."""
    names = [f"{wanted.kind}.{column}" for column in wanted.columns]
    if wanted.has_edges:
        found = [reader.edges(name, since, until, int(wanted.step_s)) for name in names]
        return found[0][0], found[0][1], np.concatenate([planes for _, _, planes in found])
    table = reader.table(names, since, until, wanted.step_s)
    return table.times, table.entities, np.stack([table.values[name] for name in names])


def _rows(reader: Reader, wanted: Wanted, times: np.ndarray, entities: Sequence[str], values: np.ndarray) -> Iterator[Block]:
    known = ~np.isnan(values).all(axis=0)  # (S, T)
    if not known.any():
        return
    who = identities(reader, wanted.kind, entities, float(times[-1]))
    known[[wanted.node not in (None, one.get("node", wanted.node)) for one in who]] = False
    step, place = np.nonzero(known.T)  # in the order of time, then of things
    if len(step):
        words = {name: np.array([one[name] for one in who], object)[place] for name in IDENTITY[wanted.kind]}
        yield {"at": times[step], **words, **{name: values[row][place, step] for row, name in enumerate(wanted.readings)}}


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


def is_of_nodes(kind: str) -> bool:
    """Whether each row of a kind belongs to a node (an event may)."""
    return kind == "event" or "node" in IDENTITY[kind]


def event_blocks(reader: Reader, wanted: Wanted) -> Iterator[Block]:
    """What happened in a span, in the order of time, by EVENT_COLUMNS: all of it, or what happened to a node and its workers."""
    marks = reader.marks(wanted.since, wanted.until, 1_000_000)
    if wanted.node is not None:
        subjects = {wanted.node} | {name for name, (_, node, _) in reader.workers_known().items() if node == wanted.node}
        marks = [mark for mark in marks if mark.subject in subjects]
    if marks:
        yield {name: np.array([getattr(mark, name) for mark in marks], float if name == "at" else object) for name in EVENT_COLUMNS}
