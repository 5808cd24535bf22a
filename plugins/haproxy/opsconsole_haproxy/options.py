"""What [router.options] of the fleet file says to this plugin, checked before anything is connected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from opsconsole.hooks import Elsewhere, Misfit, RouterSettings

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,119}")
"""Of a backend or a server. HAProxy reads `;` and a newline as the end of one command and the beginning of the next."""
SOCKET_PATH_LIMIT = 107
KEYS = ("socket", "host", "backends", "state_file", "check_interval_ms")


class Options(NamedTuple):
    socket: str
    where: Elsewhere | None
    """The machine that has the socket and the state file; None: this one."""
    backends: Mapping[str, str]
    """HAProxy's backend by model."""
    state_file: Path | None
    """Where `server-state-file` of HAProxy's configuration points; None: drains are not kept over a reload by HAProxy itself."""
    check_interval_ms: int
    """How often HAProxy asks a server that was added at run time whether it is well."""
    folder: Path
    """The console's own, for what it has to remember."""


def read_options(settings: RouterSettings) -> Options:
    """Raises Misfit."""
    given = settings.options
    for key in given:
        if key not in KEYS:
            raise Misfit(f"options.{key}", f"there is no such option; known: {', '.join(KEYS)}")
    socket = _path(given, "socket")
    if socket is None:
        raise Misfit("options.socket", 'is missing; write the path of its `stats socket`, such as "/run/haproxy/admin.sock"')
    if len(socket.encode()) > SOCKET_PATH_LIMIT:
        raise Misfit("options.socket", f"is longer than the {SOCKET_PATH_LIMIT} bytes that a unix socket's path may have")
    state_file = _path(given, "state_file")
    interval = given.get("check_interval_ms", 1000)
    if isinstance(interval, bool) or not isinstance(interval, int) or not 100 <= interval <= 60_000:
        raise Misfit("options.check_interval_ms", f"is {interval!r}; it must be a whole number from 100 to 60000")
    return Options(socket, _where(settings), _backends(settings), Path(state_file) if state_file else None, interval, settings.folder)


def _where(settings: RouterSettings) -> Elsewhere | None:
    host = settings.options.get("host")
    if host is None:
        return None
    try:
        if not isinstance(host, str) or not host:
            raise ValueError(f'is {host!r}; write "user@lb01", or a host of ssh_config; without it HAProxy is on this machine')
        return settings.elsewhere(host)
    except ValueError as error:
        raise Misfit("options.host", str(error)) from error


def _path(given: Mapping[str, Any], key: str) -> str | None:
    value = given.get(key)
    if value is not None and (not isinstance(value, str) or not value.startswith("/")):
        raise Misfit(f"options.{key}", f"is {value!r}; write a path that begins with /")
    return value


def _backends(settings: RouterSettings) -> dict[str, str]:
    """A model that is not named there has a backend of its own name."""
    named = settings.options.get("backends", {})
    if not isinstance(named, Mapping):
        raise Misfit("options.backends", 'is no table; write backends = { MODEL = "BACKEND" }')
    for model in named:
        if model not in settings.models:
            raise Misfit("options.backends", f"names {model}, which is no model of this fleet")
    backends = {model: named.get(model, model) for model in settings.models}
    for model, backend in backends.items():
        if not isinstance(backend, str) or not NAME.fullmatch(backend):
            raise Misfit("options.backends", f"{model}: {backend!r} is no name; letters, digits, dot, hyphen and underscore are allowed")
        if list(backends.values()).count(backend) > 1:
            raise Misfit("options.backends", f"{backend} is named for two models; give each a backend of its own")
    return backends
