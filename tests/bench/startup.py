"""How long the console takes to answer: medians of whole processes beside what nothing at all costs.

Rerun: python tests/bench/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 15
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import click": [sys.executable, "-c", "import click"],
    "opsconsole --help": [sys.executable, "-m", "opsconsole", "--help"],
    "opsconsole --version": [sys.executable, "-m", "opsconsole", "--version"],
    "opsconsole nodes --help": [sys.executable, "-m", "opsconsole", "nodes", "--help"],
    "import textual.app": [sys.executable, "-c", "import textual.app"],
}


def once_ms(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    times_ms = {name: [] for name in COMMANDS}
    for turn in range(RUNS + 1):
        for name, command in COMMANDS.items():  # in turn, so that a noisy minute is shared by all
            took_ms = once_ms(command)
            if turn:
                times_ms[name].append(took_ms)
    click_ms = statistics.median(times_ms["import click"])
    for name, took in times_ms.items():
        median_ms = statistics.median(took)
        print(f"{name:<26} {median_ms:7.1f} ms   {median_ms / click_ms:4.2f} x import click")


if __name__ == "__main__":
    main()
