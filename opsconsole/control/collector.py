"""The collector: opens lock, history, links and socket in order, watches until told to stop, closes them in reverse.

The journey of one sample: a link decodes and checks a node's line, `Watch` folds it with all others of that second into the next
Fleet, and that one value goes to the recorder (history), the counter (fronts) and the route file (gateway).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from opsconsole import __version__
from opsconsole.config import Config, ConfigError, NodeSpec, read_config
from opsconsole.control import places
from opsconsole.control.alarm_desk import AlarmDesk
from opsconsole.control.elsewhere import Machines
from opsconsole.control.extensions import load_plugins, moves_streams, open_router, spec_for, told_of
from opsconsole.control.past import Past
from opsconsole.control.patience import loop_for
from opsconsole.control.perform import Performer
from opsconsole.control.router import Keeper
from opsconsole.control.serve import Counter
from opsconsole.control.tellers import Tellers
from opsconsole.control.watch import Link, Watch
from opsconsole.core.events import Acted, Hampered, Recorded, Routed
from opsconsole.core.fleet import Fleet, NodeFacts, Roster, opening
from opsconsole.hooks import Misfit
from opsconsole.plugins import BUILT_IN, Plugins

IDLE_LINGER_S = 3.0
"""How long a collector that a front started outlives the last front, so that a row of commands shares it."""
FAILED, USAGE, CONFLICT = 1, 2, 6


def run_collector(config_path: Path, state_dir: Path, until_idle: bool = False) -> int:
    """Watches the fleet until SIGTERM, SIGINT or, with until_idle, until nobody needs it. Returns the exit code."""
    try:
        config = read_config(config_path)
        places.prepare(state_dir)
    except (ConfigError, places.StateDirError) as error:
        return _refuse(str(error), USAGE)
    with contextlib.ExitStack() as stack:
        try:
            if not _is_ours(places.lock_path(state_dir), stack):
                return _refuse(f"another collector watches with state directory {state_dir}", CONFLICT)
            with asyncio.Runner(loop_factory=lambda: loop_for(len(config.nodes))) as runner:
                return runner.run(_collect(config, state_dir, until_idle))
        except places.StateDirError as error:
            return _refuse(str(error), FAILED)


def _refuse(text: str, code: int) -> int:
    print(f"opsconsole: {text}", file=sys.stderr)
    return code


def _is_ours(path: Path, stack: contextlib.ExitStack) -> bool:
    """Locks the file until the stack closes; False when another process has locked it. Raises StateDirError."""
    with places.used(path.parent):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    stack.callback(os.close, handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    with contextlib.suppress(OSError):  # the number is for people; a full disk must not keep anybody from watching
        os.truncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
    return True


async def _collect(config: Config, state_dir: Path, until_idle: bool) -> int:
    from opsconsole.history.audit import LateAudit
    from opsconsole.history.journal import Journal
    from opsconsole.history.samples import Recorder

    recorder = Recorder(places.history_path(state_dir), config.history_hours, config.history_days_1m, config.history_days_10m)
    recorder.start()
    audit, journal = LateAudit(places.audit_path(state_dir)), Journal(places.runs_path(state_dir))
    links, close_links = _links(config)
    try:
        await _watch(config, state_dir, recorder, audit, journal, links, until_idle)
    finally:
        await close_links()
        recorder.close()
        audit.close()
        journal.close()
    return 0


async def _watch(
    config: Config, state_dir: Path, recorder: Any, audit: Any, journal: Any, links: list[Link], until_idle: bool
) -> None:
    def remember(kind: str, subject: str, text: str, actor: str) -> None:
        recorder.note(kind, subject, text, actor, time.time())

    def note(kind: str, subject: str, text: str, actor: str) -> None:
        remember(kind, subject, text, actor)
        if kind == "action":
            watch.emit(Acted(time.time(), subject, text, actor))

    plugins = load_plugins(config)
    machines = Machines(config)
    keeper = _keeper(config, plugins, state_dir, machines, lambda: performer.withheld, lambda routed: watch.emit(routed))
    performer = Performer(_sender(config, plugins, links, note), note, audit, journal, keeper.confirm_out)
    await performer.recover()
    past = Past(places.history_path(state_dir))
    tellers = Tellers(config.fleet_name, told_of(config, plugins), lambda cause: watch.emit(Hampered("notify", cause)))
    desk = AlarmDesk(performer.ledger, places.alarms_path(state_dir), lambda event: watch.emit(event), remember, tellers)
    counter = Counter(performer, past.series, _about(config), desk)

    def publish(fleet: Fleet) -> None:
        performer.saw(fleet)
        desk.saw(fleet)
        counter.publish(fleet)
        recorder.record(fleet)
        if recorder.trouble != fleet.history_cause:
            watch.emit(Recorded(recorder.trouble))
        keeper.take(fleet)

    watch = Watch(opening(_roster(config, plugins)), links, publish, performer.heard)
    desk.recover()
    counter.publish(watch.fleet)
    socket_path = places.socket_path(state_dir)
    with places.used(state_dir):
        server = await counter.open(socket_path)
    tasks = [asyncio.create_task(work) for work in (watch.run(), keeper.run(), _freeze_garbage_when_settled())]
    try:
        await _until_told(counter, tasks[0], until_idle)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await performer.close()
        await desk.close()
        await asyncio.to_thread(tellers.close)
        await machines.close()
        await past.close()
        socket_path.unlink(missing_ok=True)


def _sender(config: Config, plugins: Plugins, links: list[Link], note: Callable[[str, str, str, str], None]) -> Callable[..., bool]:
    """Sends an order to its node, and says whether it left. A launch is told what its node and its engine need beside."""
    by_name = {link.name: link for link in links}
    hosts = {spec.name: spec.worker_host for spec in config.nodes}
    engine_spec = spec_for(plugins, config.models)

    def send(node: str, order: dict[str, Any]) -> bool:
        if order["op"] != "launch":
            return by_name[node].send(order)
        try:
            return by_name[node].send({**order, "host": hosts[node], **engine_spec(order)})
        except Misfit as error:
            note("trouble", order["worker"], f"not launched: {error}", order.get("actor") or "")
            return False

    return send


def _keeper(
    config: Config, plugins: Plugins, state_dir: Path, machines: Machines, withheld: Callable[[], Collection[str]],
    emit: Callable[[Routed], None],
) -> Keeper:
    """What keeps the router at what the fleet says; where the fleet file says nothing of one, it keeps the route file alone."""
    router, name = open_router(config, plugins, places.routes_path(state_dir), machines)
    addresses = {spec.name: _worker_address(spec) for spec in config.nodes}
    told = config.router and (config.router.url or config.router.kind != BUILT_IN["router"])
    return Keeper(router, name, addresses, withheld, emit if told else lambda routed: None)


def _about(config: Config) -> dict[str, Any]:
    return {
        "pid": os.getpid(), "started": time.time(), "version": __version__, "config": str(config.path.resolve()),
        "fleet_name": config.fleet_name, "environment": config.environment, "theme": config.theme, "keys": config.keys,
    }


def _roster(config: Config, plugins: Plugins) -> Roster:
    nodes = tuple(
        NodeFacts(spec.name, spec.site, spec.rack, spec.chip, spec.address or spec.name, jump=_jump_of(spec)) for spec in config.nodes
    )
    import numpy as np

    return Roster(
        config.fleet_name, config.environment, nodes, config.sites, config.racks, config.models, config.policy,
        (BUILT_IN["engine"], *sorted(plugins.engines)), moves_streams(config, plugins), config.alarm_rules,
        gpu_start=np.zeros(len(nodes) + 1, np.int64),
    )


def _jump_of(spec: NodeSpec) -> str:
    """The host that it is reached through, of several the last one."""
    return (spec.jump or "").rpartition(",")[2].strip().rpartition("@")[2].partition(":")[0]


def _worker_address(spec: NodeSpec) -> str:
    """Where the gateway finds a node's workers: they listen on worker_host, or everywhere when that is 0.0.0.0."""
    return (spec.address or spec.name) if spec.worker_host in ("0.0.0.0", "::") else spec.worker_host


def _links(config: Config) -> tuple[list[Link], Any]:
    """All links of the fleet, and what closes what they share."""
    simulated = [spec for spec in config.nodes if spec.link == "sim"]
    real = [spec for spec in config.nodes if spec.link != "sim"]
    links: list[Link] = []
    closers = []
    if simulated:
        from opsconsole.sim.link import SimLink
        from opsconsole.sim.world import World

        world = World(simulated, config.models)
        links += [SimLink(spec, world) for spec in simulated]
    if real:
        from opsconsole.ssh.link import Shared, SshLink, raise_file_limit

        raise_file_limit()
        shared = Shared.from_config(config)
        links += [SshLink(spec, shared) for spec in real]
        closers.append(shared.close)

    async def close() -> None:
        for closer in closers:
            await closer()

    return links, close


async def _until_told(counter: Counter, watching: asyncio.Task, until_idle: bool) -> None:
    """Raises what has ended the watching: a collector that sees nothing any more must not live on as if it did."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, told.set)
    while not told.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(told.wait(), 0.5)
        if watching.done():
            watching.result()
        if until_idle and counter.idle and loop.time() - counter.last_left > IDLE_LINGER_S:
            return


async def _freeze_garbage_when_settled() -> None:
    """Collections of the oldest generation pause a large collector for long; what lives after the ramp lives on."""
    for _ in range(3):
        await asyncio.sleep(10.0)
        gc.collect()
        gc.freeze()
