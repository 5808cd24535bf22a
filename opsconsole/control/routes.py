"""The gateway's view of the fleet: which worker may get requests, written as a file it follows, and its queue, read back."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
from collections.abc import Callable, Collection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from opsconsole.core.events import Routed
from opsconsole.core.fleet import HUNG, LIVE, STALE, Fleet
from opsconsole.core.place import RESUMING_ENGINE
from opsconsole.core.text import clean

POLL_S = 1.0
TIMEOUT_S = 0.8
ANSWER_LIMIT_BYTES = 1024 * 1024


Route = tuple[str, str, str, int, int, bool]
"""(model, worker, node, port, slots, whether it can go on with an answer that another began)"""


def routes_of(fleet: Fleet, withheld: Collection[str]) -> list[Route]:
    """The workers that take requests. withheld: those on their way out.

    A node that is silent keeps its routes: its workers may well serve, and the gateway finds out by itself.
    """
    reachable = {node.name for node, serves in zip(fleet.roster.nodes, np.isin(fleet.reach, (LIVE, STALE, HUNG)), strict=True) if serves}
    return [
        (worker.model, worker.name, worker.node, worker.port, worker.slots or 1, worker.engine == RESUMING_ENGINE)
        for worker in fleet.workers
        if worker.state == "READY" and worker.port and worker.node in reachable and worker.name not in withheld
    ]


class RouteFile:
    """Writes the routes whenever they change, whole or not at all. addresses: host by node, 127.0.0.1 where none is said."""

    def __init__(self, path: Path, addresses: dict[str, str]) -> None:
        self._path, self._addresses = path, addresses
        self._written: tuple[list[str], list[Route]] | None = None
        self.trouble = ""
        """Why the newest routes are not in the file, "" when they are."""

    def write(self, models: list[str], routes: list[Route]) -> None:
        """models: all that exist, those without a worker too. What can not be written is tried again at the next call."""
        if self._written == (models, routes):
            return
        try:
            self._replace(models, routes)
            self._written, self.trouble = (models, routes), ""
        except OSError as error:
            self.trouble = f"the gateway's routes can not be written: {self._path}: {error.strerror}"

    def _replace(self, models: list[str], routes: list[Route]) -> None:
        by_model: dict[str, list[dict]] = {model: [] for model in models}
        for model, worker, node, port, slots, resumes in routes:
            url = f"http://{self._addresses.get(node, '127.0.0.1')}:{port}"
            by_model.setdefault(model, []).append({"worker": worker, "url": url, "slots": slots, "resumes": resumes})
        fresh = self._path.with_suffix(".new")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({"models": by_model}, file, indent=1)
        os.replace(fresh, self._path)


async def follow_router(url: str, emit: Callable[[Routed], None], trouble: Callable[[], str] = str) -> None:
    """Asks the gateway once a second how many requests wait there; until cancelled. trouble: what else is wrong with it, or ""."""
    while True:
        try:
            emit(Routed(await asyncio.to_thread(_queues, url), trouble()))
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
