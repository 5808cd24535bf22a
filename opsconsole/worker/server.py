"""The life of a worker: it listens before anything is loaded, so that it can say what it is doing from the start."""

import asyncio
import os

from aiohttp import web

from .access import Access, UnusableKeyFile, read_access
from .binding import Binding, CannotListen
from .complaints import take_over_logging
from .farewell import FAILED, Farewell
from .lifecycle import Lifecycle, narrate
from .notify import Supervisor
from .options import Options
from .routes import Routes
from .service import Service

CLOSE_LIMIT_S = 1.0
"""How long a finished worker waits for connections to close before it ends."""
FAILED_LINGER_S = 1.0
"""How long a failed worker can still be asked why."""
OPEN_TO_ALL = "other machines can reach this worker and it asks for no key: see --api-key-file"


async def serve(options: Options, supervisor: Supervisor) -> int:
    """Listen, load, serve until told to end; returns the exit status."""
    take_over_logging()
    binding = Binding(options)
    try:
        return await _serve(options, binding, supervisor)
    finally:
        binding.close()


async def _serve(options: Options, binding: Binding, supervisor: Supervisor) -> int:
    lifecycle = Lifecycle(supervisor=supervisor)
    service = Service(options, lifecycle)
    farewell = Farewell(lifecycle, service, options.drain_deadline_s, binding.close)
    try:
        access = read_access(options.api_key_file)
        runner = await _runner(service, access)
        address = await binding.open(runner)
    except (UnusableKeyFile, CannotListen) as refused:
        lifecycle.fail(str(refused))
        return FAILED
    farewell.listen()  # before anybody is told: who hears "listening" may say SIGTERM at once
    _say_where(address, options, binding, access)
    service.start()
    status = await farewell.wait(service.failed)
    if status == FAILED:
        await asyncio.sleep(FAILED_LINGER_S)
    await runner.cleanup()
    await asyncio.to_thread(service.stop)
    farewell.say_goodbye(status)
    return status


async def _runner(service: Service, access: Access) -> web.AppRunner:
    runner = web.AppRunner(
        Routes(service, access).application(),
        access_log=None,
        handler_cancellation=True,  # a client that leaves must free its slot at once, not at its next token
        auto_decompress=False,  # a compressed body is refused: a few bytes could become any number
        shutdown_timeout=CLOSE_LIMIT_S,
    )
    await runner.setup()
    return runner


def _say_where(address: dict, options: Options, binding: Binding, access: Access) -> None:
    narrate("listening", **address, pid=os.getpid(), model=options.name)
    if binding.is_reachable_from_outside and not access.is_guarded:
        narrate("warning", text=OPEN_TO_ALL)
