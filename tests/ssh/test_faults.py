"""Nodes that fail or attack: each becomes a sentence on its own row, costs little, and touches no other row."""

import asyncio
import resource
import tempfile
from pathlib import Path

import asyncssh
import pytest

from opsconsole.core.events import Answered, Linked, Lost, Sampled, Troubled
from opsconsole.core.fleet import AUTH_FAILED, HOST_KEY_CHANGED, HOST_KEY_UNKNOWN, HUNG, NO_PYTHON, UNREACHABLE
from opsconsole.ssh import dial, link
from opsconsole.ssh.link import Shared, SshLink
from tests.ssh.imitation import Imitation, bare_server, begin, behave, line, sample, samples
from tests.ssh.sshd import Heard, running, settings, spec

EVIL = b"\x1b]0;pwn\x07[@click=app.quit]\xff\xfe"


@pytest.fixture
def short_waits(monkeypatch):
    """The same rules at a tenth of the time."""
    for name in ("PROBE_AFTER_S", "SILENT_AFTER_S", "GIVE_UP_AFTER_S"):
        monkeypatch.setattr(link, name, getattr(link, name) / 5)
    monkeypatch.setattr(dial, "GREETING_LIMIT_S", 0.5)


async def lost_to(imitation, kind=Lost, **where):
    """The first event of a kind that a link to this server emits, and all events."""
    shared = Shared.from_config(settings(imitation.home / "known_hosts"))
    async with running(shared, SshLink(imitation.spec(), shared)) as heard:
        return await heard.first(kind, **where), heard


async def test_noise_of_a_login_shell_is_skipped(tmp_path):
    async def act(process):
        await begin(process, b"Welcome!\r\n" * 50 + EVIL + b"\n" + b"OPSCONSOLE-AGENT 0\n")
        await samples(process)

    async with Imitation(tmp_path, act).serving() as imitation:
        event, heard = await lost_to(imitation, Sampled)
    assert event.sample.seq == 1 and heard.count(Linked) == 1


async def test_garbage_is_counted_and_the_line_kept(tmp_path):
    async def act(process):
        await begin(process)
        for bad in (EVIL, b"\0" * 100, b'{"t":"sample"', b'{"t":"sample","seq":1e999}', b"NaN", b"[" * 5000):
            process.stdout.write(bad + b"\n")
        await samples(process)

    async with Imitation(tmp_path, act).serving() as imitation:
        event, heard = await lost_to(imitation, Sampled)
    troubles = [event.cause for event in heard.events if isinstance(event, Troubled)]
    assert troubles[0].startswith("1 bad line from its agent") and troubles[-1].startswith("4 bad lines")
    assert heard.count(Lost) == 0


@pytest.mark.parametrize("piece", [b"x" * 60000, b"\0" * 60000], ids=["letters", "zeros"])
async def test_an_endless_line_is_cut_and_the_node_set_aside(tmp_path, piece):
    async def act(process):
        await begin(process)
        for _ in range(2000):
            process.stdout.write(piece)
            await process.stdout.drain()

    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with Imitation(tmp_path, act).serving() as imitation:
        lost, _ = await lost_to(imitation)
    assert lost.reach == HUNG and "longer than 256 KiB" in lost.cause
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 30 * 1024, "server and console together"


async def test_a_torrent_of_lines_is_cut(tmp_path):
    async def act(process):
        await begin(process)
        for _ in range(100):
            process.stdout.write(b"x\n" * 1000)
            await process.stdout.drain()

    async with Imitation(tmp_path, act).serving() as imitation:
        lost, heard = await lost_to(imitation)
    assert "lines in 10 s" in lost.cause and heard.count(Troubled) < 20


async def test_a_flood_of_errors_blocks_nothing(tmp_path):
    async def act(process):
        await begin(process)
        for _ in range(100):
            process.stderr.write(b"e" * 60000)
            await process.stderr.drain()
        process.stderr.write(b"\nlast words " + EVIL + b"\n")
        await samples(process, 3)

    async with Imitation(tmp_path, act).serving() as imitation:
        lost, heard = await lost_to(imitation)
    assert heard.count(Sampled) == 3
    assert lost.reach == UNREACHABLE and "last words" in lost.cause and "\x1b" not in lost.cause


async def test_closed_in_mid_stream_is_lost_at_once_and_found_again(tmp_path):
    async def act(process):
        await begin(process)
        await samples(process, 2)
        process.get_extra_info("connection").abort()

    async with Imitation(tmp_path, act).serving() as imitation:
        shared = Shared.from_config(settings(tmp_path / "known_hosts"))
        async with running(shared, SshLink(imitation.spec(), shared)) as heard:
            lost = await heard.first(Lost, 2.0)
            await heard.first(Sampled, 3.0, heard.events.index(lost))
    assert lost.reach == UNREACHABLE and "closed the connection" in lost.cause


async def test_refused_keys_are_not_offered_again_and_again(tmp_path):
    async with Imitation(tmp_path, behave, authorized=False).serving() as imitation:
        shared = Shared.from_config(settings(tmp_path / "known_hosts"))
        async with running(shared, SshLink(imitation.spec(), shared)) as heard:
            lost = await heard.first(Lost)
            await asyncio.sleep(1.5)
        assert lost.reach == AUTH_FAILED and imitation.attempts == 1


async def test_host_keys(tmp_path):
    other = asyncssh.generate_private_key("ssh-ed25519")
    async with Imitation(tmp_path, behave).serving() as imitation:
        imitation.write_known_hosts(other)
        changed, _ = await lost_to(imitation)
        imitation.write_known_hosts()
        unknown, _ = await lost_to(imitation)
    shown = [key.get_fingerprint() for key in (imitation.host_key, other)]
    assert changed.reach == HOST_KEY_CHANGED and all(fingerprint in changed.cause for fingerprint in shown)
    assert unknown.reach == HOST_KEY_UNKNOWN and shown[0] in unknown.cause and "ssh-keyscan" in unknown.cause


async def test_silence_is_told_and_taken_back(tmp_path, short_waits):
    async def act(process):
        await begin(process)
        await samples(process, 5)
        await asyncio.sleep(1.4)
        await samples(process)

    async with Imitation(tmp_path, act).serving() as imitation:
        shared = Shared.from_config(settings(tmp_path / "known_hosts"))
        node = SshLink(imitation.spec(), shared)
        async with running(shared, node) as heard:
            lost = await heard.first(Lost)
            assert lost.reach == HUNG and "has been silent for" in lost.cause and not node.send({"op": "ping"})
            await heard.first(Sampled, 3.0, heard.events.index(lost))
            assert node.send({"op": "ping"})
        assert len(imitation.commands) == 1


async def test_a_server_that_never_speaks(short_waits):
    async def talk(reader, writer):
        await asyncio.sleep(30)

    assert (await failure_of(talk)).reach == HUNG


async def test_a_server_that_drips(short_waits):
    async def talk(reader, writer):
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    lost = await failure_of(talk)
    assert lost.reach == HUNG and "did not finish logging in" in lost.cause


@pytest.mark.parametrize("greeting", [b"SSH-2.0-" + EVIL * 100 + b"\r\n", b"SSH-1.0-" + EVIL + b"\r\n", EVIL * 100000, b"x\r\n" * 200000])
async def test_a_server_that_speaks_evil(greeting):
    async def talk(reader, writer):
        writer.write(greeting)
        await writer.drain()
        await asyncio.sleep(0.2)

    lost = await failure_of(talk)
    assert lost.reach in (UNREACHABLE, HUNG) and all(character.isprintable() for character in lost.cause)


async def failure_of(talk):
    async with bare_server(talk) as port:
        with tempfile.TemporaryDirectory() as home:
            key = Path(home) / "operator"
            asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(key))
            key.chmod(0o600)
            shared = Shared.from_config(settings(Path(home) / "known_hosts"))
            async with running(shared, SshLink(spec(address="127.0.0.1", port=port, identity=str(key)), shared)) as heard:
                return await heard.first(Lost)


@pytest.mark.parametrize(
    ("says", "status", "reach", "words"),
    [
        (b"OPSCONSOLE-STAGE PYTHON 3.6.8\n", 1, NO_PYTHON, "3.6.8"),
        (b"OPSCONSOLE-STAGE BROKEN no space\n", 1, UNREACHABLE, "no space"),
        (b"", 127, NO_PYTHON, "python3 cannot be run"),
        (b"", 3, UNREACHABLE, "login shell ended (exit status 3)"),
    ],
)
async def test_a_start_that_fails(tmp_path, says, status, reach, words):
    async def act(process):
        process.stdout.write(says)
        await asyncio.sleep(0.05)
        process.exit(status)

    async with Imitation(tmp_path, act).serving() as imitation:
        lost, _ = await lost_to(imitation)
    assert lost.reach == reach and words in lost.cause


async def test_hello_zip_orders_and_answers(tmp_path):
    heard_there = []

    async def act(process):
        process.stdout.write(b"OPSCONSOLE-STAGE NEED\n")
        stage_bytes = int(process.command.split("range(")[1].split(")")[0])
        heard_there.append(await process.stdin.readexactly(stage_bytes))
        heard_there.append(await process.stdin.readexactly(int(process.command.split()[-1])))
        heard_there.append(await process.stdin.readline())
        process.stdout.write(b"OPSCONSOLE-AGENT 1\n" + sample(1))
        heard_there.append(await process.stdin.readline())
        process.stdout.write(line(t="answer", id="o1", ok=True, done=True, text=EVIL.decode("latin-1")))
        await samples(process)

    async with Imitation(tmp_path, act).serving() as imitation:
        shared = Shared.from_config(settings(tmp_path / "known_hosts"))
        node = SshLink(imitation.spec(), shared)
        async with running(shared, node) as heard:
            await heard.first(Sampled)
            assert node.send({"op": "drain", "id": "o1"})
            answer = (await heard.first(Answered)).answer
    assert heard_there[1] == shared.bundle.content and b'"op":"hello"' in heard_there[2] and b'"id":"o1"' in heard_there[3]
    assert answer.done and "\x1b" not in answer.text


async def test_a_dead_name_and_a_dead_port(tmp_path):
    key = tmp_path / "operator"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(key))
    key.chmod(0o600)
    shared = Shared.from_config(settings(tmp_path / "known_hosts"))
    nameless = SshLink(spec(name="a", address="no-such-host.invalid", identity=str(key)), shared)
    portless = SshLink(spec(name="b", address="127.0.0.1", port=1, identity=str(key)), shared)
    async with running(shared, nameless, portless) as heard:
        first = await heard.first(Lost, where=lambda event: event.node == "a")
        second = await heard.first(Lost, where=lambda event: event.node == "b")
    assert "no-such-host.invalid cannot be resolved" in first.cause and "127.0.0.1:1: Connection refused" in second.cause


def test_the_counting_of_bad_lines_is_no_torrent_of_events():
    from opsconsole.ssh.listening import Listener

    heard = Heard()
    listener = Listener("n1", heard.emit, lambda: None)
    for _ in range(1000):
        listener.take(b"x")
    assert listener.bad_lines == 1000 and heard.count(Troubled) == 10
    listener.check(float("inf"))
    assert heard.events[-1] == Troubled("n1", "")
