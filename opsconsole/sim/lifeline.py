"""What keeps a program of the demo from outliving it: its standard input, which ends however the demo ends."""

from __future__ import annotations

import asyncio
import os

CHUNK_BYTES = 65536


def watch_stdin(stop: asyncio.Event) -> None:
    """Sets `stop` when standard input ends; what comes before is thrown away."""

    def read() -> None:
        if not os.read(0, CHUNK_BYTES):
            loop.remove_reader(0)
            stop.set()

    loop = asyncio.get_running_loop()
    try:
        loop.add_reader(0, read)
    except PermissionError:  # a plain file or /dev/null cannot be watched, and is at its end anyway
        stop.set()
