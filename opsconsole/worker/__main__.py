"""Starts one worker from the command line.

The journey of one request: `server` takes the HTTP body, `api` checks it, `text` makes tokens of it, `service` hands it to
`engine`, which gives it a slot and asks `runner` for steps of the compiled `programs` (`model` and `sampling`); tokens come
back through `service`, become text again, and `answers` writes them to the client.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import environment


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; wrong usage ends the process with status 2."""
    parser = argparse.ArgumentParser(prog="python -m opsconsole.worker", description="Serve one model over HTTP.")
    parser.add_argument("--model", required=True, help="checkpoint folder, or random:tiny[?seed=N] for weights drawn from a seed")
    parser.add_argument("--port", type=_at_least(0), required=True, help="0 takes any free one and says which")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--name", help="what clients call the model (default: the folder's name)")
    parser.add_argument("--slots", type=_at_least(1), default=4, help="requests that run at once (default: %(default)s)")
    parser.add_argument("--max-len", type=_at_least(2), default=512, help="tokens of prompt and answer together (default: %(default)s)")
    parser.add_argument("--queue-limit", type=_at_least(0), default=64, help="requests that may wait for a slot (default: %(default)s)")
    parser.add_argument("--artifacts", type=Path, help="folder of compiled programs (default: opsconsole/artifacts in the cache folder)")
    return parser.parse_args(arguments)


def _at_least(low: int):
    def whole(text: str) -> int:
        number = int(text)
        if number < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}")
        return number

    whole.__name__ = "number"  # what argparse calls it in its message
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to end; returns the exit status."""
    said = parse_arguments(arguments)
    environment.prepare()
    import asyncio

    from .server import Options, serve

    plain = said.model.partition("?")[0]
    name = said.name or (plain if plain.startswith("random:") else Path(said.model).expanduser().resolve().name)
    options = Options(said.model, name, said.host, said.port, said.slots, said.max_len, said.queue_limit, said.artifacts)
    return asyncio.run(serve(options))


if __name__ == "__main__":
    status = main()
    # Native threads of a half-loaded or a finished engine must not be able to delay or break the exit.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
