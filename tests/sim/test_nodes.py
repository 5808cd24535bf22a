"""The demo's nodes are real: a stranger's key stays outside, commands run, faults bite, and nothing is left at the end."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncssh
import pytest

from opsconsole.sim.leftovers import boot_id, end_workers, record_of, start_time

PLAN = {"seed": 3, "nodes": [
    {"name": "a0", "chip": "H100", "gpus": 4, "site": "x"},
    {"name": "b0", "chip": "L40S", "gpus": 2, "site": "y"},
]}
OURS = str(Path(__file__).parents[2])


class Running:
    def __init__(self, process, directory, ports):
        self.process, self.directory, self.ports = process, directory, ports

    def connect(self, node, **more):
        settings = {
            "username": "demo", "client_keys": [str(self.directory / "user_key")], "known_hosts": str(self.directory / "known_hosts"),
            "config": None, "agent_path": None,
        }
        return asyncssh.connect("127.0.0.1", self.ports[node], **(settings | more))

    def suffer(self, faults):
        (self.directory / "faults.json").write_text(json.dumps(faults))


@pytest.fixture
async def nodes(tmp_path):
    directory = tmp_path / "demo"
    directory.mkdir(mode=0o700)
    (directory / "plan.json").write_text(json.dumps(PLAN))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "opsconsole.sim.nodes", str(directory), "--remove",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=OURS,
    )
    async with asyncio.timeout(20):
        line = json.loads(await process.stdout.readline())
    assert line["event"] == "listening"
    yield Running(process, directory, line["nodes"])
    if process.returncode is None:
        process.stdin.close()
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    assert await process.stderr.read() == b""
    assert not directory.exists()


async def eventually(attempt, limit_s=10.0):
    async with asyncio.timeout(limit_s):
        while True:
            with contextlib.suppress(OSError, asyncssh.Error, AssertionError):
                return await attempt()
            await asyncio.sleep(0.05)


async def test_a_command_runs_in_the_node_s_own_home(nodes):
    async with nodes.connect("a0") as connection:
        done = await connection.run('pwd; echo "$HOME"; env | grep -c SSH_AUTH_SOCK; cat; exit 7', input="what was said")
    home = str(nodes.directory / "a0")
    assert done.stdout.split("\n") == [home, home, "0", "what was said"] and done.exit_status == 7
    assert json.loads((nodes.directory / "b0/gpus.json").read_text())["chip"] == "L40S"


async def test_it_ends_without_a_word_though_what_a_command_left_behind_holds_its_output_open(nodes):
    async with nodes.connect("a0") as connection:
        async with connection.create_process("setsid sleep 8 & echo here; exec sleep 60") as command:
            assert await command.stdout.readline() == "here\n"
            nodes.process.stdin.close()
            async with asyncio.timeout(20):
                assert await nodes.process.wait() == 0


async def test_a_stranger_stays_outside(nodes):
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    for refused in ({"client_keys": [stranger]}, {"username": "root"}, {"client_keys": [], "password": "demo"}):
        with pytest.raises(asyncssh.PermissionDenied):
            await nodes.connect("a0", **refused)
    async with nodes.connect("a0") as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_connection("127.0.0.1", nodes.ports["b0"])
    assert (nodes.directory / "user_key").stat().st_mode & 0o777 == 0o600


async def test_each_node_has_a_key_of_its_own(nodes):
    keys = {line.split()[2] for line in (nodes.directory / "known_hosts").read_text().splitlines()}
    assert len(keys) == 2


async def test_a_closed_channel_ends_the_command(nodes):
    async with nodes.connect("a0") as connection:
        process = await connection.create_process("echo $$; exec cat")
        pid = int(await process.stdout.readline())
    await eventually(lambda: gone(pid))


async def gone(pid):
    assert start_time(pid) is None


async def test_a_flood_waits_for_its_reader(nodes):
    async with nodes.connect("a0") as connection:
        process = await connection.create_process("head -c 30000000 /dev/zero", encoding=None)
        await asyncio.sleep(0.5)
        received = 0
        while data := await process.stdout.read(65536):
            received += len(data)
    assert received == 30_000_000


async def test_a_cut_node_is_gone_and_comes_back_at_its_port(nodes):
    connection = await nodes.connect("a0")
    nodes.suffer({"cut": ["a0"]})
    async with asyncio.timeout(5):
        await connection.wait_closed()

    async def refused():
        with pytest.raises(OSError):
            await nodes.connect("a0")

    await eventually(refused)
    async with nodes.connect("b0") as other:
        assert (await other.run("echo fine")).stdout == "fine\n"
    nodes.suffer({})
    async with await eventually(lambda: nodes.connect("a0")) as again:
        assert (await again.run("echo back")).stdout == "back\n"


async def test_a_dark_node_is_cut_and_its_workers_are_killed(nodes):
    child = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
    records = nodes.directory / "a0/.opsconsole/workers"
    records.mkdir(parents=True)
    (records / "w.json").write_text(json.dumps(record_of(child.pid)))
    nodes.suffer({"dark": ["a0"]})
    async with asyncio.timeout(5):
        assert await child.wait() == -9

    async def refused():
        with pytest.raises(OSError):
            await nodes.connect("a0")

    await eventually(refused)
    nodes.suffer({})
    async with await eventually(lambda: nodes.connect("a0")) as again:
        assert (await again.run("echo back")).stdout == "back\n"


async def test_a_hung_node_says_nothing_until_it_goes_on(nodes):
    async with nodes.connect("a0") as connection:
        process = await connection.create_process("while read word; do echo $word; done")
        process.stdin.write("one\n")
        assert await process.stdout.readline() == "one\n"
        nodes.suffer({"hang": ["a0"]})
        await asyncio.sleep(0.6)
        process.stdin.write("two\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await process.stdout.readline()
        nodes.suffer({})
        async with asyncio.timeout(5):
            assert await process.stdout.readline() == "two\n"


async def test_gpu_faults_reach_the_agent_s_file_and_are_mended(nodes):
    file = nodes.directory / "a0/gpus.json"
    nodes.suffer({"gpus": {"a0": {"lost": [3], "hot": {"0": 25}}}})

    async def told():
        assert json.loads(file.read_text()).get("lost") == [3]

    await eventually(told)
    nodes.suffer({})

    async def mended():
        assert "lost" not in json.loads(file.read_text())

    await eventually(mended)


def record(directory, name, pid, began):
    folder = directory / "a0/.opsconsole/workers"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"name": name, "pid": pid, "start_time": began, "boot_id": boot_id()}))


async def test_a_worker_that_its_agent_left_behind_is_ended(nodes):
    worker = subprocess.Popen(["sleep", "600"], start_new_session=True)
    stubborn = subprocess.Popen(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"], start_new_session=True)
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        record(nodes.directory, "w1", worker.pid, start_time(worker.pid))
        record(nodes.directory, "w2", stubborn.pid, start_time(stubborn.pid))
        record(nodes.directory, "w3", stranger.pid, "1")
        nodes.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            await nodes.process.wait()
        assert worker.wait(5) == -signal.SIGTERM and stubborn.wait(5) == -signal.SIGKILL
        assert stranger.poll() is None
    finally:
        stranger.kill()
        for process in (worker, stubborn, stranger):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


async def test_when_the_demo_is_killed_its_nodes_end_too(nodes):
    async with nodes.connect("a0") as connection:
        process = await connection.create_process("echo $$; exec sleep 600")
        pid = int(await process.stdout.readline())
        nodes.process.stdin.close()
        async with asyncio.timeout(20):
            await nodes.process.wait()
    assert start_time(pid) is None and not os.path.exists(nodes.directory)


def test_a_broken_record_ends_nobody(tmp_path):
    record(tmp_path, "w1", os.getpid(), "not the time it began")
    (tmp_path / "a0/.opsconsole/workers/w2.json").write_text("{")
    assert end_workers(tmp_path) == 0
