"""What a plugin may add to the console: a router that sends requests to workers, an engine that workers run, a way to tell of alarms.

A plugin is a module found by an entry point of the group `opsconsole`. It says `OPSCONSOLE_API = 1` and implements one or more of the
hooks below, marked with `@hookimpl`. It is imported only when the fleet file names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pluggy

from opsconsole.core.fleet import Model
from opsconsole.core.telling import Message

API_VERSION = 1
ENTRY_POINT_GROUP = "opsconsole"

hookspec = pluggy.HookspecMarker("opsconsole")
hookimpl = pluggy.HookimplMarker("opsconsole")

READY, DRAINING, DOWN, GONE = "ready", "draining", "down", "gone"
"""What a router says of a worker. DRAINING: it gets no more requests and finishes what it has; DOWN: the router cannot reach it, and
will send to it again by itself; GONE: out of the router's table, with requests that still run."""
OUT = (DRAINING, GONE)
"""States in which a worker certainly gets no more requests."""


class RouterError(Exception):
    """The router did not do as it was told, or cannot be asked. The text names the router and the cause."""


class Unusable(RouterError):
    """This one worker can not be in the router, whatever is tried; the others can. The text names it and the cause."""


class Misfit(ValueError):
    """An option of the fleet file does not suit the plugin. key: where in its table; the text: what is wrong and what to write."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


@dataclass(frozen=True, slots=True)
class Backend:
    """What a router says of one worker. worker "": of the requests of a model that wait for any of its workers."""

    worker: str
    state: str
    """One of READY, DRAINING, DOWN, GONE."""
    in_flight: int
    queued: int
    model: str = ""


class Router(Protocol):
    """Sends requests to workers. Every verb may be said again without harm, ends within seconds, and raises RouterError if it fails."""

    async def list(self) -> Sequence[Backend]:
        """Every worker in the router's table, as the router itself says it now."""

    async def drain(self, worker: str) -> None:
        """No more requests for it; what it has goes on. A worker that the router does not know is out already."""

    async def ready(self, worker: str) -> None:
        """Send it requests again."""

    async def add(self, worker: str, model: str, address: str, port: int, slots: int, resumes: bool = False, weights: str = "") -> None:
        """Take it into the table and send it requests. resumes: it can go on with an answer that another worker of its weights began."""

    async def remove(self, worker: str) -> None:
        """Take it out of the table."""


class Elsewhere(Protocol):
    """Another machine, reached over SSH as the fleet's nodes are: ssh_config, known_hosts, jump hosts, one connection that comes back
    after a break. Everything raises RouterError, in a sentence that names the machine and the mend."""

    name: str

    async def open(self, socket: str) -> tuple[Any, Any]:
        """A connection to a unix socket there, as asyncio's (StreamReader, StreamWriter)."""

    async def write(self, path: str, text: str) -> None:
        """A file there, whole or not at all, and for nobody's eyes but its owner's."""


def _nowhere(host: str) -> Elsewhere:
    raise ValueError(f"{host} cannot be reached from here")


@dataclass(frozen=True)
class RouterSettings:
    """What a router is made from: [router] of the fleet file, the fleet's models, a private folder of its own to keep files in, and how
    other machines are reached. elsewhere: by "[user@]host[:port]", without touching the network; raises ValueError in a sentence."""

    url: str | None
    options: Mapping[str, Any]
    models: tuple[str, ...]
    folder: Path
    elsewhere: Callable[[str], Elsewhere] = _nowhere


@dataclass(frozen=True)
class RouterKind:
    """A router that [router] kind = "NAME" chooses. open: makes it without touching the network. Raises Misfit."""

    name: str
    open: Callable[[RouterSettings], Router]
    moves_streams: bool = False
    """Whether it lets another worker go on with a stream that a worker cut: what a drain with `migrate` needs."""


@dataclass(frozen=True)
class Engine:
    """An engine that a model's engine = "NAME" chooses. spec: how a worker of the model is started and asked (protocol.ENGINE_SPEC);
    `model.checkpoint` is what this worker shall serve. Raises Misfit for a model that the engine cannot serve."""

    name: str
    spec: Callable[[Model], dict[str, Any]]


class Notifier(Protocol):
    """Tells somebody of alarms. The console gathers and limits what it gives; it calls in a thread of its own: this may take time."""

    def send(self, message: Message) -> None:
        """Returns once it is delivered. Raises NotifyError, in words without secrets: the console tries again, and shows them."""


class NotifyError(Exception):
    """A message was not delivered. The text names the way and the cause, and no secret."""


@dataclass(frozen=True)
class NotifierKind:
    """A way that [[notify]] kind = "NAME" chooses. open: makes it of the options, without touching the network. Raises Misfit."""

    name: str
    open: Callable[[Mapping[str, Any]], Notifier]


class Hooks:
    """The hooks, for pluggy."""

    @hookspec
    def opsconsole_routers(self) -> Sequence[RouterKind]:
        """Kinds of router that this plugin gives."""

    @hookspec
    def opsconsole_engines(self) -> Sequence[Engine]:
        """Engines that this plugin gives."""

    @hookspec
    def opsconsole_notifiers(self) -> Sequence[NotifierKind]:
        """Ways to tell of alarms that this plugin gives."""
