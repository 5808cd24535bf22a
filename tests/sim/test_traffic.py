"""The demo's public against a server that answers well, badly, or not at all."""

import asyncio
import contextlib
import json
import signal
import sys

import aiohttp
import pytest
from aiohttp import web

from opsconsole.sim import traffic as rooms
from opsconsole.sim.traffic import PlanFile, Traffic

TOKEN = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": null}]}\n\n'
LAST = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
USAGE = b'data: {"choices": [], "usage": {"completion_tokens": 2}}\n\n'
DONE = b"data: [DONE]\n\n"
PLAN = {"models": {"demo": {"requests_per_s": 200.0, "max_tokens": [16, 64], "burst": 0.3}}}


@contextlib.asynccontextmanager
async def server_that(answer):
    application = web.Application()
    application.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def streaming(*parts: bytes):
    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        assert body["stream"] and 16 <= body["max_tokens"] <= 64 and body["messages"][0]["content"]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        return response

    return answer


async def ask_for_a_while(answer, plan_path, until):
    """Run the traffic until its tally is as asked; returns the tally after the farewell."""
    async with asyncio.timeout(20), server_that(answer) as url, aiohttp.ClientSession() as session:
        traffic = Traffic(session, url, seed=7)
        asking = asyncio.create_task(traffic.run(PlanFile(plan_path)))
        while not until(traffic.tally):
            await asyncio.sleep(0.01)
        asking.cancel()
        await traffic.finish()
        return traffic.tally


@pytest.fixture
def plan_path(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(PLAN))
    return path


@pytest.mark.parametrize("parts, reason", [
    ([TOKEN, TOKEN, LAST, DONE], None),
    ([TOKEN, LAST, USAGE, DONE], None),
    ([TOKEN + LAST + DONE[:6], DONE[6:]], None),
    ([TOKEN, LAST], "no [DONE]"),
    ([], "no [DONE]"),
    ([TOKEN, DONE], "no finish_reason"),
    ([TOKEN, b'\ndata: {"error": {"message": "worker died"}}\n\n'], "error event"),
])
def test_only_a_whole_answer_is_ok(plan_path, parts, reason):
    tally = asyncio.run(ask_for_a_while(streaming(*parts), plan_path, lambda tally: tally.ok + tally.failed >= 5))
    assert tally.in_flight == 0 and tally.sent == tally.ok + tally.failed
    assert (tally.ok == 0) == (reason is not None)
    assert set(tally.failures) == ({reason} if reason else set())


@pytest.mark.parametrize("status, ending", [(429, "refused"), (503, "refused"), (504, "refused"), (500, "failed"), (404, "failed")])
def test_what_nobody_began_is_refused_and_the_rest_has_failed(plan_path, status, ending):
    async def answer(request):
        return web.Response(status=status)

    tally = asyncio.run(ask_for_a_while(answer, plan_path, lambda tally: getattr(tally, ending) >= 3))
    assert getattr(tally, ending) == tally.sent and tally.failures == {f"status {status}": tally.sent}


def test_a_cut_connection_has_failed(plan_path):
    async def answer(request):
        request.transport.abort()
        return web.Response()

    tally = asyncio.run(ask_for_a_while(answer, plan_path, lambda tally: tally.failed >= 3))
    assert tally.ok == 0 and tally.failed == tally.sent


def test_what_is_above_the_limit_is_skipped_and_what_never_ends_is_abandoned(plan_path, monkeypatch):
    monkeypatch.setattr(rooms, "IN_FLIGHT_LIMIT", 5)
    monkeypatch.setattr(rooms, "FAREWELL_LIMIT_S", 0.05)

    async def answer(request):
        await asyncio.Event().wait()

    tally = asyncio.run(ask_for_a_while(answer, plan_path, lambda tally: tally.skipped >= 3))
    assert (tally.sent, tally.abandoned, tally.in_flight, tally.ttft_p95_ms(0)) == (5, 5, 0, None)


def test_the_plan_is_followed_and_a_broken_one_changes_nothing(plan_path, capsys):
    file = PlanFile(plan_path)
    assert file.look()["demo"].requests_per_s == 200.0
    assert file.look() is None
    plan_path.write_text("{")
    assert file.look() is None and file.look() is None
    assert capsys.readouterr().err.count("plan kept as it was") == 1
    plan_path.write_text('{"models": {}}')
    assert file.look() == {}


@pytest.mark.parametrize("end", ["signal", "stdin"])
def test_the_program_reports_and_ends_with_a_last_line(plan_path, end):
    async def story():
        async with asyncio.timeout(20), server_that(streaming(TOKEN, LAST, DONE)) as url:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "opsconsole.sim.traffic", "--url", url, "--plan", str(plan_path), "--report",
                "--until-stdin-closes", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
            first = json.loads(await process.stdout.readline())
            assert first["event"] == "traffic" and first["sent"] > 0 and "final" not in first
            if end == "signal":
                process.send_signal(signal.SIGTERM)
            else:
                process.stdin.close()
            lines = (await process.stdout.read()).splitlines()
            assert await process.wait() == 0
            return json.loads(lines[-1])

    last = asyncio.run(story())
    assert last["final"] and last["in_flight"] == 0 and last["failures"] == {}
    assert last["sent"] == last["ok"] > 0
    assert last["ttft_p95_ms"] > 0
