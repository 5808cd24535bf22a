"""What a node is asked without anything being done: no run, no row in the audit, and no harm when it does not answer."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from opsconsole.core.events import Answered
from opsconsole.core.ingest import Answer

ANSWER_LIMIT_S = 5.0
HASH_LENGTH = 64


class Questions:
    """Asks nodes. send(node, order) says whether the question left."""

    def __init__(self, send: Callable[[str, dict[str, Any]], bool]) -> None:
        self._send = send
        self._open: dict[str, tuple[str, asyncio.Future[Answer]]] = {}

    def answered(self, event: Answered) -> None:
        node, future = self._open.get(event.answer.id, ("", None))
        if future is not None and node == event.node and event.answer.done and not future.done():
            future.set_result(event.answer)

    async def ask(self, node: str, order: dict[str, Any]) -> Answer | None:
        """Its last word; None when it cannot be reached or says nothing."""
        question = uuid.uuid4().hex
        future = asyncio.get_running_loop().create_future()
        self._open[question] = (node, future)
        try:
            if not self._send(node, {**order, "id": question}):
                return None
            return await asyncio.wait_for(future, ANSWER_LIMIT_S)
        except TimeoutError:
            return None
        finally:
            del self._open[question]

    async def anchors(self, nodes: Iterable[str]) -> dict[str, list[dict[str, Any]] | None]:
        """The heads of audits that each node keeps; None for one that does not tell."""
        names = list(nodes)
        answers = await asyncio.gather(*(self.ask(name, {"op": "anchors"}) for name in names))
        return {name: _anchors(answer) for name, answer in zip(names, answers, strict=True)}


def _anchors(answer: Answer | None) -> list[dict[str, Any]] | None:
    """What a stranger says is taken only in the shape that it should have."""
    if answer is None or not answer.ok or not isinstance(answer.detail.get("anchors"), list):
        return None
    return [
        {"audit": one["audit"], "seq": one["seq"], "hash": one["hash"]} for one in answer.detail["anchors"]
        if isinstance(one, dict) and isinstance(one.get("audit"), str) and type(one.get("seq")) is int
        and isinstance(one.get("hash"), str) and len(one["hash"]) == HASH_LENGTH
    ]
