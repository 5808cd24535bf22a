"""A real HAProxy on another machine, which a real sshd stands for: driven over SSH as nodes are, and over breaks of the connection."""

import asyncio
import contextlib
import os
import re
import signal
from pathlib import Path

import pytest

from opsconsole.config import ConfigError, read_config
from opsconsole.control.elsewhere import Machines
from opsconsole.control.extensions import check, load_plugins
from opsconsole.hooks import DRAINING, READY, Misfit, RouterError, RouterSettings
from opsconsole_haproxy.router import open_router
from tests.gateway.conftest import StandIn
from tests.plugins.haproxy_process import BINARY, HAProxyProcess
from tests.plugins.test_haproxy import add, states, stream, until
from tests.ssh.sshd import HAS_SSHD, Sshd, make_key

needs_both = pytest.mark.skipif(not (BINARY and HAS_SSHD), reason="needs haproxy, sshd and ssh-keygen")
PATIENCE_S = 40.0


class Far:
    """A machine lb01 with its HAProxy, as an operator's ssh_config has it."""

    def __init__(self, folder: Path, more: str = "") -> None:
        (folder / "far").mkdir()
        self.folder = folder
        self.sshd = Sshd(folder / "sshd", make_key(folder / "operator"), more=f"Subsystem sftp internal-sftp\n{more}").start()
        self.known_hosts, ssh_config = folder / "known_hosts", folder / "ssh_config"
        self.known_hosts.write_text(f"{self.sshd.known_name} {self.sshd.host_key}\n")
        ssh_config.write_text(f"Host lb01\n HostName {self.sshd.address}\n Port {self.sshd.port}\n IdentityFile {folder}/operator\n")
        self.fleet_file = folder / "fleet.toml"
        self.fleet_file.write_text(
            f'[fleet]\nssh_config = "{ssh_config}"\nknown_hosts = "{self.known_hosts}"\n[[nodes]]\nhosts = "n1"\n'
            '[[models]]\nname = "demo"\n[router]\nkind = "haproxy"\n[router.options]\nhost = "lb01"\nsocket = "/run/h.sock"\n')
        self.machines = Machines(read_config(self.fleet_file))

    def router(self, **options):
        return open_router(RouterSettings(None, {"host": "lb01", **options}, ("demo",), self.folder, self.machines))

    def break_connections(self) -> None:
        """As when the machine's sshd is killed with all that it serves; a new one listens."""
        pid = self.sshd.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self.sshd.stop()
        for child in map(int, children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self.sshd.start()


@contextlib.asynccontextmanager
async def far(folder: Path, more: str = ""):
    there = Far(folder, more)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield there
    finally:
        await there.machines.close()
        there.sshd.stop()


@needs_both
async def test_workers_join_drain_and_leave_over_ssh_and_a_break(tmp_path):
    async with far(tmp_path) as there, HAProxyProcess(tmp_path / "far") as haproxy, StandIn() as worker:
        router = there.router(**haproxy.options)
        await add(router, "w-1", worker)
        await until(router, {"w-1": READY})
        async with haproxy.client() as session:
            assert (await stream(session))[0] == 200
        there.break_connections()
        while True:
            with contextlib.suppress(RouterError):
                await router.drain("w-1")
                break
            await asyncio.sleep(0.05)
        assert await states(router) == {"w-1": DRAINING}
        saved = haproxy.state_file
        assert re.search(r"^\d+ llm \d+ w-1 ", saved.read_text(), re.MULTILINE) and saved.stat().st_mode & 0o777 == 0o600
        await router.remove("w-1")
        assert await states(router) == {} and [file.name for file in (tmp_path / "far").glob(".*")] == []


@needs_both
async def test_a_machine_that_is_not_the_one_that_is_known_is_told_nothing(tmp_path):
    async with far(tmp_path) as there:
        there.known_hosts.write_text("")
        with pytest.raises(RouterError, match=r"^lb01: .*host key.*known_hosts") as caught:
            await there.router(socket="/run/h.sock").list()
        assert "Accepted" not in (there.sshd.home / "sshd.log").read_text() and "\n" not in str(caught.value)


@needs_both
@pytest.mark.parametrize("more", ["", "AllowStreamLocalForwarding no"])
async def test_why_its_socket_cannot_be_had(tmp_path, more):
    async with far(tmp_path, more) as there:
        with pytest.raises(RouterError, match="lb01: /run/no.sock cannot be connected to as .*running.*AllowStreamLocalForwarding"):
            await there.router(socket="/run/no.sock").list()


@needs_both
async def test_a_machine_without_sftp_or_with_a_hung_haproxy_is_named(tmp_path):
    async with far(tmp_path) as there, HAProxyProcess(tmp_path / "far") as haproxy, StandIn() as worker:
        router = there.router(**haproxy.options | {"state_file": "/nowhere/at/all"})
        with pytest.raises(RouterError, match="lb01: /nowhere/at/all cannot be written over SFTP"):
            await add(router, "w-1", worker)
        haproxy.hang()
        with pytest.raises(RouterError, match=f"lb01:{haproxy.socket}: HAProxy has not answered for 2 s"):
            await router.list()


@needs_both
async def test_a_machine_that_is_away_is_a_cause_and_not_a_hang(tmp_path):
    async with far(tmp_path) as there:
        there.sshd.stop()
        with pytest.raises(RouterError, match="lb01: .*Connection refused"):
            await there.router(socket="/run/h.sock").list()


@pytest.mark.skipif(not HAS_SSHD, reason="needs sshd and ssh-keygen")
@pytest.mark.parametrize("host", ["a b", "-oProxyCommand=x", "lb01,lb02", "lb01;reboot"])
async def test_a_host_that_could_be_read_as_something_else_is_refused(tmp_path, install, host):
    install("haproxy")
    async with far(tmp_path) as there:
        with pytest.raises(Misfit) as caught:
            there.router(socket="/run/h.sock", host=host)
        assert caught.value.key == "options.host"
        there.fleet_file.write_text(there.fleet_file.read_text().replace('host = "lb01"', f'host = "{host}"'))
        config = read_config(there.fleet_file)
        with pytest.raises(ConfigError, match=r"key `options`: options.host: "):
            check(config, load_plugins(config), tmp_path)
