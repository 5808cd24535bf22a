"""Starts one worker from the command line.

The journey of one request: `server` takes the HTTP body, `api` checks it, `text` makes tokens of it, `service` hands it to
`engine`, which gives it a slot and asks `runner` for steps of the compiled `programs` (`model` and `sampling`); tokens come
back through `service`, become text again, and `answers` writes them to the client.
"""

import os
import sys
from collections.abc import Sequence

from . import environment
from .options import parse_options


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to end; returns the exit status."""
    options = parse_options(arguments)
    environment.prepare()
    import asyncio

    from .server import serve

    return asyncio.run(serve(options))


if __name__ == "__main__":
    status = main()
    # Native threads of a half-loaded or a finished engine must not be able to delay or break the exit.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
