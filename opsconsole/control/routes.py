"""The gateway's view of the fleet: which worker may get requests, written as a file it follows, and its queue, read back."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from opsconsole.core.events import Routed
from opsconsole.core.fleet import HUNG, LIVE, STALE, Fleet
from opsconsole.core.text import clean

POLL_S = 1.0
TIMEOUT_S = 0.8
ANSWER_LIMIT_BYTES = 1024 * 1024


def routes_of(fleet: Fleet, addresses: dict[str, str], withheld: frozenset[str]) -> dict:
    """Models with their workers that take requests. addresses: host by node; withheld: workers on their way out.

    A node that is silent keeps its routes: its workers may well serve, and the gateway finds out by itself.
    """
    models: dict[str, list[dict]] = {model.name: [] for model in fleet.roster.models}
    for worker in fleet.workers:
        reachable = fleet.reach[fleet.roster.node_row[worker.node]] in (LIVE, STALE, HUNG)
        if reachable and worker.state == "READY" and worker.port and worker.name not in withheld:
            url = f"http://{addresses.get(worker.node, '127.0.0.1')}:{worker.port}"
            models.setdefault(worker.model, []).append({"worker": worker.name, "url": url, "slots": worker.slots or 1})
    return {"models": models}


class RouteFile:
    """Writes the routes whenever they change, whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = ""

    def write(self, routes: dict) -> None:
        text = json.dumps(routes, indent=1, sort_keys=True)
        if text == self._written:
            return
        fresh = self._path.with_suffix(".new")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        os.replace(fresh, self._path)
        self._written = text


async def follow_router(url: str, emit: Callable[[Routed], None]) -> None:
    """Asks the gateway once a second how many requests wait there; until cancelled."""
    while True:
        try:
            emit(Routed(await asyncio.to_thread(_queues, url)))
        except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError, AttributeError) as error:
            emit(Routed({}, clean(f"{url}: {error or type(error).__name__}")))
        await asyncio.sleep(POLL_S)


def _queues(url: str) -> dict[str, float]:
    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname, parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/state")
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"/state answers {answer.status}")
        state = json.loads(answer.read(ANSWER_LIMIT_BYTES))
    finally:
        connection.close()
    return {clean(model, 80): float(seen["queued"]) for model, seen in state["models"].items()}
