"""A Fleet out of what was kept of its moment: the value that the live screens drew, numbers to the smallest difference kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import lru_cache
from operator import itemgetter
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec
import numpy as np

from opsconsole.core.fleet import HEADLINES, TREND_LENGTH, Fleet, Process, Roster, Worker
from opsconsole.history.catalog import METRICS_OF_KIND, WORKER_NUMBERS
from opsconsole.history.moments import FLEET_FIELDS
from opsconsole.protocol import GPU_COLUMNS, NODE_COLUMNS

IN_A_FLEET = tuple(metric.name for kind in ("gpu", "node", "worker") for metric in METRICS_OF_KIND[kind])
"""What a Fleet is made of; the other series are reckoned from these."""
Places = Mapping[str, Mapping[str, int]]
"""Slot by kind and name."""
Numbers = Mapping[str, np.ndarray]
"""(S,) of each metric; those without any reading may be absent."""


@lru_cache(maxsize=1)
def _hints() -> tuple[dict[str, Any], dict[str, Any]]:
    return get_type_hints(Roster), get_type_hints(Fleet)


def roster_of(told: Mapping[str, Any]) -> Roster:
    """Fields that this release does not know, or that do not fit any more, stay at what they are by default."""
    hints = _hints()[0]
    return Roster(**_fitting(told, {field.name: hints[field.name] for field in fields(Roster)}))


def _fitting(told: Mapping[str, Any], hints: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, hint in hints.items():
        if name not in told:
            continue
        try:
            found[name] = _array_in(told[name]) if hint is np.ndarray else msgspec.convert(told[name], hint)
        except (msgspec.ValidationError, ValueError, TypeError):
            continue
    return found


def _array_in(packed: Any) -> np.ndarray:
    dtype, shape, data = packed
    return np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape)

Told, Made = TypeVar("Told"), TypeVar("Made")


class Kept(Generic[Told, Made]):
    """What was made last, for as long as it is asked of the same thing: moments in a row share what has not changed."""

    def __init__(self, make: Callable[[Told], Made]) -> None:
        self._make = make
        self._last: tuple[Told, Made] | None = None

    def of(self, told: Told) -> Made:
        if self._last is None or self._last[0] is not told:
            self._last = told, self._make(told)
        return self._last[1]


class Recall:
    """One roster, and where those in it stand in the frames."""

    def __init__(self, roster: Roster, places: Places) -> None:
        self.roster = roster
        names = [node.name for node in roster.nodes]
        pairs = zip(roster.gpu_node.tolist(), roster.gpu_index.tolist(), strict=True)
        self._node_slots = _slots(places.get("node", {}), names)
        self._gpu_slots = _slots(places.get("gpu", {}), (f"{names[row]}/{index}" for row, index in pairs))
        self._worker_slots = Kept(lambda rows: _slots(places.get("worker", {}), (row[0] for row in rows)))
        self._processes = Kept(_processes)
        self._model_slots = {model.name: places.get("model", {}).get(model.name) for model in roster.models}

    def fleet(self, at: float, picture: Mapping[str, Any], numbers: Numbers, headlines: np.ndarray) -> Fleet:
        """picture: as in moments, whole. headlines: (HEADLINES and model slots, ticks), newest last."""
        told = _fitting(picture["fields"], {name: _hints()[1][name] for name in FLEET_FIELDS})
        reach = np.array([reach for reach, _ in picture["nodes"]], np.int8)
        node_values = _table("node", NODE_COLUMNS, numbers, self._node_slots)
        gpu_values = _table("gpu", GPU_COLUMNS, numbers, self._gpu_slots)
        self._put_back_held(picture["held"], node_values, gpu_values)
        ages = _table("node", ("age_s", "clock_offset_s"), numbers, self._node_slots)
        mono = told.get("mono", 0.0)
        sampled_mono, offset_s = np.round(mono - ages[0], 2), ages[1]
        for row, (at_mono, offset) in picture["heard"].items():
            sampled_mono[row], offset_s[row] = at_mono, offset
        for array in (reach, node_values, gpu_values, sampled_mono, offset_s):
            array.flags.writeable = False
        return Fleet(
            at=at, roster=self.roster, reach=reach, cause=tuple(cause for _, cause in picture["nodes"]), sampled_mono=sampled_mono,
            clock_offset_s=offset_s, node_values=node_values, gpu_values=gpu_values, workers=self._workers(picture, numbers),
            processes=dict(self._processes.of(picture["processes"])), **told, **self._trends(picture["trend"], headlines),
        )

    def _put_back_held(self, held: Mapping[int, bytes], node_values: np.ndarray, gpu_values: np.ndarray) -> None:
        for row, data in held.items():
            values, gpus = np.frombuffer(data, "<f8"), self.roster.gpus_of(row)
            node_values[:, row] = values[: len(NODE_COLUMNS)]
            gpu_values[:, gpus] = values[len(NODE_COLUMNS) :].reshape(len(GPU_COLUMNS), -1)

    def _workers(self, picture: Mapping[str, Any], numbers: Numbers) -> tuple[Worker, ...]:
        names = picture["steady"]
        rows = picture["workers"]
        slots = self._worker_slots.of(rows)
        columns = _table("worker", WORKER_NUMBERS, numbers, slots)
        known = columns.T.astype(object)
        known[np.isnan(columns.T)] = None
        measured = known.tolist()
        for row, odd in picture["odd"].items():
            measured[row] = odd
        make = _worker_maker(tuple(names))
        return tuple([make((*steady, *values)) for steady, values in zip(rows, measured, strict=True)])

    def _trends(self, length: int, headlines: np.ndarray) -> dict[str, Any]:
        length = min(length, TREND_LENGTH, headlines.shape[1])
        newest = headlines[:, headlines.shape[1] - length :]
        queues = newest[len(HEADLINES) :]
        nothing = np.full(length, np.nan)
        trends = {
            name: queues[slot] if slot is not None and slot < len(queues) else nothing for name, slot in self._model_slots.items()
        }
        return {"trend": newest[: len(HEADLINES)], "model_queue_trend": trends if length else {}}


def _processes(told: Mapping[int, Any]) -> dict[int, tuple[Process, ...]]:
    return {row: tuple([Process(*one) for one in running]) for row, running in told.items()}


def _slots(places: Mapping[str, int], names: Any) -> np.ndarray:
    """-1: never seen."""
    return np.array([places.get(name, -1) for name in names], np.int64)


def _table(kind: str, columns: tuple[str, ...], numbers: Numbers, slots: np.ndarray) -> np.ndarray:
    """(columns, slots); NaN where there is no reading."""
    known = {metric.column: metric.name for metric in METRICS_OF_KIND[kind]}
    table = np.full((len(columns), len(slots)), np.nan)
    for row, column in zip(table, columns, strict=True):
        values = numbers.get(known[column])
        if values is not None:
            there = (slots >= 0) & (slots < len(values))
            row[there] = values[slots[there]]
    return table


@lru_cache(maxsize=2)
def _worker_maker(names: tuple[str, ...]) -> Callable[[tuple[Any, ...]], Worker]:
    """What makes a worker of the values of the fields `names` and of its numbers; a field that is not among them is unknown."""
    told = {name: place for place, name in enumerate((*names, *WORKER_NUMBERS))} | {name: place for place, name in enumerate(names)}
    fields_told = [name for name in Worker.__struct_fields__ if name in told]
    pick, gpus = itemgetter(*(told[name] for name in fields_told)), fields_told.index("gpus")
    if len(fields_told) < len(Worker.__struct_fields__):
        return lambda values: Worker(**dict(zip(fields_told, pick(values), strict=True)) | {"gpus": tuple(values[told["gpus"]])})

    def make(values: tuple[Any, ...]) -> Worker:
        ordered = pick(values)
        return Worker(*ordered[:gpus], tuple(ordered[gpus]), *ordered[gpus + 1 :])

    return make


def headline_table(blobs: list[bytes | None]) -> np.ndarray:
    """(HEADLINES and model slots, ticks) from the `headlines` of so many ticks; NaN where a tick has none."""
    widest = max((len(blob) // 8 for blob in blobs if blob), default=len(HEADLINES))
    if all(blob is not None and len(blob) == widest * 8 for blob in blobs):
        return np.frombuffer(b"".join(blobs), "<f8").reshape(-1, widest).T  # type: ignore[arg-type]
    table = np.full((len(blobs), widest), np.nan)
    for row, blob in zip(table, blobs, strict=True):
        values = np.frombuffer(blob or b"", "<f8")
        row[: len(values)] = values
    return table.T
