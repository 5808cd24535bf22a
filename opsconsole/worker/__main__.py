"""Starts one worker from the command line.

The journey of one request: `server` takes the HTTP body, `api` checks it, `text` makes tokens of it, `service` hands it to
`engine`, which gives it a slot and asks `runner` for steps of the compiled `programs` (`model` and `sampling`); tokens come
back through `service`, become text again, and `answers` writes them to the client.
"""

import faulthandler
import gc
import os
import sys
from collections.abc import Sequence

from . import environment
from .lifecycle import narrate
from .notify import Supervisor, supervisor_of
from .options import Options, parse_build_options, parse_options


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to end, or build what a later start needs; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["build"]:
        return _build(arguments[1:])
    options = parse_options(arguments)
    supervisor = supervisor_of(os.environ)
    if supervisor.beat_s is not None:
        faulthandler.enable()  # a watchdog's SIGABRT then leaves word of where each thread was
    environment.prepare(options.memory_fraction, options.tensor_parallel // options.hosts)
    gc.disable()  # what a start makes stays: looking for garbage in it costs a tenth of the time. `loading` begins with it again
    if options.host_index:
        return _follow(options, supervisor)
    import asyncio

    from .server import serve

    return asyncio.run(serve(options, supervisor))


def _follow(options: Options, supervisor: Supervisor) -> int:
    from .access import UnusableKeyFile
    from .config import UnsupportedModel
    from .lifecycle import Lifecycle
    from .loading import follow

    lifecycle = Lifecycle(supervisor=supervisor)

    def enter(phase: str) -> None:
        lifecycle.enter(phase)
        if phase == "follow":
            supervisor.ready()
            supervisor.unwatched()  # it waits for the first host's steps, for as long as there are none

    try:
        follow(options, enter, lambda text: narrate("waiting", reason=text) if text else None, lambda: os._exit(0))
    except (UnsupportedModel, UnusableKeyFile) as refused:
        lifecycle.fail(str(refused))
        return 1
    return 0


def _build(arguments: Sequence[str]) -> int:
    options = parse_build_options(arguments)
    environment.prepare(options.memory_fraction, options.tensor_parallel)
    from .config import UnsupportedModel
    from .loading import build

    try:
        outcome = build(options, lambda text: narrate("building", reason=text) if text else None)
    except UnsupportedModel as refused:
        narrate("failed", sys.stderr, phase="build", reason=str(refused))
        return 1
    narrate("built", **outcome)
    return 0


if __name__ == "__main__":
    status = main()
    # Native threads of a half-loaded or a finished engine must not be able to delay or break the exit.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
