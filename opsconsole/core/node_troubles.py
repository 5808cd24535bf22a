"""What can be wrong with nodes and their GPUs at one moment: one finder a rule. A node is named once a rule, whatever many GPUs it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from opsconsole.core.alarm import CRITICAL, WARNING
from opsconsole.core.alarm_memory import Found
from opsconsole.core.alarm_rules import Rule
from opsconsole.core.fleet import (
    AUTH_FAILED,
    CONNECTING,
    HOST_KEY_CHANGED,
    HOST_KEY_UNKNOWN,
    HUNG,
    LIVE,
    NO_DRIVER,
    NO_PYTHON,
    REACH_WORDS,
    STALE,
    UNREACHABLE,
    Fleet,
)
from opsconsole.core.headlines import fresh_gpus
from opsconsole.core.totals import count_by_node, max_by_node
from opsconsole.core.xids import XIDS
from opsconsole.protocol import THROTTLE_REASONS

_REACH_SEVERITY = {
    STALE: WARNING, HUNG: CRITICAL, UNREACHABLE: CRITICAL, AUTH_FAILED: CRITICAL, HOST_KEY_CHANGED: CRITICAL,
    NO_DRIVER: CRITICAL, NO_PYTHON: CRITICAL, HOST_KEY_UNKNOWN: CRITICAL,
}
HARMFUL_THROTTLE = 0x8 | 0x20 | 0x40 | 0x80
"""Hardware and thermal slowdowns and power brakes; a software power cap is how a capped fleet works, no alarm."""
DISK_CRITICAL_SHARE = 0.2


def find_reach(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    for row in np.flatnonzero((fleet.reach != LIVE) & (fleet.reach != CONNECTING)).tolist():
        node, reach = fleet.roster.nodes[row].name, int(fleet.reach[row])
        word = REACH_WORDS[reach]
        severity = min(_REACH_SEVERITY[reach], rule.severity)
        yield Found("reach", node, severity, f"{node}  {word}", fleet.cause[row], node, word, at_once=reach != STALE)


def find_gpus(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    by_node: dict[int, list[int]] = {}
    for gpu in fleet.gpu_errors:
        by_node.setdefault(int(fleet.roster.gpu_node[gpu]), []).append(gpu)
    for row, gpus in by_node.items():
        words = f"{_gpu_names(fleet, gpus)} {fleet.gpu_errors[gpus[0]]}"
        yield _of_node(fleet, row, rule, "GPUs do not answer", words, size=len(gpus))


def find_xids(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    codes = fleet.gpu("xid")
    hit = np.flatnonzero(np.isin(fresh_gpus(fleet, "xid"), list(XIDS)))
    for row in np.unique(fleet.roster.gpu_node[hit]).tolist():
        gpus = hit[fleet.roster.gpu_node[hit] == row]
        by_code = {int(code): gpus[codes[gpus] == code].tolist() for code in np.unique(codes[gpus])}
        words = ", ".join(f"{_gpu_names(fleet, some)} XID {code}: {XIDS[code].meaning}" for code, some in by_code.items())
        yield _of_node(fleet, row, rule, f"XID {min(by_code)}", words, f"advised: {XIDS[min(by_code)].advice}", len(gpus))


def find_ecc(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    counts = np.nan_to_num(fresh_gpus(fleet, "ecc_uncorrected"))
    hit = np.flatnonzero(counts > rule.limit)
    for row in np.unique(fleet.roster.gpu_node[hit]).tolist():
        gpus = hit[fleet.roster.gpu_node[hit] == row]
        words = f"{_gpu_names(fleet, gpus)} {int(counts[gpus].sum())} uncorrected memory errors"
        advice = "drain it and reset the GPU before they hit a worker"
        yield _of_node(fleet, row, rule, "uncorrected memory errors", words, advice, len(gpus))


def find_throttled(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    mask = np.nan_to_num(fresh_gpus(fleet, "throttle")).astype(np.int64) & HARMFUL_THROTTLE
    if not mask.any():
        return
    counts, hottest = count_by_node(fleet.roster, mask != 0), max_by_node(fleet.roster, fleet.gpu("temp_c"))
    bits = {bit: count_by_node(fleet.roster, (mask & bit) != 0) for bit in THROTTLE_REASONS if bit & HARMFUL_THROTTLE}
    for row in np.flatnonzero(counts).tolist():
        words = " and ".join(THROTTLE_REASONS[bit] for bit, nodes in bits.items() if nodes[row])
        detail = f"hottest {hottest[row]:.0f} °C" if hottest[row] == hottest[row] else ""
        yield _of_node(fleet, row, rule, words, f"{words} on {counts[row]} GPUs", detail, int(counts[row]))


def find_hot(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    """A node whose heat slows it already is told by `throttle`."""
    if not fleet.gpu_values.shape[1]:
        return
    hottest = max_by_node(fleet.roster, fresh_gpus(fleet, "temp_c"))
    slowed = np.nan_to_num(fleet.gpu("throttle")).astype(np.int64) & HARMFUL_THROTTLE != 0
    for row in _beyond(fleet, rule, hottest, stands):
        if not slowed[fleet.roster.gpus_of(row)].any():
            yield _of_node(fleet, row, rule, "hot", f"hottest GPU {hottest[row]:.0f} °C, limit {rule.limit:.0f} °C")


def find_full_disks(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    free_mib = np.where(fleet.answering, fleet.node("disk_free_mib"), np.nan)
    for row in _beyond(fleet, rule, free_mib, stands):
        found = _of_node(fleet, row, rule, "low on disk", f"{free_mib[row] / 1024:.1f} GiB left on its disk",
                         "launches and logs need it: remove old checkpoints, or cordon the node")
        yield found._replace(severity=CRITICAL) if free_mib[row] < rule.limit * DISK_CRITICAL_SHARE else found


def find_clocks(fleet: Fleet, rule: Rule, stands: set[str]) -> Iterator[Found]:
    offsets = np.where(fleet.answering, fleet.clock_offset_s, np.nan)
    for row in _beyond(fleet, rule, np.abs(offsets), stands):
        yield _of_node(fleet, row, rule, "clock off", f"its clock is {offsets[row]:+.0f} s off", "set up chrony or ntpd there")


def _beyond(fleet: Fleet, rule: Rule, values: np.ndarray, stands: set[str]) -> list[int]:
    """Rows of nodes whose value, (N,), asks for the alarm, or does not let it end yet."""
    with np.errstate(invalid="ignore"):
        hit = values < rule.limit if rule.is_below else values > rule.limit
    if stands:
        for row in (row for name in stands if (row := fleet.roster.node_row.get(name)) is not None):
            hit[row] |= rule.is_beyond(values[row], True)
    return np.flatnonzero(hit).tolist()


def _of_node(fleet: Fleet, row: int, rule: Rule, brief: str, words: str, detail: str = "", size: int = 1) -> Found:
    name = fleet.roster.nodes[row].name
    return Found(rule.name, name, rule.severity, f"{name}  {words}", detail, name, brief, size)


def _gpu_names(fleet: Fleet, gpus: Iterable[int]) -> str:
    return ", ".join(f"GPU{int(fleet.roster.gpu_index[gpu])}" for gpu in gpus)
