"""The gateway as the program it is: its command line, its first line, and how it leaves."""

import asyncio
import contextlib
import json
import signal
import sys

import aiohttp


@contextlib.asynccontextmanager
async def process_of(rig):
    """The rig's workers behind a gateway process; yields the process and its address."""
    async with rig.running():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "opsconsole.gateway", "--routes", str(rig.settings.routes), "--port", "0", stdout=asyncio.subprocess.PIPE)
        try:
            told = json.loads(await process.stdout.readline())
            assert told["event"] == "listening"
            yield process, f"http://127.0.0.1:{told['port']}"
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def test_sigterm_finishes_what_is_in_flight_and_exits_0(make_rig):
    rig = make_rig(w_1="answer")

    async def story():
        async with process_of(rig) as (process, url), aiohttp.ClientSession() as session:
            async with session.get(url + "/healthz") as answer:
                assert answer.status == 200
            rig.workers["w-1"].go_on.clear()
            body = {"model": "demo", "prompt": "hello", "stream": True}
            async with session.post(url + "/v1/completions", json=body) as stream:
                process.send_signal(signal.SIGTERM)
                while await is_ready(url):
                    await asyncio.sleep(0.01)
                assert process.returncode is None
                rig.workers["w-1"].go_on.set()
                assert (await stream.text()).endswith("[DONE]\n\n")
            assert await process.wait() == 0

    asyncio.run(story())


async def is_ready(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url + "/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def test_it_is_ready_once_it_has_routes(make_rig):
    rig = make_rig(w_1="answer")

    async def story():
        async with rig.running():
            assert await is_ready(rig.url)
            rig.write_text('{"models": {}}')
            while await is_ready(rig.url):
                await asyncio.sleep(0.01)

    asyncio.run(story())


def test_a_gateway_that_stops_refuses_those_who_come_late(make_rig):
    rig = make_rig(w_1="answer")

    async def story():
        async with rig.running():
            assert (await rig.ask())[0] == 200
            rig.gateway.proxy.stopping = True
            status, text = await rig.ask()
            assert status == 503 and json.loads(text)["error"]["code"] == "stopping"
            assert await rig.gateway.finish(limit_s=0) == 0

    asyncio.run(story())


def test_it_waits_for_what_is_in_flight_but_not_for_ever(make_rig):
    rig = make_rig(w_1="answer")

    async def story():
        async with rig.running():
            rig.workers["w-1"].go_on.clear()
            async with rig.post() as stream:
                await stream.content.readuntil(b"\n\n")
                assert await rig.gateway.finish(limit_s=0) == 1
                rig.workers["w-1"].go_on.set()
                assert (await stream.text()).endswith("[DONE]\n\n")

    asyncio.run(story())


def test_it_leaves_when_the_last_request_has_ended(make_rig):
    rig = make_rig(w_1="answer")

    async def story():
        async with rig.running():
            rig.workers["w-1"].go_on.clear()
            async with rig.post() as stream:
                await stream.content.readuntil(b"\n\n")
                finishing = asyncio.create_task(rig.gateway.finish())
                while not rig.gateway.proxy.stopping:
                    await asyncio.sleep(0)
                rig.workers["w-1"].go_on.set()
                assert await finishing == 0
                assert (await stream.text()).endswith("[DONE]\n\n")

    asyncio.run(story())
