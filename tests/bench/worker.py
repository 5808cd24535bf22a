"""What an inference worker does on this machine: start, decode speed, host overhead, latency under load, memory, memory roof.

Rerun: python tests/bench/worker.py [--quick] [--only PART ...] [--model SIZE_OR_FOLDER ...] [--json]
Whoever measures has at least two cores: workers are pinned to the last where speed is compared, clients run on the others.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import worker_decode
import worker_latency
import worker_overhead
import worker_process
import worker_roof
from worker_models import Model, find_models


class Part(NamedTuple):
    """One table; `measure` takes the models and whether to be quick."""

    title: str
    measure: Callable[[list[Model], bool], Iterator[dict]]


PARTS = {
    "start": Part(worker_process.START_TITLE, worker_process.measure_starts),
    "decode": Part(worker_decode.TITLE, worker_decode.measure),
    "overhead": Part(worker_overhead.TITLE, worker_overhead.measure),
    "latency": Part(worker_latency.TITLE, worker_latency.measure),
    "memory": Part(worker_process.MEMORY_TITLE, worker_process.measure_crowds),
    "roof": Part(worker_roof.TITLE, worker_roof.measure),
}


def shown(value: object) -> str:
    """A number with as many digits as its size deserves; nothing where there is none."""
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def print_table(title: str, rows: list[dict]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [columns, *([shown(row.get(name)) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(f"\n{title}")
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few minutes: fewer rounds, shorter runs")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--model", nargs="+", default=["demo", "13m"], help="demo, 13m, 135m, a checkpoint folder or random:SIZE")
    parser.add_argument("--json", action="store_true", help="one object with the rows of each part instead of tables")
    said = parser.parse_args()
    measured = {}
    with tempfile.TemporaryDirectory(prefix="opsconsole-bench-models-") as folder:
        models = find_models(said.model, Path(folder))
        for name in said.only:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            measured[name] = list(PARTS[name].measure(models, said.quick))
            if measured[name] and not said.json:
                print_table(PARTS[name].title, measured[name])
    if said.json:
        print(json.dumps(measured))


if __name__ == "__main__":
    main()
