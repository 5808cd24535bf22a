"""Other machines over SSH for routers of plugins, made when a router first asks for one: most fleets need none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsconsole.config import Config

if TYPE_CHECKING:
    from opsconsole.ssh.shared import Shared
    from opsconsole.ssh.sockets import Machine


class Machines:
    """Each machine once. Calling it touches no network."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._shared: Shared | None = None
        self._made: dict[str, Machine] = {}

    def __call__(self, host: str) -> Machine:
        """"[user@]host[:port]". Raises ValueError in a sentence."""
        from opsconsole.ssh.shared import Shared  # here: asyncssh takes a while to load
        from opsconsole.ssh.sockets import Machine

        if self._shared is None:
            self._shared = Shared.from_config(self._config)
        if host not in self._made:
            self._made[host] = Machine(self._shared, host)
        return self._made[host]

    async def close(self) -> None:
        for machine in self._made.values():
            await machine.close()
        if self._shared is not None:
            await self._shared.close()
