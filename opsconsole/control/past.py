"""The past for every front: the questions that the history answers, for screens awaited in a thread of its own, for commands at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from opsconsole.core.fleet import Fleet
from opsconsole.core.marks import Mark
from opsconsole.history.charts import Band, Series, Table
from opsconsole.history.reader import Reader
from opsconsole.history.schema import HistoryError

__all__ = ["Band", "HistoryError", "Past", "Series", "Table"]


class Past:
    """The history at `path`. Its questions and their HistoryErrors are those of `reader`, which commands ask themselves."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.reader = Reader(self.path)
        self._thread: ThreadPoolExecutor | None = None

    async def span(self) -> tuple[float, float] | None:
        return await self._ask(self.reader.span)

    async def at(self, moment: float) -> Fleet:
        return await self._ask(self.reader.at, moment)

    async def marks(self, since: float, until: float, limit: int = 1000) -> tuple[Mark, ...]:
        return await self._ask(self.reader.marks, since, until, limit)

    async def series(self, series: str, **query: Any) -> Series:
        """query: node, gpu, worker, model, site, since, until (epoch seconds), points."""
        return await self._ask(self.reader.series, series, **query)

    async def peers(self, series: str, **query: Any) -> Band:
        """query: as for series."""
        return await self._ask(self.reader.peers, series, **query)

    async def close(self) -> None:
        if self._thread is not None:
            await self._ask(self.reader.close)
            self._thread.shutdown()
            self._thread = None
        self.reader.close()

    async def _ask(self, question: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="past")
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: question(*arguments, **named))
