"""Reads where requests may go from the file the console writes, so that the gateway needs no connection to the console."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from opsconsole.gateway.balancer import Routes, Worker

POLL_INTERVAL_S = 0.2


class BrokenRoutes(ValueError):
    """The text is not a set of routes; the message names the place."""


def parse_routes(text: str) -> Routes:
    """Routes from the text of the file: {"models": {MODEL: [{"worker": NAME, "url": URL, "slots": N, "resumes": true, "weights": TEXT,
    "drain": true}, ...]}}. The last two may be left out."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise BrokenRoutes(f"not JSON: {error}") from error
    models = document.get("models") if isinstance(document, dict) else None
    if not isinstance(models, dict):
        raise BrokenRoutes('"models" is not an object')
    return {model: _parse_workers(model, entries) for model, entries in models.items()}


def _parse_workers(model: str, entries: object) -> tuple[Worker, ...]:
    if not isinstance(entries, list):
        raise BrokenRoutes(f"models.{model} is not a list")
    workers = tuple(_parse_worker(f"models.{model}[{index}]", entry) for index, entry in enumerate(entries))
    names = [worker.name for worker in workers]
    if len(set(names)) < len(names):
        raise BrokenRoutes(f"models.{model} names a worker twice")
    return workers


def _parse_worker(place: str, entry: object) -> Worker:
    if not isinstance(entry, dict):
        raise BrokenRoutes(f"{place} is not an object")
    name, url, slots = entry.get("worker"), entry.get("url"), entry.get("slots")
    if not isinstance(name, str) or not name:
        raise BrokenRoutes(f"{place}.worker is not a name")
    if not isinstance(url, str) or not _is_http(url):
        raise BrokenRoutes(f"{place}.url is not an http address")
    if not isinstance(slots, int) or isinstance(slots, bool) or slots < 1:
        raise BrokenRoutes(f"{place}.slots is not a whole number above 0")
    for key in ("resumes", "drain"):
        if not isinstance(entry.get(key, False), bool):
            raise BrokenRoutes(f"{place}.{key} is not true or false")
    weights = entry.get("weights", "")
    if not isinstance(weights, str):
        raise BrokenRoutes(f"{place}.weights is not a text")
    return Worker(name, url.rstrip("/"), slots, entry.get("resumes", False), weights, entry.get("drain", False))


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class RoutesFile:
    """Follows the file by its inode and times: the console replaces it whole, so a new file is a new inode."""

    def __init__(self, path: Path, replace: Callable[[Routes], None], complain: Callable[[str], None]) -> None:
        self._path = path
        self._replace = replace
        self._complain = complain
        self._seen: object = "never looked"

    def look(self) -> None:
        """Take up the file if it has changed; a broken or missing one is complained of once, and the last good routes stay."""
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError as error:
            seen = str(error)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._replace(parse_routes(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            self._complain(f"routes kept as they were: {self._path}: {error}")

    async def follow(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(POLL_INTERVAL_S)
