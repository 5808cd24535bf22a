"""A span of the history cut out into a file of its own, fit to leave the house: fleets, marks, audit rows and runs, without secrets."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from opsconsole.core.excerpt import of_nodes, scrubbed, scrubbed_roster
from opsconsole.core.fleet import Fleet, Roster
from opsconsole.core.marks import Mark
from opsconsole.core.scrub import Scrubber
from opsconsole.history.audit import Row
from opsconsole.history.reader import Reader
from opsconsole.history.schema import HistoryError
from opsconsole.history.store import Store
from opsconsole.history.ticks import Pen

AT_ONCE = 20
"""Fleets written in one transaction."""
ALL_OVER_S = 10 * 86400
"""After the end of the span every window of it is over."""
TABLES = (
    "create table incident (since real, until real, nodes text, scrubbed text, cut_at real, version text)",
    "create table audit (seq integer primary key, at real, kind text, run text, actor text, body text, hash text)",
    "create table run (id text primary key, began_at real, state text, body text)",
)


@dataclass(frozen=True, slots=True)
class Cut:
    """What goes into the file. nodes: only these, empty for all; people: whether who did what stays."""

    since: float
    until: float
    nodes: tuple[str, ...] = ()
    people: bool = True


@dataclass(frozen=True, slots=True)
class Counts:
    """What is in an incident's file."""

    seconds: int
    marks: int
    audit_rows: int
    runs: int


def save(
    reader: Reader, path: Path, cut: Cut, rows: Iterable[Row], runs: Iterable[dict[str, Any]], version: str, tell: Callable[[int], None]
) -> Counts:
    """Writes the file at `path`. rows, runs: of the audit and the journal, of which those of the span are taken.

    Raises HistoryError, and sqlite3.Error when the file cannot be written.
    """
    scrubber = Scrubber(people=not cut.people)
    kept_rows = [row for row in rows if cut.since <= row.at <= cut.until and _is_about(cut, row.content())]
    kept_runs = [
        run for run in runs
        if run["began_at"] <= cut.until and (run.get("ended_at") or cut.until) >= cut.since and _is_about(cut, run)
    ]
    elsewhere = _subjects_elsewhere(reader, cut)
    marks = [mark for mark in reader.marks(cut.since, cut.until, 1_000_000) if mark.subject not in elsewhere]
    intents = [run["plan"]["intent"] for run in runs]
    actors = {row.actor for row in kept_rows} | {mark.actor for mark in marks} | {intent.get("actor", "") for intent in intents}
    scrubber.meet(sorted(actors - {""}), {row.content().get("reason") for row in kept_rows} | {intent.get("reason") for intent in intents})
    seconds = _record(reader, path, cut, scrubber, marks, tell)
    if not seconds:
        raise HistoryError("nothing was recorded in that span; see what there is with: opsconsole incident show, or choose another")
    _add(path, cut, scrubber, kept_rows, kept_runs, version)
    return Counts(seconds, len(marks), len(kept_rows), len(kept_runs))


def _is_about(cut: Cut, value: Any) -> bool:
    """Whether what is said in a row or a run names one of the nodes; everything does when all are taken."""
    if not cut.nodes:
        return True
    if isinstance(value, dict):
        return value.get("node") in cut.nodes or any(_is_about(cut, one) for one in value.values())
    return isinstance(value, (list, tuple)) and any(one in cut.nodes or _is_about(cut, one) for one in value)


def _subjects_elsewhere(reader: Reader, cut: Cut) -> set[str]:
    """The nodes that are not taken, and their workers: what happened to them is left out."""
    if not cut.nodes:
        return set()
    nodes = {node.name for node in reader.at(cut.until).roster.nodes} - set(cut.nodes)
    return nodes | {name for name, (_, node, _) in reader.workers_known().items() if node not in cut.nodes}


def _record(reader: Reader, path: Path, cut: Cut, scrubber: Scrubber, marks: Iterable[Mark], tell: Callable[[int], None]) -> int:
    """The fleets of the span as a recorder keeps them, each as it was but for what is taken out; how many.

    Not by a recorder: it would find out anew what happened between them, and of what stood before the first it would say that it was new.
    """
    notes = [
        (mark.at, mark.kind, mark.severity, mark.subject, scrubber.told(mark.text, mark.actor), scrubber.person(mark.actor))
        for mark in marks
    ]
    count = 0
    with closing(Store(path)) as store:
        pen = Pen(store.slots())
        fleets = _fleets(reader, cut, scrubber)
        while batch := [pen.write(fleet) for fleet in islice(fleets, AT_ONCE)]:
            store.write(batch, [])
            count += len(batch)
            tell(count)
        store.write([], notes)
        store.settle(int(cut.until) + ALL_OVER_S)
    return count


def _fleets(reader: Reader, cut: Cut, scrubber: Scrubber) -> Iterator[Fleet]:
    rosters: dict[int, tuple[Roster, Roster]] = {}  # by identity: fleets share theirs, and a kept one is not another's later
    for t in reader.ticks(cut.since, cut.until):
        fleet = reader.at(t)
        if id(fleet.roster) not in rosters:
            whole = of_nodes(fleet, cut.nodes).roster if cut.nodes else fleet.roster
            rosters[id(fleet.roster)] = (fleet.roster, scrubbed_roster(whole, scrubber))
        roster = rosters[id(fleet.roster)][1]
        yield scrubbed(of_nodes(fleet, cut.nodes) if cut.nodes else fleet, scrubber, roster)


def _add(path: Path, cut: Cut, scrubber: Scrubber, rows: list[Row], runs: list[dict[str, Any]], version: str) -> None:
    """What lies in files of its own in a state directory, and what the file is; all of it in one file from now on."""
    removed = "secrets, addresses" + ("" if cut.people else ", people and their words")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("begin")
        for table in TABLES:
            db.execute(table)
        about = (cut.since, cut.until, " ".join(cut.nodes), removed, time.time(), version)
        db.execute("insert into incident values (?,?,?,?,?,?)", about)
        db.executemany("insert into audit values (?,?,?,?,?,?,?)", [
            (row.seq, row.at, row.kind, row.run, scrubber.person(row.actor), json.dumps(scrubber.value(row.content())), row.hash)
            for row in rows
        ])
        db.executemany("insert into run values (?,?,?,?)", [
            (run["id"], run["began_at"], run["state"], json.dumps(scrubber.value(run))) for run in runs
        ])
        db.execute("commit")
        db.execute("pragma journal_mode=delete")
        db.execute("vacuum")  # sealing leaves room where the seconds were
