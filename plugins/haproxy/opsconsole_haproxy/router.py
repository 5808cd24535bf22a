"""The five verbs as commands to HAProxy: servers are drained and readied where they are, and added and deleted without a reload.

HAProxy forgets a drain when it is reloaded. So each change is followed by saving its table where its own `server-state-file` points:
the reloaded process begins with the drain. And the console, which reads the table each second, says it again.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import socket
from contextlib import suppress
from pathlib import Path

from opsconsole.core.text import clean
from opsconsole.hooks import DOWN, DRAINING, READY, Backend, RouterError, RouterSettings, Unusable
from opsconsole_haproxy.options import NAME, Options, read_options
from opsconsole_haproxy.runtime import ask
from opsconsole_haproxy.table import Load, Server, read_loads, read_servers

SERVERS_FILE = "haproxy-servers.json"
BUSY = ("still has connections", "still has active", "connections attached")
"""Words of HAProxy when a server cannot be deleted yet."""
NOBODY = "No such server."
NOTHING = Load(0, 0)


def open_router(settings: RouterSettings) -> HAProxy:
    """Raises Misfit."""
    return HAProxy(read_options(settings))


class HAProxy:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._models = {backend: model for model, backend in options.backends.items()}
        self._place = f"{options.where.name}:{options.socket}" if options.where else options.socket
        self._memory = options.folder / SERVERS_FILE
        self._ours: dict[str, bool] = _remembered(self._memory)
        """Servers that were ever added here, by name: whether they were made at run time (true) or stand in HAProxy's own file.
        Others in the same backends are somebody else's, and never touched."""
        self._servers: dict[tuple[str, str], Server] = {}

    async def _ask(self, command: str) -> str:
        return await ask(self._options.socket, command, self._options.where)

    async def list(self) -> list[Backend]:
        self._servers = read_servers(await self._ask("show servers state"))
        loads = read_loads(await self._ask("show stat -1 6 -1"))
        for backend in self._models:
            if (backend, "BACKEND") not in loads:
                raise RouterError(f"{self._place}: HAProxy has no backend {backend}; add it to its configuration")
        servers = [
            Backend(server.name, _state(server), *loads.get(place, NOTHING), self._models[server.backend])
            for place, server in self._servers.items() if server.backend in self._models and server.name in self._ours
        ]
        return servers + [Backend("", READY, 0, loads[backend, "BACKEND"].queued, model) for backend, model in self._models.items()]

    async def drain(self, worker: str) -> None:
        await self._set_state(worker, "drain")

    async def ready(self, worker: str) -> None:
        await self._set_state(worker, "ready")

    async def add(self, worker: str, model: str, address: str, port: int, slots: int, resumes: bool = False, weights: str = "") -> None:
        backend = self._options.backends.get(model)
        if backend is None or not NAME.fullmatch(worker):
            raise Unusable(f"{clean(worker, 60)} of {clean(model, 60)} cannot be a server: "
                           + ("its name has a character that HAProxy's commands may not have" if backend else "no backend has its model"))
        at = await _resolved(address)
        server = self._servers.get((backend, worker)) or await self._looked_up(backend, worker)
        if server is None:
            await self._create(backend, worker, at, int(port), int(slots))
        else:
            await self._adopt(server, at, int(port), int(slots))
        await self._save()

    async def remove(self, worker: str) -> None:
        server = await self._set_state(worker, "maint")
        if server is not None and self._ours.get(worker):
            command = f"del server {server.backend}/{worker}"
            said = await self._ask(command)
            if any(words in said for words in BUSY):
                return  # it gets nothing any more; deleted when its last request has ended
            _check(said, command, "Server deleted.")
            self._servers.pop((server.backend, worker), None)
        if self._ours.pop(worker, None) is not None:
            self._remember()
        await self._save()

    async def _create(self, backend: str, worker: str, address: str, port: int, slots: int) -> None:
        checks = f"check inter {self._options.check_interval_ms}ms fall 2 rise 1"
        command = f"add server {backend}/{worker} {address}:{port} maxconn {slots} {checks}"
        self._ours[worker] = True
        self._remember()  # before it is made: a console that ends here must know it again
        _check(await self._ask(command), command, "New server registered.")
        await self._do(f"enable health {backend}/{worker}")
        await self._do(f"set server {backend}/{worker} state ready")

    async def _adopt(self, server: Server, address: str, port: int, slots: int) -> None:
        """A server that is there already: under its name this worker is meant, wherever it was before."""
        place = f"{server.backend}/{server.name}"
        if server.name not in self._ours:
            self._ours[server.name] = False
            self._remember()
        if (server.address, server.port) != (address.strip("[]"), port):
            said = await self._ask(f"set server {place} addr {address.strip('[]')} port {port}")
            if "changed from" not in said and "no need to change" not in said:
                raise RouterError(f"HAProxy would not move {place}: {clean(said.strip(), 120)}")
        await self._do(f"set maxconn server {place} {slots}")
        await self._do(f"set server {place} state ready")

    async def _set_state(self, worker: str, state: str) -> Server | None:
        """The server that is in that state now; None: HAProxy has none for this worker, a reload may have dropped it."""
        server = await self._known(worker)
        if server is None:
            return None
        command = f"set server {server.backend}/{worker} state {state}"
        said = await self._ask(command)
        if said.strip() == NOBODY:
            del self._servers[server.backend, worker]
            return None
        _check(said, command, "")
        await self._save()
        return server

    async def _known(self, worker: str) -> Server | None:
        """The server of a worker that is in HAProxy's table; None: it cannot get a request there."""
        if not NAME.fullmatch(worker):
            return None
        places = [(backend, worker) for backend in self._models]
        if not any(place in self._servers for place in places):
            self._servers = read_servers(await self._ask("show servers state"))
        return next((self._servers[place] for place in places if place in self._servers), None)

    async def _looked_up(self, backend: str, worker: str) -> Server | None:
        self._servers = read_servers(await self._ask("show servers state"))
        return self._servers.get((backend, worker))

    async def _do(self, command: str) -> None:
        """A command to which HAProxy says nothing when it did it."""
        _check(await self._ask(command), command, "")

    async def _save(self) -> None:
        """HAProxy's table where a reloaded HAProxy finds it."""
        path, where = self._options.state_file, self._options.where
        if path is None:
            return
        table = await self._ask("show servers state")
        if where is None:
            _write_private(path, table)
        else:
            await where.write(str(path), table)

    def _remember(self) -> None:
        _write_private(self._memory, json.dumps(self._ours))


def _state(server: Server) -> str:
    return DRAINING if server.is_out else DOWN if server.is_down else READY


def _check(said: str, command: str, expected: str) -> None:
    if said.strip() != expected:
        raise RouterError(f"HAProxy said to `{command}`: {clean(said.strip(), 120) or 'nothing'}")


async def _resolved(address: str) -> str:
    """An IP address as HAProxy reads it before a port: at run time it resolves no names. Raises Unusable."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(address, None, type=socket.SOCK_STREAM)
        at = ipaddress.ip_address(found[0][4][0].partition("%")[0])
    except (OSError, ValueError) as error:
        raise Unusable(f"the address {clean(address, 60)} is not known here: {clean(error, 80)}") from None
    return f"[{at}]" if at.version == 6 else str(at)


def _remembered(path: Path) -> dict[str, bool]:
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text())
        if isinstance(found, dict):
            return {name: bool(made) for name, made in found.items() if NAME.fullmatch(name)}
    return {}


def _write_private(path: Path, text: str) -> None:
    """Whole or not at all, and for nobody else's eyes. Raises RouterError."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
            file.write(text)
        os.replace(fresh, path)
    except OSError as error:
        raise RouterError(f"{path} cannot be written: {error.strerror}") from error
