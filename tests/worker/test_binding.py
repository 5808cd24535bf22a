"""Where a worker listens: a unix socket of its owner's only, never in place of something alive, and gone at the end."""

import http.client
import json
import os
import socket
import stat

import pytest

pytest.importorskip("aiohttp")
from aiohttp import ClientSession, UnixConnector, web  # noqa: E402

from opsconsole.worker.binding import Binding, CannotListen  # noqa: E402
from opsconsole.worker.options import Options  # noqa: E402


@pytest.fixture
async def runner():
    async def answer(request):
        return web.Response(text="here")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    yield runner
    await runner.cleanup()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "worker.sock"


def binding_of(path=None, host="127.0.0.1"):
    return Binding(Options("model", "name", host=host, uds=path))


async def ask(path):
    async with ClientSession(connector=UnixConnector(str(path))) as session, session.get("http://worker/") as response:
        return await response.text()


async def test_a_socket_is_its_owners_and_gone_afterwards(runner, path):
    binding = binding_of(path)
    assert await binding.open(runner) == {"uds": str(path)}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and not binding.is_reachable_from_outside
    assert await ask(path) == "here"
    binding.close()
    assert not path.exists()
    binding.close()


async def test_what_a_dead_worker_left_is_replaced(runner, path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    await binding_of(path).open(runner)
    assert await ask(path) == "here"


async def test_nothing_alive_and_no_file_is_replaced(runner, path):
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        with pytest.raises(CannotListen, match="another process listens there"):
            await binding_of(path).open(runner)
    path.unlink()
    path.write_text("precious")
    with pytest.raises(CannotListen, match="no socket"):
        await binding_of(path).open(runner)
    assert path.read_text() == "precious"
    with pytest.raises(CannotListen, match="No such file"):
        await binding_of(path.parent / "nowhere" / "worker.sock").open(runner)


async def test_a_socket_of_another_is_not_removed(runner, path):
    binding = binding_of(path)
    await binding.open(runner)
    path.rename(path.with_suffix(".old"))
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        binding.close()
        assert path.exists()


@pytest.mark.parametrize(("host", "outside"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])
async def test_an_address_that_others_reach_is_known(runner, host, outside):
    binding = binding_of(host=host)
    told = await binding.open(runner)
    assert told["port"] > 0 and binding.is_reachable_from_outside is outside


class UnixConnection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


def test_a_worker_on_a_socket_answers_and_leaves_nothing(start_worker, path):
    worker = start_worker("--uds", path, port=None, model="random:tiny")
    assert worker.wait_for("listening")["uds"] == str(path)
    connection = UnixConnection(str(path))
    connection.request("GET", "/state")
    assert json.loads(connection.getresponse().read())["state"] == "STARTING"
    connection.close()
    worker.terminate()
    assert worker.wait() == 0 and not os.path.lexists(path)


def test_a_worker_that_others_reach_without_a_key_says_so(start_worker):
    worker = start_worker("--host", "0.0.0.0", model="random:tiny")
    assert "asks for no key" in worker.wait_for("warning")["text"]
    worker.terminate()
    assert worker.wait() == 0
