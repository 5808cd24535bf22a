"""Sends one message to every address of a file that only its owner may read; no address, and nothing in it, is ever written anywhere."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apprise

from opsconsole.core.telling import Message
from opsconsole.hooks import Misfit, NotifyError

KEYS = ("urls_file",)
FILE_LIMIT_BYTES = 64 * 1024
ADDRESSES_MOST = 20
TYPES = {2: apprise.NotifyType.FAILURE, 1: apprise.NotifyType.WARNING, 0: apprise.NotifyType.SUCCESS}
"""Apprise's word by severity of the worst alarm: pagers choose their urgency by it."""


def open_notifier(options: Mapping[str, Any]) -> Sender:
    """Reads the addresses; the network is not touched. Raises Misfit."""
    for key in options:
        if key not in KEYS:
            raise Misfit(f"options.{key}", f"there is no such option; known: {', '.join(KEYS)}")
    named = options.get("urls_file")
    if not isinstance(named, str) or not named:
        mend = 'write the path of a file with one Apprise address a line, such as "~/.config/opsconsole/pagers"'
        raise Misfit("options.urls_file", f"is missing; {mend}")
    return Sender(_servers(Path(named).expanduser()))


def _servers(path: Path) -> list[Any]:
    # Apprise's own log names addresses, and with them their tokens
    logging.getLogger("apprise").disabled = True
    servers = []
    for number, line in enumerate(_read(path).splitlines(), 1):
        address = line.strip()
        if not address or address.startswith("#"):
            continue
        server = apprise.Apprise.instantiate(address, suppress_exceptions=True)
        if server is None:
            raise Misfit("options.urls_file", f"line {number} of {path} is no address that Apprise knows; see its list of services")
        servers.append(server)
    if not 0 < len(servers) <= ADDRESSES_MOST:
        raise Misfit("options.urls_file", f"{path} has {len(servers)} addresses; write 1 to {ADDRESSES_MOST}, one a line")
    return servers


def _read(path: Path) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(handle, "rb") as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise Misfit("options.urls_file", f"{path} is not a plain file")
            if found.st_mode & 0o077 or found.st_uid != os.getuid():
                raise Misfit("options.urls_file", f"{path} holds secrets and must be yours alone; run: chmod 600 {path}")
            return file.read(FILE_LIMIT_BYTES).decode()
    except OSError as error:
        raise Misfit("options.urls_file", f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise Misfit("options.urls_file", f"{path} is not a text in UTF-8") from None


class Sender:
    """A message that some addresses have taken is sent again to the others only."""

    def __init__(self, servers: list[Any]) -> None:
        self._servers = servers
        self._message: Message | None = None
        self._left: list[Any] = []

    def send(self, message: Message) -> None:
        """Raises NotifyError, which names the service and never the address."""
        if message is not self._message:
            self._message, self._left = message, list(self._servers)
        self._left = [server for server in self._left if not _is_taken(server, message)]
        if self._left:
            names = ", ".join(dict.fromkeys(str(server.service_name) for server in self._left))
            count = f"{len(self._left)} of {len(self._servers)} addresses"
            raise NotifyError(f"not taken by {names} ({count}): is it reachable, is its token valid?")


def _is_taken(server: Any, message: Message) -> bool:
    kind = TYPES.get(message.severity, apprise.NotifyType.INFO)
    try:
        return bool(server.notify(body=message.body, title=message.title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT))
    except Exception:  # a service's own trouble may name its address in its words
        return False
