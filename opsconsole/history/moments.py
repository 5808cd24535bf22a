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
    first       [second, headlines] of the first tick that the recorder was given, while the trend reaches back to it: an earlier recorder
                may have kept that second before it, and otherwise

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

from opsconsole.core.fleet import TREND_LENGTH, Fleet, Roster, Worker
from opsconsole.core.text import clean
from opsconsole.history.catalog import WORKER_NUMBERS
from opsconsole.history.codec import inflated

KEYFRAME_EVERY_S = 120
"""At the latest; sooner when the differences have become many."""
KEYFRAMES_SPENT = 4
"""A new keyframe is made once its differences have taken so many times the room of one."""

MOMENT_LIMIT_BYTES = 256 * 1024 * 1024
WORD_LIMIT = 4096
"""Characters of the longest word."""

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
    """The whole picture that moments refer to. roster: its key; both kept with it."""

    id: int
    """When it was made, in milliseconds: another recorder may have made one in the same second."""
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
        self._spent_bytes = 0
        self._roster: Roster | None = None
        self._roster_key, self._roster_data = "", b""
        self._first: tuple[int, bytes] | None = None
        self._twins: list[int] = []
        """Workers of which a later one has the same name."""
        self.steady: list[tuple[Any, ...]] = []
        self.numbers: list[tuple[float | None, ...]] = []
        """Of the workers of the moment written down last, in its order."""

    @property
    def has_written(self) -> bool:
        return self._first is not None

    def look(self, fleet: Fleet) -> None:
        """Comes first: who the workers of this moment are. While they stay as they were, `steady` stays the same list."""
        steady, self.numbers = list(map(_steady_of, fleet.workers)), list(map(_numbers_of, fleet.workers))
        if steady != self.steady:
            self.steady = steady
            last = {one[0]: row for row, one in enumerate(steady)}
            self._twins = [row for row, one in enumerate(steady) if last[one[0]] != row]

    def write(self, fleet: Fleet, headlines: bytes) -> tuple[Keyframe, bytes]:
        """The keyframe of this moment (an older one, or a new one), and what is other than there."""
        renewed = self._follow(fleet.roster)
        self._first = self._first or (int(fleet.at), headlines)
        whole = self._whole(fleet)
        keyframe = self._keyframe
        if keyframe is None or renewed or not 0 <= fleet.at - keyframe.id / 1000 < KEYFRAME_EVERY_S:
            return self._begin(fleet.at, whole)
        data = packed(difference(self._key, whole))
        self._spent_bytes += len(data)
        if self._spent_bytes > KEYFRAMES_SPENT * len(keyframe.data):
            return self._begin(fleet.at, whole)
        return keyframe, data

    def _begin(self, at: float, whole: dict[str, Any]) -> tuple[Keyframe, bytes]:
        self._key, self._spent_bytes = whole, 0
        self._keyframe = Keyframe(int(at * 1000), self._roster_key, self._roster_data, packed(whole))
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
            "first": self._first if fleet.trend.shape[1] < TREND_LENGTH else None,
        }

    def _odd(self, fleet: Fleet) -> dict[int, tuple[float | None, ...]]:
        odd = {row: self.numbers[row] for row in self._twins}
        if fleet.heard_workers is not fleet.workers:
            heard = set(map(id, fleet.heard_workers))
            odd |= {row: self.numbers[row] for row, worker in enumerate(fleet.workers) if id(worker) not in heard}
        return odd


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
    plain = {part: whole[part] for part in ("trend", "first") if key[part] != whole[part]}
    return {part: value for part, value in found.items() if value} | plain


def _changed_workers(key: list[Any], now: list[Any]) -> dict[int, Any] | list[Any]:
    # an empty list says that the last of them is gone
    return _changed_rows(key, now) if len(key) == len(now) else now or [[]]


def _changed_rows(key: list[Any], now: list[Any]) -> dict[int, Any]:
    if key is now or key == now:
        return {}
    return {row: new for row, (old, new) in enumerate(zip(key, now, strict=True)) if old != new}


def _changed_keys(key: Mapping[int, Any], now: Mapping[int, Any]) -> dict[int, Any]:
    if key == now:
        return {}
    changed = {row: value for row, value in now.items() if key.get(row) != value}
    return changed | dict.fromkeys(key.keys() - now.keys())


def unpacked(data: bytes) -> dict[str, Any]:
    """All words in it printable, whoever wrote it. Raises ValueError when it is damaged."""
    try:
        told = msgspec.msgpack.decode(inflated(data, MOMENT_LIMIT_BYTES))
        return told if _is_printable(told) else _cleaned(told)
    except (msgspec.DecodeError, TypeError, RecursionError) as error:
        raise ValueError(f"a damaged moment: {error}") from None


def _is_printable(told: Any) -> bool:
    """Whether it surely needs no cleaning, found out without a look at each word: JSON escapes what is no printable ASCII, or leaves
    the realm of ASCII for it."""
    said = msgspec.json.encode(told)
    return said.isascii() and b"\\" not in said and b"\x7f" not in said


def _cleaned(told: Any) -> Any:
    if isinstance(told, str):
        return clean(told, WORD_LIMIT)
    if isinstance(told, dict):
        return {_cleaned(key): _cleaned(value) for key, value in told.items()}
    return [_cleaned(one) for one in told] if isinstance(told, list) else told


def applied(key: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The whole picture again: a keyframe with the differences of one of its moments."""
    return {
        **key,
        "fields": {**key["fields"], **change.get("fields", {})},
        "nodes": _with_rows(key["nodes"], change.get("nodes", {})),
        "workers": _with_workers(key["workers"], change.get("workers", {})),
        **{part: _with_keys(key[part], change.get(part, {})) for part in KEYED},
        **{part: change.get(part, key[part]) for part in ("trend", "first")},
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


def _with_keys(key: Mapping[int, Any], change: Mapping[int, Any]) -> Mapping[int, Any]:
    if not change:
        return key
    return {row: value for row, value in {**key, **change}.items() if value is not None}


def known_workers(steady: Iterable[tuple[Any, ...]], roster: Roster) -> dict[str, tuple[str, str, str]]:
    """Model, node and chip of each worker by name."""
    model = STEADY.index("model")
    rows = roster.node_row
    return {one[0]: (one[model], one[1], roster.nodes[rows[one[1]]].chip if one[1] in rows else "") for one in steady}
