"""The public of the demo: asks a gateway for streamed answers as a plan says, and checks that each one arrives whole.

python -m opsconsole.sim.traffic --url GATEWAY --plan FILE [--seed N] [--report] [--until-stdin-closes]

Once a second (--report) and once at the end, one JSON line on stdout:
{"event": "traffic", "sent", "ok", "failed", "refused", "skipped", "abandoned", "in_flight", "ttft_p95_ms"}; the last has "final": true
and "failures": {REASON: COUNT}.
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import signal
import sys
from pathlib import Path

import aiohttp

from opsconsole.sim.arrivals import Arrival, Arrivals, Plan, parse_plan
from opsconsole.sim.lifeline import watch_stdin
from opsconsole.sim.prompts import make_prompt
from opsconsole.sim.tally import Tally

IN_FLIGHT_LIMIT = 200
PLAN_POLL_S = 0.2
REPORT_INTERVAL_S = 1.0
SILENCE_LIMIT_S = 120.0
FAREWELL_LIMIT_S = 2.0
REFUSALS = (429, 503, 504)
TAIL_BYTES = 2048
"""Enough of a stream's end to hold its finish_reason, a usage event and [DONE]."""
FINISHED = re.compile(rb'"finish_reason": ?"[a-z_]+"')


class Traffic:
    def __init__(self, session: aiohttp.ClientSession, url: str, seed: int) -> None:
        self.tally = Tally()
        self._session = session
        self._address = url.rstrip("/") + "/v1/chat/completions"
        self._arrivals = Arrivals(seed)
        self._dice = random.Random(f"{seed}/prompts")
        self._asking: set[asyncio.Task] = set()
        self._loop = asyncio.get_running_loop()

    async def run(self, plan_file: "PlanFile") -> None:
        """Ask for ever, following the plan as it changes."""
        while True:
            plan = plan_file.look()
            if plan is not None:
                self._arrivals.replace(plan, self._loop.time())
            for arrival in self._arrivals.take_due(self._loop.time()):
                self._start(arrival)
            next_s = self._arrivals.next_s()
            gap_s = PLAN_POLL_S if next_s is None else next_s - self._loop.time()
            await asyncio.sleep(min(max(gap_s, 0.0), PLAN_POLL_S))

    def _start(self, arrival: Arrival) -> None:
        prompt = make_prompt(self._dice)  # drawn even when skipped, so that the next prompts do not depend on the load
        if self.tally.in_flight >= IN_FLIGHT_LIMIT:
            self.tally.skipped += 1
            return
        self.tally.begin()
        task = asyncio.create_task(self._ask(arrival, prompt))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, arrival: Arrival, prompt: str) -> None:
        body = {
            "model": arrival.model, "stream": True, "max_tokens": arrival.max_tokens,
            "messages": [{"role": "user", "content": prompt}],
        }
        ending, reason = "abandoned", ""
        asked_s = self._loop.time()
        try:
            async with self._session.post(self._address, json=body) as answer:
                if answer.status == 200:
                    reason = await self._read(answer.content, asked_s)
                    ending = "failed" if reason else "ok"
                else:
                    reason = f"status {answer.status}"
                    ending = "refused" if answer.status in REFUSALS else "failed"
        except (aiohttp.ClientError, TimeoutError) as error:
            ending, reason = "failed", type(error).__name__
        finally:
            self.tally.end(ending, reason)

    async def _read(self, content: aiohttp.StreamReader, asked_s: float) -> str:
        """Read a stream to its end; "" when it is whole, else what is wrong with it. Only the end is looked at: tokens are many."""
        tail = b""
        async for chunk in content.iter_any():
            if not tail:
                now_s = self._loop.time()
                self.tally.note_ttft(now_s, now_s - asked_s)
            tail = (tail + chunk)[-TAIL_BYTES:]
        if b'data: {"error"' in tail:
            return "error event"
        if not tail.rstrip().endswith(b"data: [DONE]"):
            return "no [DONE]"
        return "" if FINISHED.search(tail) else "no finish_reason"

    async def finish(self) -> None:
        """Let those in flight end, for a while."""
        if self._asking:
            _, late = await asyncio.wait(self._asking, timeout=FAREWELL_LIMIT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


class PlanFile:
    """Follows the plan by its inode and times; a broken or missing file is told once, and the last good plan stays."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: object = "never looked"

    def look(self) -> Plan | None:
        """The plan if it has changed, else None."""
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError as error:
            seen = str(error)
        if seen == self._seen:
            return None
        self._seen = seen
        try:
            return parse_plan(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            print(f"plan kept as it was: {self._path}: {error}", file=sys.stderr, flush=True)
            return None


async def report_every_second(traffic: Traffic) -> None:
    while True:
        await asyncio.sleep(REPORT_INTERVAL_S)
        say(traffic.tally.report(asyncio.get_running_loop().time()))


def say(line: dict) -> None:
    print(json.dumps(line), flush=True)


async def run_traffic(given: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    if given.until_stdin_closes:
        watch_stdin(stop)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENCE_LIMIT_S)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        traffic = Traffic(session, given.url, given.seed)
        tasks = [asyncio.create_task(traffic.run(PlanFile(given.plan)))]
        if given.report:
            tasks.append(asyncio.create_task(report_every_second(traffic)))
        ended = asyncio.create_task(stop.wait())
        await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await traffic.finish()
        say(traffic.tally.report(loop.time()) | {"final": True, "failures": traffic.tally.failures})


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m opsconsole.sim.traffic", description="The public of the demo.")
    parser.add_argument("--url", required=True, help="the gateway")
    parser.add_argument("--plan", type=Path, required=True, metavar="FILE", help="what is asked; followed as it changes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", action="store_true", help="one JSON line a second on stdout")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when stdin does")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    asyncio.run(run_traffic(parse_arguments()))
