"""The line to a real OpenSSH server with the real agent behind it: what no imitation would show."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from opsconsole.core.events import Answered, Linked, Lost, Sampled
from opsconsole.core.fleet import AUTH_FAILED, HOST_KEY_CHANGED, HOST_KEY_UNKNOWN, NO_PYTHON, UNREACHABLE
from opsconsole.ssh.link import Shared, SshLink
from tests.ssh.sshd import HAS_SSHD, Sshd, make_key, running, settings, spec

pytestmark = pytest.mark.skipif(not HAS_SSHD, reason="needs OpenSSH's sshd and ssh-keygen")


@pytest.fixture
def operator_key(tmp_path):
    return make_key(tmp_path / "operator")


@pytest.fixture
def sshd(tmp_path, operator_key):
    server = Sshd(tmp_path / "node", operator_key).start()
    (tmp_path / "known_hosts").write_text(f"{server.known_name} {server.host_key}\n")
    yield server
    server.stop()


@pytest.fixture
def known_hosts(tmp_path):
    return tmp_path / "known_hosts"


def node(server, key, **given):
    return spec(address=server.address, port=server.port, identity=str(key), **given)


async def test_the_agent_is_sent_once_and_samples_each_second(sshd, operator_key, known_hosts):
    for attempt in range(2):
        shared = Shared.from_config(settings(known_hosts))
        async with running(shared, SshLink(node(sshd, operator_key), shared, interval_s=0.2)) as heard:
            facts = (await heard.first(Linked)).facts
            sample = await heard.first(Sampled, where=lambda event: event.sample.seq == 3)
        assert facts.hostname and facts.boot_id and facts.gpu_source == "nvml"
        assert sample.node == "n1" and sample.mono > 0
        cached = sorted((sshd.home / ".cache" / "opsconsole").iterdir())
        assert len(cached) == 1 and cached[0].stat().st_mode & 0o777 == 0o600, f"after attempt {attempt}"


async def test_a_damaged_cached_agent_is_replaced(sshd, operator_key, known_hosts):
    cache = sshd.home / ".cache" / "opsconsole"
    cache.mkdir(parents=True)
    shared = Shared.from_config(settings(known_hosts))
    damaged = cache / f"agent-{shared.bundle.digest}.zip"
    damaged.write_bytes(b"import os; os.system('true')")
    async with running(shared, SshLink(node(sshd, operator_key), shared)) as heard:
        await heard.first(Sampled)
    assert damaged.read_bytes() == shared.bundle.content


async def test_no_process_stays_behind(sshd, operator_key, known_hosts):
    shared = Shared.from_config(settings(known_hosts))
    async with running(shared, SshLink(node(sshd, operator_key), shared)) as heard:
        await heard.first(Sampled)
        agents = _agents(sshd)
        assert agents
    for _ in range(50):
        if not _agents(sshd):
            break
        await asyncio.sleep(0.1)
    assert not _agents(sshd)


def _agents(server):
    """Processes of the agent on this server only: others may run on the same machine."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and f"HOME={server.home}\0".encode() in Path(f"/proc/{entry}/environ").read_bytes():
                if b"exec(b" in Path(f"/proc/{entry}/cmdline").read_bytes():
                    found.append(int(entry))
    return found


async def test_a_killed_agent_is_started_again(sshd, operator_key, known_hosts):
    shared = Shared.from_config(settings(known_hosts))
    async with running(shared, SshLink(node(sshd, operator_key), shared)) as heard:
        await heard.first(Sampled)
        before = len(heard.events)
        for pid in _agents(sshd):
            os.kill(pid, signal.SIGKILL)
        lost = await heard.first(Lost, 2.0, before)
        assert lost.reach == UNREACHABLE and "ended" in lost.cause
        await heard.first(Sampled, 10.0, heard.events.index(lost))


async def test_sshd_killed_is_lost_at_once_and_found_again(sshd, operator_key, known_hosts):
    shared = Shared.from_config(settings(known_hosts))
    async with running(shared, SshLink(node(sshd, operator_key), shared)) as heard:
        await heard.first(Sampled)
        before = len(heard.events)
        sshd.stop()
        for pid in _agents(sshd):
            os.kill(pid, signal.SIGKILL)
        lost = await heard.first(Lost, 2.0, before)
        refused = await heard.first(Lost, 5.0, before, lambda event: "refused" in event.cause)
        assert lost.reach == refused.reach == UNREACHABLE
        sshd.start()
        await heard.first(Sampled, 12.0, len(heard.events))


async def test_changed_and_unknown_keys_are_told_apart(sshd, operator_key, known_hosts):
    old_key = sshd.host_key
    sshd.rekey()
    for entry, reach, word in ((f"{sshd.known_name} {old_key}\n", HOST_KEY_CHANGED, "CHANGED"), ("", HOST_KEY_UNKNOWN, "unknown")):
        known_hosts.write_text(entry)
        shared = Shared.from_config(settings(known_hosts))
        async with running(shared, SshLink(node(sshd, operator_key), shared)) as heard:
            lost = await heard.first(Lost)
        assert lost.reach == reach and word in lost.cause
        assert lost.cause.count("SHA256:") == (2 if entry else 1)


async def test_a_wrong_key_is_refused_with_the_mend(sshd, tmp_path, known_hosts):
    stranger = make_key(tmp_path / "stranger")
    shared = Shared.from_config(settings(known_hosts))
    async with running(shared, SshLink(node(sshd, stranger), shared)) as heard:
        lost = await heard.first(Lost)
    assert lost.reach == AUTH_FAILED and str(stranger) in lost.cause and "authorized_keys" in lost.cause


async def test_a_readable_key_is_never_offered(sshd, operator_key, known_hosts):
    operator_key.chmod(0o644)
    shared = Shared.from_config(settings(known_hosts))
    async with running(shared, SshLink(node(sshd, operator_key), shared)) as heard:
        lost = await heard.first(Lost)
    assert lost.reach == AUTH_FAILED and f"chmod 600 {operator_key}" in lost.cause


async def test_no_python_is_named(sshd, operator_key, known_hosts):
    shared = Shared.from_config(settings(known_hosts))
    async with running(shared, SshLink(node(sshd, operator_key, python="/nowhere/python3"), shared)) as heard:
        lost = await heard.first(Lost)
    assert lost.reach == NO_PYTHON and "/nowhere/python3" in lost.cause and "Python 3.9" in lost.cause


async def test_through_a_jump_host_that_is_shared_and_blamed(sshd, tmp_path, operator_key, known_hosts):
    bastion = Sshd(tmp_path / "bastion", operator_key).start()
    try:
        known_hosts.write_text(f"{known_hosts.read_text()}{bastion.known_name} {bastion.host_key}\n")
        config = tmp_path / "ssh_config"
        config.write_text(f"Host door\n HostName 127.0.0.1\n Port {bastion.port}\n IdentityFile {operator_key}\n")
        shared = Shared.from_config(settings(known_hosts, config))
        behind = [node(sshd, operator_key, name=f"n{number}", jump="door") for number in range(3)]
        for number, told in enumerate(behind):
            told.name = f"n{number}"
        async with running(shared, *(SshLink(told, shared) for told in behind)) as heard:
            for told in behind:
                await heard.first(Sampled, where=lambda event, name=told.name: event.node == name)
            assert (bastion.home / "sshd.log").read_text().count("Accepted publickey") == 1
            before = len(heard.events)
            _kill_sessions(bastion)
            for told in behind:
                lost = await heard.first(Lost, 5.0, before, lambda event, name=told.name: event.node == name)
                assert lost.cause.startswith("jump door: ")
    finally:
        bastion.stop()


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])  # a name may have spaces and brackets


def _kill_sessions(server):
    """The server and every connection it has."""
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, IndexError):
            if entry.isdigit() and _parent(entry) == server.process.pid:
                os.kill(int(entry), signal.SIGKILL)
    server.stop()


async def test_orders_reach_the_agent_and_answers_come_back(sshd, operator_key, known_hosts):
    shared = Shared.from_config(settings(known_hosts))
    link = SshLink(node(sshd, operator_key), shared)
    assert not link.send({"op": "ping"}), "nothing to send through yet"
    async with running(shared, link) as heard:
        await heard.first(Sampled)
        assert link.send(json.loads('{"op": "drain", "id": "o1", "worker": "nobody", "deadline_s": 1, "on_deadline": "hold"}'))
        answer = (await heard.first(Answered)).answer
    assert answer.id == "o1" and not answer.ok and answer.done


async def test_a_server_that_opens_no_session_is_tried_with_a_new_connection(sshd, operator_key, known_hosts):
    usual = sshd.config.read_text()
    sshd.config.write_text(usual + "MaxSessions 0\n")
    sshd.stop()
    sshd.start()
    shared = Shared.from_config(settings(known_hosts))
    async with running(shared, SshLink(node(sshd, operator_key), shared)) as heard:
        lost = await heard.first(Lost)
        assert lost.reach == UNREACHABLE and "opens no further session" in lost.cause
        sshd.config.write_text(usual)
        sshd.stop()
        sshd.start()
        await heard.first(Sampled)


async def test_a_host_certificate_is_enough(sshd, tmp_path, operator_key, known_hosts):
    authority = make_key(tmp_path / "authority")
    sign = ["ssh-keygen", "-q", "-s", authority, "-I", "node", "-h", "-n", "127.0.0.1", sshd.home / "host_key.pub"]
    subprocess.run(sign, check=True, capture_output=True)
    sshd.config.write_text(sshd.config.read_text() + f"HostCertificate {sshd.home}/host_key-cert.pub\n")
    sshd.stop()
    sshd.start()
    known_hosts.write_text(f"@cert-authority 127.0.0.1 {' '.join(Path(f'{authority}.pub').read_text().split()[:2])}\n")
    shared = Shared.from_config(settings(known_hosts))
    async with running(shared, SshLink(node(sshd, operator_key), shared)) as heard:
        await heard.first(Sampled)


async def test_the_operators_ssh_agent_serves_an_encrypted_key(sshd, tmp_path, operator_key, known_hosts, monkeypatch):
    if shutil.which("ssh-agent") is None:
        pytest.skip("needs ssh-agent")
    socket_path = tmp_path / "agent.sock"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket_path], stdout=subprocess.DEVNULL)
    try:
        while not socket_path.exists():
            await asyncio.sleep(0.02)
        subprocess.run(["ssh-add", "-q", operator_key], check=True, env={**os.environ, "SSH_AUTH_SOCK": str(socket_path)})
        subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", operator_key], check=True)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket_path))
        shared = Shared.from_config(settings(known_hosts))
        async with running(shared, SshLink(node(sshd, operator_key), shared)) as heard:
            await heard.first(Sampled)
    finally:
        agent.terminate()
        agent.wait(5)


async def test_a_dead_port_behind_a_jump_host(sshd, operator_key, known_hosts, tmp_path):
    config = tmp_path / "ssh_config"
    config.write_text(f"Host door\n HostName 127.0.0.1\n Port {sshd.port}\n IdentityFile {operator_key}\n")
    shared = Shared.from_config(settings(known_hosts, config))
    async with running(shared, SshLink(spec(address="127.0.0.1", port=1, identity=str(operator_key), jump="door"), shared)) as heard:
        lost = await heard.first(Lost)
    assert lost.reach == UNREACHABLE and lost.cause.startswith("no answer from 127.0.0.1:1, seen from jump door")
