"""Starts the gateway from the command line; its words are a contract with whoever starts it (a node, the demo, an operator)."""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from opsconsole.gateway.server import Settings, serve


def parse_settings(arguments: list[str] | None = None) -> Settings:
    parser = argparse.ArgumentParser(prog="python -m opsconsole.gateway", description="The front door that holds the queue.")
    parser.add_argument("--routes", type=Path, required=True, metavar="FILE", help="where requests may go; followed as it changes")
    parser.add_argument("--port", type=int, required=True, help="0: any free port, told on stdout")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--queue-limit", type=int, default=1000, metavar="N", help="requests that may wait for each model (default 1000)")
    parser.add_argument("--queue-tokens", type=int, default=4_000_000, metavar="N",
                        help="tokens, of prompts (by their length) and longest answers, that may wait for each model (default 4000000)")
    parser.add_argument("--queue-timeout", type=float, default=60.0, metavar="S", help="seconds a request may wait (default 60)")
    given = parser.parse_args(arguments)
    return Settings(given.routes, given.host, given.port, given.queue_limit, given.queue_tokens, given.queue_timeout)


def announce(port: int) -> None:
    print(json.dumps({"event": "listening", "port": port}), flush=True)


def main() -> int:
    settings = parse_settings()
    try:
        cut = asyncio.run(serve(settings, announce))
    except OSError as error:
        print(f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}", file=sys.stderr)
        return 1
    if cut:
        print(f"stopped with {cut} requests cut at the limit", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
