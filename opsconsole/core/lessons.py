"""From recorded tables to what they teach: rates by chip, demand by model, draw by site, burns, joules and what limits gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from opsconsole.core.burn import Burn, burns
from opsconsole.core.energy import CapPoint, Energy, cap_points
from opsconsole.core.fleet import Model
from opsconsole.core.forecast import DAY_S, Forecast, forecast
from opsconsole.core.rates import Rate, Readings, fit_rate

AHEAD_SHARE = 1 / 3
"""A forecast sees at most so much of the past's length ahead."""
AHEAD_MOST_S = 2 * DAY_S
PEAK_PERCENTILE = 99.0
HOURS_LEAST = 22
"""So many hours of the last day must have been seen, or its peak is not known."""

Kind = tuple[str, str]
"""(model, chip)."""


def rows_by(keys: Sequence[object]) -> dict[object, np.ndarray]:
    """Rows of a table by what they belong to; those of None are left out."""
    found: dict[object, list[int]] = {}
    for row, key in enumerate(keys):
        if key is not None:
            found.setdefault(key, []).append(row)
    return {key: np.array(rows) for key, rows in found.items()}


def rates(kinds: Sequence[Kind | None], values: Mapping[str, np.ndarray]) -> dict[Kind, Rate]:
    """Of each (model, chip). kinds: (W,) of each worker; values: (W, T) running, tokens_per_s, itl_p95_ms and ttft_p95_ms, means of equal
    steps, NaN where nothing was heard."""
    found = {}
    for kind, rows in rows_by(kinds).items():
        columns = (values[name][rows].ravel() for name in ("running", "tokens_per_s", "itl_p95_ms", "ttft_p95_ms"))
        rate = fit_rate(Readings(*columns))
        if rate is not None:
            found[kind] = rate
    return found


def summed(keys: Sequence[object], values: np.ndarray) -> dict[object, np.ndarray]:
    """Sums of the rows of each key, (T,): NaN only where none of them was heard."""
    found = {}
    for key, rows in rows_by(keys).items():
        known = np.isfinite(values[rows])
        found[key] = np.where(known.any(axis=0), np.where(known, values[rows], 0.0).sum(axis=0), np.nan)
    return found


def asked_for(tokens_per_s: np.ndarray, requests_per_s: np.ndarray, queue: np.ndarray, step_s: float) -> np.ndarray:
    """tokens/s that came in, (T,): what was served and what piled up meanwhile, each request as long as those that ended in the step.

    10 requests/s served at 200 tokens each while the queue grew by 30 in 10 s: 2000 + 3 * 200 = 2600 tokens/s.
    """
    grown = np.diff(queue, prepend=queue[:1]) / step_s
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(requests_per_s > 0, tokens_per_s / requests_per_s, 0.0)
    return np.maximum(tokens_per_s + np.nan_to_num(grown * each), 0.0)


def in_steps(times: np.ndarray, values: np.ndarray, step_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Times (T,) in whole steps, and values (S, T), with the steps that were never recorded put in as NaN: (L,) and (S, L)."""
    if not len(times):
        return times, values
    places = np.rint((times - times[0]) / step_s).astype(np.int64)
    full = np.full((len(values), int(places[-1]) + 1), np.nan)
    full[:, places] = values
    return times[0] + step_s * np.arange(full.shape[1]), full


def forecasts(times: np.ndarray, series: Mapping[str, np.ndarray]) -> dict[str, Forecast]:
    """Of each series that is long enough: a third of its past ahead, two days at most. times: (T,) epoch seconds in equal steps."""
    if len(times) < 2:
        return {}
    step_s = float(np.median(np.diff(times)))
    found = {}
    for name, values in series.items():
        known = np.flatnonzero(np.isfinite(values))
        seen_s = float(times[known[-1]] - times[known[0]]) if len(known) else 0.0
        ahead = forecast(times, values, int(min(AHEAD_SHARE * seen_s, AHEAD_MOST_S) / step_s))
        if ahead is not None:
            found[name] = ahead
    return found


def burns_of(
    models: Sequence[Model], kinds: Sequence[Kind | None], times: np.ndarray, ttft_p95_ms: np.ndarray, requests_per_s: np.ndarray,
    waits_ms: Mapping[str, np.ndarray], now: float,
) -> dict[str, tuple[Burn, ...]]:
    """Of each model with a TTFT objective that has been seen. Arrays: (W, T).

    waits_ms: (T,) by model, what requests wait at the router before a worker's own measure begins (see router_wait_ms).
    """
    rows = rows_by([None if kind is None else kind[0] for kind in kinds])
    return {
        model.name: burns(
            times, ttft_p95_ms[rows[model.name]] + waits_ms.get(model.name, 0.0), requests_per_s[rows[model.name]], model.ttft_p95_ms, now,
        )
        for model in models if model.ttft_p95_ms is not None and model.name in rows
    }


def router_wait_ms(queue: np.ndarray, in_workers: np.ndarray, requests_per_s: np.ndarray) -> np.ndarray:
    """How long the requests wait that are at the router, (T,): their number over the rate at which requests end (Little's law), in ms.

    queue: of the model, in_workers: of that the part in its workers; (T,). 0 where not known. 12 at the router at 4 requests/s: 3000 ms.
    """
    waiting = np.nan_to_num(np.maximum(queue - np.nan_to_num(in_workers), 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(waiting > 0, 1000.0 * waiting / np.maximum(np.nan_to_num(requests_per_s), 1e-3), 0.0)


def energies(kinds: Sequence[Kind | None], gpus: Sequence[int], tokens_per_s: np.ndarray, watts: np.ndarray) -> dict[Kind, Energy]:
    """J a token of each (model, chip): all that was drawn over all that was given, while tokens were given.

    gpus: (W,) of each worker; tokens_per_s, watts: (W, T), watts of all GPUs of the worker together.
    """
    found = {}
    for kind, rows in rows_by(kinds).items():
        used = (tokens_per_s[rows] > 0) & np.isfinite(watts[rows])
        tokens = float(np.where(used, tokens_per_s[rows], 0.0).sum())
        drawn = float(np.where(used, watts[rows], 0.0).sum())
        held = float((used * np.array(gpus)[rows][:, None]).sum())
        if tokens > 0:
            found[kind] = Energy(drawn / tokens, drawn / held, int(used.sum()))
    return found


def caps(kinds: Sequence[Kind | None], limits_w: np.ndarray, running: np.ndarray, tokens_per_s: np.ndarray,
         watts: np.ndarray) -> dict[Kind, tuple[CapPoint, ...]]:
    """What each power limit gave, by (model, chip). All (W, T); limits_w: of one GPU of the worker."""
    found = {}
    for kind, rows in rows_by(kinds).items():
        points = cap_points(*(values[rows].ravel() for values in (limits_w, running, tokens_per_s, watts)))
        if points:
            found[kind] = points
    return found


def tokens_since(times: np.ndarray, tokens_per_s: np.ndarray, since: float) -> float:
    """Tokens given since a moment: the rate times its step, as far as it is known. (T,)."""
    step_s = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    here = times >= since
    return float(np.nansum(tokens_per_s[here])) * step_s


def peak_over_mean(times: np.ndarray, series: Mapping[str, np.ndarray]) -> float | None:
    """How far the busiest hundredth of the last day lay above the day's mean, all series together; None when no whole day was seen."""
    if len(times) < 2 or not series:
        return None
    last_day = times > times[-1] - DAY_S
    total = np.sum([np.nan_to_num(values) for values in series.values()], axis=0)[last_day]
    heard = np.any([np.isfinite(values) for values in series.values()], axis=0)[last_day]
    hours = np.unique(times[last_day][heard] // 3600.0)
    if len(hours) < HOURS_LEAST or not total[heard].mean() > 0:
        return None
    return max(float(np.percentile(total[heard], PEAK_PERCENTILE) / total[heard].mean()), 1.0)
