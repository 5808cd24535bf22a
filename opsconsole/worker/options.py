"""The command line of a worker, read before anything heavy is imported."""

import argparse
import math
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
    queue_tokens: int | None = None
    artifacts: Path | None = None
    tensor_parallel: int = 1
    dtype: str = "auto"
    memory_fraction: float | None = None
    hosts: int = 1
    host_index: int = 0
    coordinator: str | None = None
    uds: Path | None = None
    api_key_file: Path | None = None
    drain_deadline_s: float | None = None
    """How long SIGTERM waits for what is in flight; None for as long as it takes."""
    log_requests: bool = False

    @property
    def queue_token_limit(self) -> int:
        """Tokens that may wait; where the command line says nothing, requests are the only bound."""
        if self.queue_tokens is not None:
            return self.queue_tokens
        return (self.queue_limit + self.slots) * self.max_len  # the next to get a free slot stand in the queue for a moment


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; wrong usage ends the process with status 2."""
    parser = command_line()
    said = parser.parse_args(arguments)
    _check_hosts(parser, said)
    if said.name is None:
        plain = said.model.partition("?")[0]
        said.name = plain if plain.startswith("random:") else Path(said.model).expanduser().resolve().name
    said.port = said.port or 0
    return Options(**vars(said))


EXIT_STATUSES = """\
exit status: 0 ended as told, nothing was lost; 1 could not start, or failed; 2 wrong usage;
5 the drain deadline passed and requests were cut; 143 a second SIGTERM or SIGINT cut what was left.
"""


def command_line() -> argparse.ArgumentParser:
    """What the worker understands."""
    parser = argparse.ArgumentParser(
        prog="python -m opsconsole.worker",
        description="Serve one model over HTTP. With `build` as the first word, compile what a later start needs (see build --help).",
        epilog=EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_model(parser)
    _add_address(parser)
    parser.add_argument("--name", help="what clients call the model (default: the folder's name)")
    parser.add_argument(
        "--queue-limit", type=_at_least(0), default=64, metavar="N", help="requests that may wait for a slot (default: %(default)s)"
    )
    parser.add_argument(
        "--queue-tokens",
        type=_at_least(1),
        metavar="N",
        help="tokens, of prompts and longest answers, that may wait for a slot (default: as many as --queue-limit requests can have)",
    )
    parser.add_argument(
        "--drain-deadline",
        dest="drain_deadline_s",
        type=_seconds,
        metavar="SECONDS",
        help="after SIGTERM, cut what is left then, each with an error its client sees (default: 0, wait for as long as it takes)",
    )
    _add_hosts(parser)
    parser.add_argument("--log-requests", action="store_true", help="a line for each request at its end; never its text")
    return parser


def parse_build_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line of `build`: what decides which programs a worker needs."""
    parser = argparse.ArgumentParser(
        prog="python -m opsconsole.worker build",
        description="Compile every program of a model ahead of its launch, on this kind of machine; give it the worker's own options.",
    )
    _add_model(parser)
    return Options(name="", **vars(parser.parse_args(arguments)))


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, help="checkpoint folder, or random:SIZE[?seed=N] (tiny, 13m, 135m, 8b) for weights drawn from a seed"
    )
    parser.add_argument("--slots", type=_at_least(1), default=4, metavar="N", help="requests that run at once (default: %(default)s)")
    parser.add_argument(
        "--max-len", type=_at_least(2), default=512, metavar="N", help="tokens of prompt and answer together (default: %(default)s)"
    )
    parser.add_argument(
        "--artifacts", type=_path, metavar="PATH", help="folder of compiled programs (default: opsconsole/artifacts in the cache folder)"
    )
    parser.add_argument(
        "--tensor-parallel", type=_at_least(1), default=1, metavar="N", help="devices that share the model (default: %(default)s)"
    )
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        metavar="TYPE",
        help="float32, bfloat16 or auto: float32 on a CPU, bfloat16 elsewhere (default: %(default)s)",
    )
    parser.add_argument(
        "--memory-fraction",
        type=_share,
        metavar="SHARE",
        help="share of each GPU's memory to take, above 0 to 1: lets two workers share one (default: JAX's own, 0.75)",
    )


def _add_hosts(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("one model on several hosts", "start the same command on each, with its own --host-index")
    group.add_argument("--hosts", type=_at_least(1), default=1, metavar="N", help="hosts that share the model (default: %(default)s)")
    group.add_argument(
        "--host-index", type=_at_least(0), default=0, metavar="I", help="which of them this is; 0 is the one that takes requests"
    )
    group.add_argument(
        "--coordinator", metavar="HOST:PORT", help="where the hosts meet: an address of host 0; PORT and the one after it have to be free"
    )


def _check_hosts(parser: argparse.ArgumentParser, said: argparse.Namespace) -> None:
    if said.hosts == 1:
        return
    if said.host_index >= said.hosts:
        parser.error(f"argument --host-index: must be below --hosts {said.hosts}")
    if not said.coordinator or not said.coordinator.rpartition(":")[2].isdecimal():
        parser.error("argument --coordinator: several hosts need HOST:PORT")
    if said.api_key_file is None:
        parser.error("argument --api-key-file: several hosts need it, the same key on each")
    if said.tensor_parallel % said.hosts or said.tensor_parallel < said.hosts:
        parser.error(f"argument --tensor-parallel: must be the number of devices of all {said.hosts} hosts together")


def _add_address(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=_at_least(0), metavar="N", help="0 takes any free one and says which")
    where.add_argument("--uds", type=_path, metavar="PATH", help="listen on a unix socket (mode 0600) instead")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--api-key-file",
        type=_path,
        metavar="PATH",
        help="ask for `Authorization: Bearer KEY` everywhere but at /healthz, /readyz, /health and /metrics; the key is the file's "
        "first line, and nobody else may read the file",
    )


def _at_least(low: int):
    def whole(text: str) -> int:
        number = int(text)
        if number < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}")
        return number

    whole.__name__ = "number"  # what argparse calls it in its message
    return whole


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError("must be above 0 and at most 1")
    return share


_share.__name__ = "number"


def _seconds(text: str) -> float | None:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError("must be a number of seconds, 0 for none")
    return seconds or None


_seconds.__name__ = "number"


def _path(text: str) -> Path:
    return Path(text).expanduser()
