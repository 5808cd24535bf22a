"""How a thing is said, once for every front: ages, numbers, reasons, and the JSON that scripts rely on."""

from __future__ import annotations

import math

from opsconsole.core.as_json import (
    alarm_json,
    alarms_json,
    at_text,
    gpu_json,
    gpus_json,
    model_json,
    models_json,
    node_json,
    nodes_json,
    site_json,
    sites_json,
    status_json,
    worker_json,
    workers_json,
)
from opsconsole.core.severity import (
    CRITICAL,
    OK,
    WARNING,
    reason_of_gpu,
    reason_of_node,
    reasons,
    severities,
    severity_of_node,
    throttle_words,
    worst_first,
    xid_text,
)

__all__ = [
    "CRITICAL", "OK", "UNKNOWN", "WARNING", "age_text", "alarm_json", "alarms_json", "at_text", "count_text", "gpu_json", "gpus_json",
    "mib_text", "model_json",
    "models_json", "node_json", "nodes_json", "number_text", "power_text", "reason_of_gpu", "reason_of_node", "reasons", "severities",
    "severity_of_node", "site_json", "sites_json", "status_json", "throttle_words", "worker_json", "workers_json", "worst_first",
    "xid_text",
]

UNKNOWN = "–"
"""Drawn where nothing is known: never a zero."""

_AGES = ((60.0, 1.0, "s"), (3600.0, 60.0, "min"), (86400.0, 3600.0, "h"), (math.inf, 86400.0, "d"))
_MAGNITUDES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def age_text(seconds: float | None) -> str:
    """An age or a duration in its largest unit: "4 s", "12 min", "3 h", "2 d"; "–" when there is none."""
    if not _known(seconds):
        return UNKNOWN
    for limit, unit_s, word in _AGES:
        if seconds < limit:
            return f"{int(max(seconds, 0) / unit_s)} {word}"
    return UNKNOWN


def number_text(value: float | None, digits: int = 0, unit: str = "") -> str:
    """A number with a fixed count of digits behind the point and its unit; "–" when unknown."""
    if not _known(value):
        return UNKNOWN
    said = f"{value:.{digits}f}"
    if float(said) == 0:
        said = said.lstrip("-")
    return f"{said} {unit}" if unit else said


def count_text(value: float | None) -> str:
    """A number of any size in at most five cells: "17", "1.2k", "34M"; "–" when unknown."""
    if not _known(value):
        return UNKNOWN
    for size, letter in _MAGNITUDES:
        if abs(value) >= size * 0.9995:
            scaled = value / size
            return f"{scaled:.1f}{letter}" if abs(scaled) < 9.95 else f"{scaled:.0f}{letter}"
    return number_text(value, 0 if abs(value) >= 10 or value == int(value) else 1)


def power_text(watts: float | None) -> str:
    """Power in W below 10 kW, else in kW or MW; "–" when unknown."""
    if not _known(watts):
        return UNKNOWN
    if abs(watts) < 9999.5:
        return f"{watts:.0f} W"
    return f"{watts / 1e3:.1f} kW" if abs(watts) < 999.95e3 else f"{watts / 1e6:.2f} MW"


def mib_text(mib: float | None) -> str:
    """Memory in MiB below 1 GiB, else GiB or TiB; "–" when unknown."""
    if not _known(mib):
        return UNKNOWN
    if mib < 1024:
        return f"{mib:.0f} MiB"
    return f"{mib / 1024:.1f} GiB" if mib < 1024**2 else f"{mib / 1024**2:.1f} TiB"
