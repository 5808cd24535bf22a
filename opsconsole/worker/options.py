"""The command line of a worker, read before anything heavy is imported."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    model: str
    name: str
    host: str = "127.0.0.1"
    port: int = 0
    slots: int = 4
    max_len: int = 512
    queue_limit: int = 64
    artifacts: Path | None = None


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; wrong usage ends the process with status 2."""
    said = _parser().parse_args(arguments)
    if said.name is None:
        plain = said.model.partition("?")[0]
        said.name = plain if plain.startswith("random:") else Path(said.model).expanduser().resolve().name
    return Options(**vars(said))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m opsconsole.worker", description="Serve one model over HTTP.")
    parser.add_argument("--model", required=True, help="checkpoint folder, or random:tiny[?seed=N] for weights drawn from a seed")
    parser.add_argument("--port", type=_at_least(0), required=True, help="0 takes any free one and says which")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--name", help="what clients call the model (default: the folder's name)")
    parser.add_argument("--slots", type=_at_least(1), default=4, help="requests that run at once (default: %(default)s)")
    parser.add_argument("--max-len", type=_at_least(2), default=512, help="tokens of prompt and answer together (default: %(default)s)")
    parser.add_argument("--queue-limit", type=_at_least(0), default=64, help="requests that may wait for a slot (default: %(default)s)")
    parser.add_argument("--artifacts", type=Path, help="folder of compiled programs (default: opsconsole/artifacts in the cache folder)")
    return parser


def _at_least(low: int):
    def whole(text: str) -> int:
        number = int(text)
        if number < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}")
        return number

    whole.__name__ = "number"  # what argparse calls it in its message
    return whole
