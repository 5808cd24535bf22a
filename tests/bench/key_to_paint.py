"""How long a key takes to change the screen while 1,000 nodes x 8 GPUs change every second, seen from a pty; and the screen's CPU.

Rerun: python tests/bench/key_to_paint.py [NODES [GPUS [KEYS]]]
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import random
import select
import struct
import subprocess
import sys
import termios
import time

from rig import collector, cpu_s, memory_mib

COLUMNS, ROWS = 160, 50


def open_screen(options: list[str]) -> tuple[subprocess.Popen, int]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "opsconsole", *options], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    return process, ours


def read_for(terminal: int, seconds: float) -> bytes:
    """All that is drawn within so many seconds."""
    drawn, give_up = bytearray(), time.monotonic() + seconds
    while (left := give_up - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            drawn += os.read(terminal, 1 << 20)
    return bytes(drawn)


def key_ms(terminal: int, key: bytes) -> float:
    began = time.perf_counter()
    os.write(terminal, key)
    select.select([terminal], [], [], 5.0)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    nodes, gpus, keys = (int(sys.argv[index]) if len(sys.argv) > index else default for index, default in ((1, 1000), (2, 8), (3, 300)))
    chance = random.Random(1)
    with collector(nodes, gpus) as (_, options):
        began = time.perf_counter()
        process, terminal = open_screen(options)
        select.select([terminal], [], [], 10.0)
        first_ms = (time.perf_counter() - began) * 1000
        read_for(terminal, 8.0)
        before, began = cpu_s(process.pid), time.monotonic()
        drawn = read_for(terminal, 20.0)
        share = (cpu_s(process.pid) - before) / (time.monotonic() - began)
        took_ms = []
        for _ in range(keys):
            took_ms.append(key_ms(terminal, chance.choice((b"j", b"j", b"k"))))
            read_for(terminal, chance.uniform(0.03, 0.12))
        took_ms.sort()
        p50, p99 = took_ms[len(took_ms) // 2], took_ms[int(len(took_ms) * 0.99)]
        print(f"{nodes} nodes x {gpus} GPUs at {COLUMNS}x{ROWS}: "
              f"first byte {first_ms:.0f} ms; key to paint p50 {p50:.1f} ms, p99 {p99:.1f} ms; "
              f"screen {share:.1%} of a core, {len(drawn) / 20 / 1000:.1f} kB/s to the terminal, {memory_mib(process.pid):.0f} MiB")
        process.terminate()
        with contextlib.suppress(OSError):  # the screen has closed its end
            read_for(terminal, 1.0)
        process.wait(10)


if __name__ == "__main__":
    main()
