"""The embedded gateway as a router: its table is a file that it follows, and what it made of it is read back from its /state."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from opsconsole.core.text import clean
from opsconsole.hooks import DRAINING, GONE, READY, Backend, RouterError

TIMEOUT_S = 0.8
ANSWER_LIMIT_BYTES = 8 * 1024 * 1024
STATES = {state: state for state in (READY, DRAINING, GONE)}
Heard = TypeVar("Heard")


class GatewayRouter:
    """The five verbs for the gateway. url None: nobody says where it is, so the table itself is all that can be read back."""

    def __init__(self, path: Path, url: str | None, models: Iterable[str]) -> None:
        self._path, self._url, self._models = path, url, tuple(models)
        self._table = _read_table(path)
        self._trouble = ""
        self._due: asyncio.Handle | None = None
        self._write()

    async def list(self) -> list[Backend]:
        """What the gateway says. Its queue is one for each model."""
        if self._due is not None:
            self._due.cancel()
            self._write()
        if self._url is None:
            if self._trouble:
                raise RouterError(self._trouble)
            return [Backend(name, DRAINING if "drain" in row else READY, 0, 0, row["model"]) for name, row in self._table.items()]
        return await asyncio.to_thread(ask, self._url, "/state", backends_of)

    async def drain(self, worker: str) -> None:
        if worker in self._table:
            self._put(worker, {**self._table[worker], "drain": True})

    async def ready(self, worker: str) -> None:
        if worker in self._table:
            self._put(worker, {key: value for key, value in self._table[worker].items() if key != "drain"})

    async def add(self, worker: str, model: str, address: str, port: int, slots: int, resumes: bool = False, weights: str = "") -> None:
        host = f"[{address}]" if ":" in address else address
        row = {"model": model, "worker": worker, "url": f"http://{host}:{port}", "slots": slots, "resumes": resumes, "weights": weights}
        self._put(worker, row)

    async def remove(self, worker: str) -> None:
        self._put(worker, None)

    def _put(self, worker: str, row: dict[str, Any] | None) -> None:
        """Changes one row. Many changes in a row become one file; why the last one could not be written is raised at the next change."""
        if self._table.get(worker) == row and not self._trouble:
            return
        if row is None:
            self._table.pop(worker, None)
        else:
            self._table[worker] = row
        if self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self._write)
        if self._trouble:
            raise RouterError(self._trouble)

    def _write(self) -> None:
        """Whole or not at all."""
        self._due = None
        by_model: dict[str, list[dict]] = {model: [] for model in self._models}
        for row in self._table.values():
            by_model.setdefault(row["model"], []).append({key: value for key, value in row.items() if key != "model"})
        fresh = self._path.with_suffix(".new")
        try:
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
                json.dump({"models": by_model}, file, indent=1)
            os.replace(fresh, self._path)
            self._trouble = ""
        except OSError as error:
            self._trouble = f"the gateway's routes can not be written: {self._path}: {error.strerror}"


def _read_table(path: Path) -> dict[str, dict[str, Any]]:
    """What an earlier console left: a new one must not take workers away before it has heard of them. A broken file is none."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        models = json.loads(path.read_text())["models"]
        return {row["worker"]: {"model": model, **row} for model, rows in models.items() for row in rows}
    return {}


def ask(url: str, path: str, read: Callable[[Any], Heard]) -> Heard:
    """What `read` makes of the JSON that the gateway answers. Raises RouterError."""
    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname, parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"{path} answers {answer.status}")
        return read(json.loads(answer.read(ANSWER_LIMIT_BYTES)))
    except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RouterError(clean(f"{url}: {error or type(error).__name__}")) from error
    finally:
        connection.close()


def backends_of(state: Any) -> list[Backend]:
    """From the gateway's /state. Raises ValueError and the like for what is none."""
    workers = [
        Backend(clean(row["worker"], 120), STATES[row["state"]], int(row["in_flight"]), int(row["queued"]), clean(row["model"], 80))
        for row in state["workers"]
    ]
    waiting = [Backend("", READY, 0, int(seen["queued"]), clean(model, 80)) for model, seen in state["models"].items()]
    return workers + waiting
