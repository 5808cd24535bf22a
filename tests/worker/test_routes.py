"""What holds for every answer of a worker: its id, its headers, and an end to patience with a client that does not read."""

import asyncio
import json
import socket
from types import SimpleNamespace

import pytest

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("prometheus_client")

from aiohttp import web  # noqa: E402

from opsconsole.worker.access import Access  # noqa: E402
from opsconsole.worker.answers import Part, Usage  # noqa: E402
from opsconsole.worker.lifecycle import Lifecycle  # noqa: E402
from opsconsole.worker.routes import Routes  # noqa: E402

BODY = {"prompt": "hi", "stream": True}


class EndlessAnswers:
    """Stands where the service would; each answer goes on for as long as somebody wants it."""

    def __init__(self):
        self.lifecycle, self.options = Lifecycle(), SimpleNamespace(name="endless", max_len=9)
        self.askers, self.written, self.closed = [], 0, asyncio.Event()
        self.usage = Usage(1, 1)
        self.last, self.mistake = None, None

    def refuse_unless_ready(self):
        if self.mistake:
            raise self.mistake

    async def prompt_ids(self, ask):
        return [1]

    def submit(self, ask, prompt_ids, asker):
        self.askers.append(asker)
        return self

    async def parts(self):
        while True:
            self.written += 1
            yield Part("x" * 10_000, [5], self.last)
            if self.last:
                return
            await asyncio.sleep(0)

    def close(self):
        self.closed.set()

    def snapshot(self):
        return {"state": self.lifecycle.state}


@pytest.fixture
async def service(request):
    service = EndlessAnswers()
    service.unread_limit_s = getattr(request, "param", 60.0)
    return service


@pytest.fixture
async def port(service):
    runner = web.AppRunner(Routes(service, Access(None), service.unread_limit_s).application(), handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.fixture
async def session(port):
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session


@pytest.mark.parametrize("service", [0.1], indirect=True)
async def test_a_stream_that_nobody_reads_is_given_up(service, port):
    raw = json.dumps(BODY).encode()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(raw), raw))
        await asyncio.wait_for(service.closed.wait(), 60)
        connection.settimeout(60)
        received = 0
        with pytest.raises(ConnectionResetError):  # never an orderly end, which would look whole
            while chunk := await asyncio.to_thread(connection.recv, 1 << 20):
                received += len(chunk)
            raise AssertionError("ended in order")
        assert received < service.written * 10_000 + 100_000


async def test_the_clients_id_is_the_answers_id_everywhere(service, session):
    service.last = "length"
    given = {"X-Request-Id": "trace:1.a_b-C", "X-Tenant": "team-7"}
    for path, body in (("/v1/completions", BODY), ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]})):
        async with session.post(path, json=body, headers=given) as response:
            assert response.headers["X-Request-Id"] == "trace:1.a_b-C" and '"id": "trace:1.a_b-C"' in await response.text()
        async with session.post(path, json=body) as response:
            own = response.headers["X-Request-Id"]
            assert own.startswith("chatcmpl-" if "chat" in path else "cmpl-") and f'"id": "{own}"' in await response.text()
    assert [asker.tenant for asker in service.askers] == ["team-7", None] * 2
    assert service.askers[0].id == "trace:1.a_b-C"


@pytest.mark.parametrize("name", ["X-Request-Id", "X-Tenant"])
@pytest.mark.parametrize("value", ["", "a b", "x" * 129, "é", 'a"b'])
async def test_an_id_that_is_none_is_refused(session, name, value):
    async with session.post("/v1/completions", json=BODY, headers={name: value}) as response:
        assert response.status == 400 and (await response.json())["error"]["param"] == name
        assert response.headers["X-Request-Id"].startswith("cmpl-")


async def test_wrong_methods_and_paths_are_told_what_is_right(session):
    async with session.delete("/state") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET,HEAD")
        assert (await response.json())["error"]["code"] == "method_not_allowed"
    async with session.options("/v1/completions") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
    async with session.get("/v1/nothing") as response:
        assert response.status == 404 and "X-Request-Id" not in response.headers
    async with session.head("/healthz") as response:
        assert response.status == 200
    async with session.get("/v1/models") as response:
        assert (await response.json())["data"][0]["created"] > 1_700_000_000


async def test_a_worker_that_leaves_keeps_no_connection(service, session):
    async with session.get("/state") as response:
        assert response.headers.get("Connection") != "close"
    service.lifecycle.leaving = True
    async with session.get("/state") as response:
        assert response.headers["Connection"] == "close"


async def test_a_mistake_of_our_own_is_said_without_its_words(service, session, capsys):
    service.mistake = ValueError("what the client wrote")
    async with session.post("/v1/completions", json=BODY) as response:
        assert response.status == 500 and (await response.json())["error"]["code"] == "internal_error"
    line = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (line["event"], line["error"]) == ("complaint", "ValueError") and "refuse_unless_ready" in line["at"][-1]
    assert "client wrote" not in json.dumps(line)


async def test_a_mistake_in_the_middle_cuts_the_connection(service, session):
    def broken(self):
        raise ValueError("broken")

    service.last = "length"
    Part.is_silent, sound = property(broken), Part.is_silent
    try:
        async with session.post("/v1/completions", json=BODY) as response:
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
    finally:
        Part.is_silent = sound
