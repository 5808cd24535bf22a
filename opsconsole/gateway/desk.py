"""Where requests stand while they wait: turns the balancer's decisions into futures of the running loop."""

import asyncio

from opsconsole.gateway.balancer import Balancer, QueueFull, Routes, Seat
from opsconsole.gateway.fairness import Ticket


class Desk:
    def __init__(self, balancer: Balancer, queue_timeout_s: float) -> None:
        self.balancer = balancer
        self.queue_timeout_s = queue_timeout_s
        self._waiters: dict[Ticket, asyncio.Future[Seat]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def replace(self, routes: Routes) -> None:
        self.balancer.replace(routes, self._loop.time())
        self._hand_out()

    def admit(self, model: str, tenant: str, tokens: int, limit_s: float) -> Ticket:
        """A place for a request that has so long; raises UnknownModel, TooLate or QueueFull. It may cost a greedier tenant a place:
        whoever waits there gets QueueFull too."""
        now_s = self._loop.time()
        ticket = self.balancer.admit(model, now_s, tenant, tokens, now_s + limit_s)
        while self.balancer.pushed_out:
            waiter = self._waiters.pop(self.balancer.pushed_out.pop(), None)
            if waiter and not waiter.done():
                waiter.set_exception(QueueFull(model))
        return ticket

    async def take(self, ticket: Ticket) -> Seat:
        """Wait for a worker; TimeoutError once the request has waited longer than it may since it arrived, or its deadline is over;
        QueueFull when it has to make room.

        Whoever gets a seat gives it back with `release`.
        """
        self.balancer.wait(ticket)
        waiter = self._waiters[ticket] = self._loop.create_future()
        self._hand_out()
        if waiter.done():
            return waiter.result()
        try:
            async with asyncio.timeout_at(min(ticket.arrived_s + self.queue_timeout_s, ticket.deadline_s)):
                return await waiter
        except BaseException:
            self._give_up(ticket, waiter)
            raise

    def _give_up(self, ticket: Ticket, waiter: "asyncio.Future[Seat]") -> None:
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            self.release(waiter.result())
        else:
            self.balancer.leave(ticket)
            self._waiters.pop(ticket, None)

    def release(self, seat: Seat) -> None:
        self.balancer.release(seat)
        self._hand_out()

    def rest(self, seat: Seat) -> None:
        self.balancer.rest(seat, self._loop.time())

    def _hand_out(self) -> None:
        while assignments := self.balancer.assign(self._loop.time()):
            for ticket, seat in assignments:
                waiter = self._waiters.pop(ticket)
                if waiter.cancelled():  # its client left, and its task has not run since
                    self.balancer.release(seat)
                else:
                    waiter.set_result(seat)
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm:
            self._alarm.cancel()
        wake_s = self.balancer.next_wake_s(self._loop.time())
        self._alarm = self._loop.call_at(wake_s, self._hand_out) if wake_s is not None else None
