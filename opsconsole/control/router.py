"""Keeps the router at what the fleet says: who is ready gets requests, who is on the way out gets none, who is gone is forgotten.

Before a node is told to drain a worker, `confirm_out` makes the router itself say that the worker gets no more requests: an order that
was sent to a router is a wish, its own table read back is a fact.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from opsconsole.core.events import Routed
from opsconsole.core.fleet import HUNG, LIVE, STALE, Fleet
from opsconsole.core.place import GONE as GONE_STATES
from opsconsole.core.place import RESUMING_ENGINE
from opsconsole.core.text import clean
from opsconsole.hooks import DOWN, OUT, READY, Backend, Router, RouterError, Unusable

PERIOD_S = 1.0
VERB_LIMIT_S = 4.0
"""A router that has not answered for so long is hung."""
CONFIRM_LIMIT_S = 5.0
CONFIRM_POLL_S = 0.1
Answer = TypeVar("Answer")


class Wish(NamedTuple):
    """One worker as the router should have it."""

    worker: str
    model: str
    address: str
    port: int
    slots: int
    resumes: bool
    """Whether it can go on with an answer that another worker of its weights began."""
    weights: str
    takes: bool
    """Whether it gets requests."""


def wishes_of(fleet: Fleet, withheld: Collection[str], addresses: Mapping[str, str]) -> dict[str, Wish]:
    """By worker. withheld: those on their way out; addresses: host by node, 127.0.0.1 where none is said.

    A node that is silent keeps its routes: its workers may well serve, and the router finds out by itself.
    """
    serving = np.isin(fleet.reach, (LIVE, STALE, HUNG)).tolist()
    reachable = {node.name for node, serves in zip(fleet.roster.nodes, serving, strict=True) if serves}
    return {
        worker.name: Wish(
            worker.name, worker.model, addresses.get(worker.node, "127.0.0.1"), worker.port, worker.slots or 1,
            worker.engine == RESUMING_ENGINE, worker.checkpoint,
            worker.state == "READY" and worker.node in reachable and worker.name not in withheld,
        )
        for worker in fleet.workers if worker.port and worker.state not in GONE_STATES
    }


class Keeper:
    """One router of one fleet. `take` gives it each new Fleet; `run` acts and tells what it finds until cancelled."""

    def __init__(
        self, router: Router, name: str, addresses: Mapping[str, str], withheld: Callable[[], Collection[str]],
        emit: Callable[[Routed], None],
    ) -> None:
        """withheld: workers on their way out, asked anew each time; whoever calls confirm_out has put the worker there before."""
        self._router, self._name, self._addresses, self._withheld, self._emit = router, name, addresses, withheld, emit
        self._fleet: Fleet | None = None
        self._told: dict[str, Wish] = {}
        """What the router was last told of each worker."""
        self._hurry = asyncio.Event()
        self._alone = asyncio.Lock()
        """Held while the router is told something: a round must not put back what confirm_out takes out."""

    def take(self, fleet: Fleet) -> None:
        """The newest fleet; what it changes for the router is told at once."""
        self._fleet = fleet
        self._hurry.set()

    async def run(self) -> None:
        while True:
            if self._fleet is not None:
                self._emit(await self._round(self._fleet))
            try:
                await asyncio.wait_for(self._hurry.wait(), PERIOD_S)
            except TimeoutError:
                pass
            self._hurry.clear()

    async def confirm_out(self, worker: str) -> str:
        """"" once the router itself says that the worker gets no more requests, else, after a few seconds, why that is not known."""
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + CONFIRM_LIMIT_S
        while reason := await self._try_out(worker):
            if loop.time() >= give_up_s:
                break
            await asyncio.sleep(CONFIRM_POLL_S)
        return reason

    async def _try_out(self, worker: str) -> str:
        async with self._alone:
            try:
                await self._asked(self._router.drain(worker))
                self._told.pop(worker, None)
                listed = await self._asked(self._router.list())
            except RouterError as error:
                return str(error)
        state = next((backend.state for backend in listed if backend.worker == worker), None)
        return "" if state is None or state in OUT else f"{self._name} has {worker} as {state} after it was told to drain it"

    async def _round(self, fleet: Fleet) -> Routed:
        """Reads the router's table and brings it to what is wished."""
        async with self._alone:
            cause, listed = "", None
            try:
                listed = await self._asked(self._router.list())
            except RouterError as error:
                cause = str(error)
            wishes = wishes_of(fleet, self._withheld(), self._addresses)
            states = None if listed is None else {backend.worker: backend.state for backend in listed if backend.worker}
            for work in (self._bring(wishes, states), self._forget(fleet, wishes, states or ())):
                try:
                    await work
                except RouterError as error:
                    cause = cause or str(error)
        return Routed(_queue_by_model(listed or ()), cause)

    async def _bring(self, wishes: dict[str, Wish], states: dict[str, str] | None) -> None:
        """states: by worker, what the router says; None: it did not. Raises RouterError at the first verb that fails; a worker that
        the router cannot have holds up none of the others."""
        unusable: Unusable | None = None
        for wish in wishes.values():
            state = states.get(wish.worker) if states is not None else None
            if self._told.get(wish.worker) == wish and (states is None or _is_as_wished(state, wish)):
                continue
            try:
                await self._tell(wish, state)
                self._told[wish.worker] = wish
            except Unusable as error:
                unusable = unusable or error
        if unusable:
            raise unusable

    async def _tell(self, wish: Wish, state: str | None) -> None:
        told = self._told.get(wish.worker)
        if not wish.takes:
            await self._asked(self._router.drain(wish.worker))
        elif state is not None and told is not None and told._replace(takes=True) == wish:
            await self._asked(self._router.ready(wish.worker))
        else:
            place = (wish.worker, wish.model, wish.address, wish.port, wish.slots, wish.resumes, wish.weights)
            await self._asked(self._router.add(*place))

    async def _forget(self, fleet: Fleet, wishes: dict[str, Wish], listed: Collection[str]) -> None:
        """Removes workers that are gone: their node had them and has not any more, or every node has been heard and none has them."""
        all_heard = not np.isnan(fleet.sampled_mono).any()
        for worker in sorted((self._told.keys() | (listed if all_heard else ())) - wishes.keys()):
            await self._asked(self._router.remove(worker))
            self._told.pop(worker, None)

    async def _asked(self, verb: Awaitable[Answer]) -> Answer:
        """What a verb gives. Whatever goes wrong in it, a plugin's own defect too, is raised as a RouterError that names the router."""
        try:
            async with asyncio.timeout(VERB_LIMIT_S):
                return await verb
        except TimeoutError:
            raise RouterError(f"{self._name} has not answered for {VERB_LIMIT_S:.0f} s") from None
        except RouterError as error:
            kind = Unusable if isinstance(error, Unusable) else RouterError
            raise kind(clean(f"{self._name}: {error}", 300)) from error
        except Exception as error:
            raise RouterError(clean(f"{self._name}: {type(error).__name__}: {error}", 300)) from error


def _is_as_wished(state: str | None, wish: Wish) -> bool:
    """A router that finds a worker DOWN sends to it again by itself: fine for one that takes requests, not for one that must not."""
    return state in (READY, DOWN) if wish.takes else state is None or state in OUT


def _queue_by_model(listed: Collection[Backend]) -> dict[str, float]:
    queue: dict[str, float] = {}
    for backend in listed:
        queue[backend.model] = queue.get(backend.model, 0.0) + backend.queued
    return queue


class AbsentRouter:
    """Stands for a router that the fleet file names and no plugin gives: every verb says why."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def list(self) -> list[Backend]:
        raise RouterError(self._reason)

    async def drain(self, worker: str) -> None:
        raise RouterError(self._reason)

    async def ready(self, worker: str) -> None:
        raise RouterError(self._reason)

    async def add(self, worker: str, model: str, address: str, port: int, slots: int, resumes: bool = False, weights: str = "") -> None:
        raise RouterError(self._reason)

    async def remove(self, worker: str) -> None:
        raise RouterError(self._reason)
