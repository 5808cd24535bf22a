"""Reading the history for what it teaches: bounded tables of workers and GPUs become one core.learned.Learned for every front."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from opsconsole.core import lessons
from opsconsole.core.fleet import Fleet
from opsconsole.core.forecast import DAY_S
from opsconsole.core.learned import Learned
from opsconsole.core.money import midnight
from opsconsole.core.room import GONE
from opsconsole.core.speeds import chips_of
from opsconsole.core.wording import age_text
from opsconsole.history.reader import Reader
from opsconsole.history.schema import HistoryError

LATELY_S = 60.0
STEPS_S = (5, 10, 20, 60, 120, 300, 600, 1800, 3600, 7200)
"""Lengths of a step that tables are asked with: whole parts of an hour, or whole hours."""
RECENT_S, LONG_S = 86400.0, 28 * 86400.0
RECENT_STEPS, LONG_STEPS, STEPS_LEAST = 720, 800, 12
VALUES_LIMIT = 400_000
"""Of one series in one table: a fleet of thousands is asked in longer steps, so that it takes no longer than a small one."""
WORKERS_OF_A_KIND = 40
"""So many workers of a model on a chip tell its joules; more would tell the same."""
WORKER_SERIES = ("running", "tokens_per_s", "requests_per_s", "itl_p95_ms", "ttft_p95_ms", "queue_depth")


def learn(path: Path, fleet: Fleet) -> Learned:
    """What the history at `path` teaches about a fleet, as of its moment. Never raises: what keeps it from learning is its note."""
    try:
        with Reader(path) as reader:
            span = reader.span()
            if span is None:
                return Learned(note="nothing is recorded yet: figures stand on this moment alone")
            return _Lesson(reader, fleet, span).learned()
    except HistoryError as error:
        return Learned(note=f"nothing was learned from history: {error}")


class _Tables(NamedTuple):
    """Some series of one kind: times (T,) in equal steps, values (S, T) by column, NaN where nothing was recorded."""

    times: np.ndarray
    entities: tuple[str, ...]
    values: dict[str, np.ndarray]
    step_s: float


class _Lesson:
    def __init__(self, reader: Reader, fleet: Fleet, span: tuple[float, float]) -> None:
        self.reader, self.fleet, self.now = reader, fleet, min(span[1], fleet.at)
        self.since = max(span[0], self.now - LONG_S)
        self.known = reader.workers_known()

    def learned(self) -> Learned:
        since = max(self.since, self.now - RECENT_S)
        recent = self._table("worker", WORKER_SERIES, since, self._step_s(since, RECENT_STEPS, len(self.known)))
        kinds, values = self._kinds(recent.entities), recent.values
        times, demand, step_s = self._demand()
        served = lessons.summed([None if kind is None else kind[0] for kind in kinds], values["tokens_per_s"])
        return Learned(
            self.since, self.now, lessons.rates(kinds, values), lessons.forecasts(times, demand), self._lately(step_s, demand),
            self._power(),
            self._burns(recent, kinds),
            *self._energy_and_caps(recent),
            {model: lessons.tokens_since(recent.times, line, midnight(self.fleet.at)) for model, line in served.items()},
            lessons.peak_over_mean(times, demand), self._note(),
        )

    def _note(self) -> str:
        seen_s = self.now - self.since
        if seen_s >= DAY_S:
            return ""
        ahead = age_text(seen_s * lessons.AHEAD_SHARE)
        return f"only {age_text(seen_s)} of history: no season of the day is known, forecasts see {ahead} ahead"

    def _step_s(self, since: float, steps: int, entities: int) -> float:
        """The shortest with which there are no more steps than that, and no more values than VALUES_LIMIT."""
        steps = max(min(steps, VALUES_LIMIT // max(entities, 1)), STEPS_LEAST)
        return float(next((step for step in STEPS_S if (self.now - since) / step <= steps), STEPS_S[-1]))

    def _table(self, kind: str, columns: tuple[str, ...], since: float, step_s: float) -> _Tables:
        """Up to the last whole step: the one under way would be a mean of less."""
        since, until = (np.floor(moment / step_s) * step_s for moment in (since, self.now))
        found = self.reader.table(tuple(f"{kind}.{name}" for name in columns), since, max(until - 1.0, since), step_s)
        told = {name: lessons.in_steps(np.asarray(found.times, float), found.values[f"{kind}.{name}"], step_s) for name in columns}
        return _Tables(told[columns[0]][0], tuple(found.entities), {name: values for name, (_, values) in told.items()}, step_s)

    def _kinds(self, workers: tuple[str, ...]) -> list[lessons.Kind | None]:
        """(model, chip) of each worker, None when it is not known any more."""
        return [(self.known[name][0], self.known[name][2]) if name in self.known else None for name in workers]

    def _demand(self) -> tuple[np.ndarray, dict[str, np.ndarray], float]:
        """tokens/s that each configured model was asked for over all that is kept."""
        table = self._table("model", ("tokens_per_s", "requests_per_s", "queue_depth"), self.since, self._step_s(self.since, LONG_STEPS, 1))
        configured = {model.name for model in self.fleet.roster.models}
        tokens, requests, queue = (table.values[name] for name in ("tokens_per_s", "requests_per_s", "queue_depth"))
        return table.times, {
            name: lessons.asked_for(tokens[row], requests[row], queue[row], table.step_s)
            for row, name in enumerate(table.entities) if name in configured
        }, table.step_s

    def _lately(self, step_s: float, demand: dict[str, np.ndarray]) -> dict[str, float]:
        """The mean of the last minute, or of the last step where that is longer."""
        steps = max(round(LATELY_S / step_s), 1)
        return {name: float(np.nanmean(line[-steps:])) for name, line in demand.items() if np.isfinite(line[-steps:]).any()}

    def _burns(self, recent: _Tables, kinds: list[lessons.Kind | None]) -> dict[str, Any]:
        """With what waited at the router, which no worker measures."""
        since = float(recent.times[0]) if len(recent.times) else self.now
        table = self._table("model", ("queue_depth", "requests_per_s"), since, recent.step_s)
        queues = lessons.summed([None if kind is None else kind[0] for kind in kinds], recent.values["queue_depth"])
        waits = {} if len(table.times) != len(recent.times) else {
            name: lessons.router_wait_ms(table.values["queue_depth"][row], queues[name], table.values["requests_per_s"][row])
            for row, name in enumerate(table.entities) if name in queues
        }
        ttft, requests = recent.values["ttft_p95_ms"], recent.values["requests_per_s"]
        return lessons.burns_of(self.fleet.roster.models, kinds, recent.times, ttft, requests, waits, self.now)

    def _power(self) -> dict[str, Any]:
        """W of each site's GPUs as they will be, by all that is kept."""
        table = self._table("site", ("power_w",), self.since, self._step_s(self.since, LONG_STEPS, 1))
        return lessons.forecasts(table.times, dict(zip(table.entities, table.values["power_w"], strict=True)))

    def _energy_and_caps(self, recent: _Tables) -> tuple[dict, dict]:
        """Of the workers that are there now and share their GPUs with none: only of them it is known which GPUs they hold."""
        rows = self._alone(recent.entities)
        since = float(recent.times[0]) if len(recent.times) else self.now
        gpus = self._table("gpu", ("power_w", "power_limit_w"), since, recent.step_s)
        place = {entity: row for row, entity in enumerate(gpus.entities)}
        held = {row: [place[name] for name in names if name in place] for row, names in rows.items()}
        held = {row: found for row, found in held.items() if found and len(found) == len(rows[row])}
        if not held or len(gpus.times) != len(recent.times):
            return {}, {}
        order = list(held)
        kinds = [self._kinds(recent.entities)[row] for row in order]
        watts = np.stack([gpus.values["power_w"][held[row]].sum(axis=0) for row in order])
        limits = np.stack([gpus.values["power_limit_w"][held[row]].min(axis=0) for row in order])
        tokens, running = (recent.values[name][order] for name in ("tokens_per_s", "running"))
        counts = [len(held[row]) for row in order]
        return lessons.energies(kinds, counts, tokens, watts), lessons.caps(kinds, limits, running, tokens, watts)

    def _alone(self, workers: tuple[str, ...]) -> dict[int, list[str]]:
        """Names of the GPUs of some workers of each kind, by their row in the table."""
        place = {name: row for row, name in enumerate(workers)}
        there = [worker for worker in self.fleet.workers if worker.state not in GONE]
        holders: dict[tuple[str, int], int] = {}
        for worker in there:
            for gpu in worker.gpus:
                holders[worker.node, gpu] = holders.get((worker.node, gpu), 0) + 1
        found: dict[int, list[str]] = {}
        counts: dict[lessons.Kind, int] = {}
        chips = chips_of(self.fleet.roster)
        for worker in there:
            row = self.fleet.roster.node_row.get(worker.node)
            alone = worker.gpus and all(holders[worker.node, gpu] == 1 for gpu in worker.gpus)
            if worker.name in place and row is not None and alone and counts.get((worker.model, chips[row]), 0) < WORKERS_OF_A_KIND:
                counts[worker.model, chips[row]] = counts.get((worker.model, chips[row]), 0) + 1
                found[place[worker.name]] = [f"{worker.node}/{gpu}" for gpu in worker.gpus]
        return found
