"""What is so: a batch of events folded into one fleet gives the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

import numpy as np

from opsconsole.core import alarm_book
from opsconsole.core import events as happened
from opsconsole.core.alarm_memory import Act
from opsconsole.core.alarms import alarmed
from opsconsole.core.fleet import (
    ANSWERING,
    HUNG,
    LIVE,
    NO_DRIVER,
    SILENT_AFTER_S,
    STALE,
    STALE_AFTER_S,
    TREND_LENGTH,
    Fleet,
    Worker,
)
from opsconsole.core.headlines import headlines
from opsconsole.core.roster import with_facts

ACTS_KEPT = 50
"""Actions that are remembered for the alarms that may follow them."""
CLOCK_DIGITS = 2
"""Ages and offsets are known to a hundredth of a second: finer says nothing, and so the history gives them back exactly."""


def fold(fleet: Fleet, events: Iterable[happened.Event]) -> Fleet:
    """The next Fleet. Events of unknown nodes are ignored; a sample that does not fit its node's facts keeps the last good one."""
    events = list(events)
    fleet = with_facts(fleet, [event for event in events if isinstance(event, happened.Linked)])
    draft = _Draft(fleet)
    for event in events:
        _TAKES.get(type(event), _ignore)(draft, event)
    return draft.finish()


class _Draft:
    """The next fleet while it is being made: arrays are copies, to be frozen by `finish`."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.roster = fleet.roster
        self.at, self.mono, self.ticked = fleet.at, fleet.mono, False
        self.reach = fleet.reach.copy()
        self.cause = list(fleet.cause)
        self.sampled_mono = fleet.sampled_mono.copy()
        self.clock_offset_s = fleet.clock_offset_s.copy()
        self.node_values = fleet.node_values.copy()
        self.gpu_values = fleet.gpu_values.copy()
        self.gpu_errors = dict(fleet.gpu_errors)
        self.processes = dict(fleet.processes)
        self.cordons = fleet.cordons
        self.workers: dict[str, tuple[Worker, ...]] = dict(fleet.workers_of_node)
        self.router_queue, self.router_cause = fleet.router_queue, fleet.router_cause
        self.history_cause, self.own_causes = fleet.history_cause, fleet.own_causes
        self.book, self.memory = fleet.alarm_book, fleet.alarm_memory

    def row(self, node: str) -> int | None:
        return self.roster.node_row.get(node)

    def finish(self) -> Fleet:
        for array in (self.reach, self.sampled_mono, self.clock_offset_s, self.node_values, self.gpu_values):
            array.flags.writeable = False
        fleet = replace(
            self.fleet, at=self.at, mono=self.mono, reach=self.reach, cause=tuple(self.cause), sampled_mono=self.sampled_mono,
            clock_offset_s=self.clock_offset_s, node_values=self.node_values, gpu_values=self.gpu_values, gpu_errors=self.gpu_errors,
            processes=self.processes, cordons=self.cordons,
            workers=tuple(chain.from_iterable(self.workers.get(node.name, ()) for node in self.roster.nodes)),
            router_queue=self.router_queue, router_cause=self.router_cause, history_cause=self.history_cause,
            own_causes=self.own_causes, alarm_book=self.book, alarm_memory=self.memory,
        )
        fleet = alarmed(self.fleet, fleet)
        return _with_trends(fleet) if self.ticked and int(self.at) > int(self.fleet.at) else fleet


def _with_trends(fleet: Fleet) -> Fleet:
    """Trends grow by one value a second."""
    trend = np.concatenate([fleet.trend[:, 1 - TREND_LENGTH:], headlines(fleet)[:, None]], axis=1)
    queues = {}
    for model in fleet.roster.models:
        before = fleet.model_queue_trend.get(model.name, np.zeros(0))
        queue = fleet.queue_of_model(model.name)
        queues[model.name] = np.append(before[1 - TREND_LENGTH:], np.nan if queue is None else queue)
    return replace(fleet, trend=trend, model_queue_trend=queues)


def _sampled(draft: _Draft, event: happened.Sampled) -> None:
    row = draft.row(event.node)
    if row is None:
        return
    sample, gpus = event.sample, draft.roster.gpus_of(row)
    if sample.gpu.shape[1] != gpus.stop - gpus.start:
        draft.cause[row] = "its sample has another number of GPUs than its facts; the last good values stand"
        return
    draft.gpu_values[:, gpus] = sample.gpu
    draft.node_values[:, row] = sample.node
    draft.sampled_mono[row] = round(event.mono, CLOCK_DIGITS)
    draft.clock_offset_s[row] = round(sample.wall - event.at, CLOCK_DIGITS)
    draft.workers[event.node] = sample.workers
    _set_details(draft, row, gpus, event)
    gpu_error = draft.roster.nodes[row].gpu_error
    draft.reach[row] = NO_DRIVER if gpu_error else LIVE
    draft.cause[row] = gpu_error


def _set_details(draft: _Draft, row: int, gpus: slice, event: happened.Sampled) -> None:
    if draft.gpu_errors:
        for gpu in range(gpus.start, gpus.stop):
            draft.gpu_errors.pop(gpu, None)
    for gpu, text in event.sample.gpu_errors.items():
        if 0 <= gpu < gpus.stop - gpus.start:
            draft.gpu_errors[gpus.start + gpu] = text
    if event.sample.processes:
        draft.processes[row] = event.sample.processes
    else:
        draft.processes.pop(row, None)
    if draft.cordons.get(row) != event.sample.cordon:
        kept = {other: cordon for other, cordon in draft.cordons.items() if other != row}
        draft.cordons = kept if event.sample.cordon is None else {**kept, row: event.sample.cordon}


def _lost(draft: _Draft, event: happened.Lost) -> None:
    row = draft.row(event.node)
    if row is not None:
        draft.reach[row] = event.reach
        draft.cause[row] = event.cause


def _troubled(draft: _Draft, event: happened.Troubled) -> None:
    row = draft.row(event.node)
    if row is not None and draft.reach[row] in ANSWERING:
        draft.cause[row] = event.cause


def _ticked(draft: _Draft, event: happened.Ticked) -> None:
    draft.at, draft.mono, draft.ticked = event.at, round(event.mono, CLOCK_DIGITS), True
    age_s = event.mono - draft.sampled_mono
    for row in np.flatnonzero(np.isin(draft.reach, (*ANSWERING, STALE)) & (age_s > STALE_AFTER_S)):
        # a link that says nothing of its own (it hangs, too) must not keep a silent node looking alive
        draft.reach[row] = HUNG if age_s[row] > 2 * SILENT_AFTER_S else STALE
        draft.cause[row] = "its agent is silent, values are the last seen"


def _routed(draft: _Draft, event: happened.Routed) -> None:
    draft.router_queue, draft.router_cause = event.queue, event.cause


def _recorded(draft: _Draft, event: happened.Recorded) -> None:
    draft.history_cause = event.cause


def _hampered(draft: _Draft, event: happened.Hampered) -> None:
    draft.own_causes = {**draft.own_causes, event.rule: event.cause}


def _acted(draft: _Draft, event: happened.Acted) -> None:
    acts = (*draft.memory.acts, Act(event.at, event.subject, event.text, event.actor))
    draft.memory = replace(draft.memory, acts=acts[-ACTS_KEPT:])


def _booked(draft: _Draft, event: happened.Booked) -> None:
    draft.book = alarm_book.written(draft.book, event.said)


def _remembered(draft: _Draft, event: happened.Remembered) -> None:
    draft.book, draft.memory = event.book, replace(draft.memory, known_since=event.since)


def _ignore(draft: _Draft, event: happened.Event) -> None:
    """Linked was taken before the draft began; answers concern runs, not the fleet."""


_TAKES = {
    happened.Sampled: _sampled,
    happened.Lost: _lost,
    happened.Troubled: _troubled,
    happened.Ticked: _ticked,
    happened.Routed: _routed,
    happened.Recorded: _recorded,
    happened.Hampered: _hampered,
    happened.Acted: _acted,
    happened.Booked: _booked,
    happened.Remembered: _remembered,
}
