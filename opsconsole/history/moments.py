"""What of a moment is no number of a frame: a whole picture of it now and then, and of each moment only what is other than there.

A keyframe holds everything but numbers as MessagePack, compressed: a map of

    fields      {field of Fleet: value} for all that is no array: alarms, cordons, causes of router and history, errors of single GPUs ...
    nodes       [[reach, cause] of each node]
    workers     [[the fields in `steady` of each worker]]
    steady      the names of those fields
    odd         {row of a worker: [its numbers]} of workers whose numbers are in no frame: their node is silent, or two have one name
    processes   {row of a node: [[gpu, pid, name, MiB], ...]}
    held        {row of a node: bytes} what a silent node said last: its node values, then its GPUs' by column, as little-endian doubles
    heard       {row of a node: [when it was last heard, its clock offset]} of silent nodes, on the monotonic clock of `mono`
    trend       how many ticks `Fleet.trend` reached back

A moment names its keyframe and holds the same map with what differs: of `fields` the fields that do, of `nodes`, `workers`, `odd`,
`processes`, `held` and `heard` {row: value}, null where there is none any more; `workers` is a whole list when their number is another.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from opsconsole.core.fleet import Fleet, Roster, Worker
from opsconsole.history.catalog import WORKER_NUMBERS

KEYFRAME_EVERY_S = 120
"""At the latest; sooner when the differences have become many."""
DIFFERENCE_LIMIT_BYTES = 8192
"""Differences smaller than this are no reason for a new keyframe."""

STEADY = ("name", "node", *(name for name in Worker.__struct_fields__[2:] if name not in WORKER_NUMBERS), "slots")
"""Fields of a worker that are words, or change as seldom."""
IN_FRAMES = frozenset((
    "at", "roster", "reach", "cause", "sampled_mono", "clock_offset_s", "node_values", "gpu_values", "workers", "processes", "trend",
    "model_queue_trend",
))
KEYED = ("odd", "processes", "held", "heard")
"""Parts of a picture that are maps by row."""
NOT_KEPT = frozenset(("alarm_memory",))
"""What alarms are made of: the alarms themselves are kept."""
FLEET_FIELDS = tuple(field.name for field in fields(Fleet) if field.name not in IN_FRAMES | NOT_KEPT)
"""Kept as they are, whatever they are: a field that Fleet gets later is kept too."""

_steady_of, _numbers_of = attrgetter(*STEADY), attrgetter(*WORKER_NUMBERS)


@dataclass(frozen=True, slots=True)
class Keyframe:
    """The whole picture that moments refer to by `t`, the second it was made in. roster: its key; both kept with it."""

    t: int
    roster: str
    roster_data: bytes
    data: bytes


def array_out(value: Any) -> Any:
    """An array within MessagePack: [dtype, shape, bytes]."""
    if isinstance(value, np.ndarray):
        return [value.dtype.str, list(value.shape), np.ascontiguousarray(value).tobytes()]
    raise TypeError(f"{type(value).__name__} has no place in the history")


_encoder = msgspec.msgpack.Encoder(enc_hook=array_out)


def packed(value: Any) -> bytes:
    return zlib.compress(_encoder.encode(value), 1)


class Scribe:
    """Writes moments down one after the other; it remembers the keyframe they refer to, and who the workers are."""

    def __init__(self) -> None:
        self._keyframe: Keyframe | None = None
        self._key: dict[str, Any] = {}
        self._roster: Roster | None = None
        self._roster_key, self._roster_data = "", b""
        self.steady: list[tuple[Any, ...]] = []
        self.numbers: list[tuple[float | None, ...]] = []
        """Of the workers of the moment written down last, in its order."""

    def write(self, fleet: Fleet) -> tuple[Keyframe, bytes]:
        """The keyframe of this moment (an older one, or a new one), and what is other than there."""
        renewed = self._follow(fleet.roster)
        self.steady, self.numbers = list(map(_steady_of, fleet.workers)), list(map(_numbers_of, fleet.workers))
        whole = self._whole(fleet)
        t, keyframe = int(fleet.at), self._keyframe
        if keyframe is None or renewed or not keyframe.t <= t < keyframe.t + KEYFRAME_EVERY_S:
            return self._begin(t, whole)
        data = packed(difference(self._key, whole))
        if len(data) > DIFFERENCE_LIMIT_BYTES + len(keyframe.data) // 4:
            return self._begin(t, whole)
        return keyframe, data

    def _begin(self, t: int, whole: dict[str, Any]) -> tuple[Keyframe, bytes]:
        self._key = whole
        self._keyframe = Keyframe(t, self._roster_key, self._roster_data, packed(whole))
        return self._keyframe, packed({})

    def _follow(self, roster: Roster) -> bool:
        """Whether the fleet consists of something else than before."""
        if roster is self._roster:
            return False
        same = self._roster is not None and _same_roster(self._roster, roster)
        self._roster = roster
        if not same:
            self._roster_data = packed({field.name: getattr(roster, field.name) for field in fields(Roster)})
            self._roster_key = hashlib.blake2b(self._roster_data, digest_size=16).hexdigest()
        return not same

    def _whole(self, fleet: Fleet) -> dict[str, Any]:
        return {
            "fields": {name: getattr(fleet, name) for name in FLEET_FIELDS},
            "nodes": list(zip(fleet.reach.tolist(), fleet.cause, strict=True)),
            "workers": self.steady, "steady": STEADY, "odd": self._odd(fleet),
            "processes": fleet.processes, **_of_silent(fleet), "trend": fleet.trend.shape[1],
        }

    def _odd(self, fleet: Fleet) -> dict[int, tuple[float | None, ...]]:
        heard = {id(worker) for worker in fleet.heard_workers} if fleet.heard_workers is not fleet.workers else None
        places = {steady[0]: row for row, steady in enumerate(self.steady)}
        return {
            row: numbers for row, numbers in enumerate(self.numbers)
            if (heard is not None and id(fleet.workers[row]) not in heard) or places[self.steady[row][0]] != row
        } if heard is not None or len(places) < len(self.steady) else {}


def _same_roster(one: Roster, other: Roster) -> bool:
    return all(_same(getattr(one, field.name), getattr(other, field.name)) for field in fields(Roster))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return one is other or bool(one == other)


def _of_silent(fleet: Fleet) -> dict[str, dict[int, Any]]:
    """What those nodes said last, and when, that have ever said something and are silent now."""
    if fleet.answering.all():
        return {"held": {}, "heard": {}}
    silent = np.flatnonzero(~fleet.answering & ~np.isnan(fleet.sampled_mono)).tolist()
    return {"held": {row: _values(fleet, row) for row in silent}, "heard": {
        row: (float(fleet.sampled_mono[row]), float(fleet.clock_offset_s[row])) for row in silent
    }}


def _values(fleet: Fleet, row: int) -> bytes:
    of_gpus = fleet.gpu_values[:, fleet.roster.gpus_of(row)]
    return fleet.node_values[:, row].astype("<f8").tobytes() + of_gpus.astype("<f8").tobytes()


def difference(key: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """What of `whole` is other than in its keyframe; a map without anything when nothing is."""
    found = {
        "fields": {name: value for name, value in whole["fields"].items() if not _same(key["fields"].get(name), value)},
        "nodes": _changed_rows(key["nodes"], whole["nodes"]),
        "workers": _changed_workers(key["workers"], whole["workers"]),
        **{part: _changed_keys(key[part], whole[part]) for part in KEYED},
    }
    if key["trend"] != whole["trend"]:
        found["trend"] = whole["trend"]
    return {part: value for part, value in found.items() if value or part == "trend"}


def _changed_workers(key: list[Any], now: list[Any]) -> dict[int, Any] | list[Any]:
    # an empty list says that the last of them is gone
    return _changed_rows(key, now) if len(key) == len(now) else now or [[]]


def _changed_rows(key: list[Any], now: list[Any]) -> dict[int, Any]:
    if key == now:
        return {}
    return {row: new for row, (old, new) in enumerate(zip(key, now, strict=True)) if old != new}


def _changed_keys(key: Mapping[int, Any], now: Mapping[int, Any]) -> dict[int, Any]:
    if key == now:
        return {}
    changed = {row: value for row, value in now.items() if key.get(row) != value}
    return changed | dict.fromkeys(key.keys() - now.keys())


def unpacked(data: bytes) -> dict[str, Any]:
    """Raises ValueError when it is damaged."""
    try:
        return msgspec.msgpack.decode(zlib.decompress(data))
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(f"a damaged moment: {error}") from None


def applied(key: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The whole picture again: a keyframe with the differences of one of its moments."""
    return {
        **key,
        "fields": {**key["fields"], **change.get("fields", {})},
        "nodes": _with_rows(key["nodes"], change.get("nodes", {})),
        "workers": _with_workers(key["workers"], change.get("workers", {})),
        **{part: _with_keys(key[part], change.get(part, {})) for part in KEYED},
        "trend": change.get("trend", key["trend"]),
    }


def _with_workers(key: list[Any], change: dict[int, Any] | list[Any]) -> list[Any]:
    return [row for row in change if row] if isinstance(change, list) else _with_rows(key, change)


def _with_rows(key: list[Any], change: Mapping[int, Any]) -> list[Any]:
    if not change:
        return key
    rows = list(key)
    for row, value in change.items():
        rows[row] = value
    return rows


def _with_keys(key: Mapping[int, Any], change: Mapping[int, Any]) -> dict[int, Any]:
    return {row: value for row, value in {**key, **change}.items() if value is not None}


def known_workers(steady: Iterable[tuple[Any, ...]], roster: Roster) -> dict[str, tuple[str, str, str]]:
    """Model, node and chip of each worker by name."""
    model = STEADY.index("model")
    rows = roster.node_row
    return {one[0]: (one[model], one[1], roster.nodes[rows[one[1]]].chip if one[1] in rows else "") for one in steady}
