"""Stopping a worker so that no request is lost: no more admitted, every one finished, then the signal, then the proof."""

import json
import time

from .alone import alone
from .answers import finish, progress, refuse
from .ending import Ending
from .hostile import finite
from .scrape import NoAnswer, fetch, local_address, look, post_drain

POLL_S = 0.3
PROGRESS_S = 1.0
QUIET_LOOKS_NEEDED = 2
"""Fresh looks in a row that must find nothing in flight; a look that fails breaks the row."""
HAND_OVER_LIMIT_S = 10.0
"""How long the clients of cut requests, which is the gateway, may take to read that they were cut."""
STOP_DEADLINE_S = 10.0
AT_DEADLINE = ("hold", "extend", "migrate", "abort")


class Tally:
    """What is known of the requests in flight while a drain goes on."""

    def __init__(self, record):
        self.record = record
        self.begun_mono = time.monotonic()
        self.at_start = None
        self.now = None
        """None: the last look failed, so nobody knows."""
        self.last_known = None
        self.quiet_looks = 0
        """Looks in a row that found nothing in flight, and that no request had been admitted since the look before."""
        self._requests_total = None

    def look(self):
        try:
            seen = look(self.record)
        except NoAnswer:
            self.now, self.quiet_looks = None, 0
            return
        self.now = seen.in_flight
        if self.now is not None:
            self.last_known = self.now
            self.at_start = self.now if self.at_start is None else self.at_start
        was_admitted, self._requests_total = seen.requests_total != self._requests_total, seen.requests_total
        self.quiet_looks = 0 if self.now != 0 else 1 if was_admitted else self.quiet_looks + 1

    @property
    def seconds(self):
        return round(time.monotonic() - self.begun_mono, 2)

    def detail(self, moved=0, aborted=0, **more):
        finished = None if self.at_start is None or self.last_known is None else max(0, self.at_start - self.last_known - (moved or 0))
        counts = {"in_flight_at_start": self.at_start, "finished": finished, "moved": moved, "aborted": aborted}
        return dict(counts, seconds=self.seconds, **more)

    def said(self):
        return "in flight unknown: no answer" if self.now is None else "%d in flight" % self.now


def drain(order, node):
    """Answers: progress once a second; then stopped and proven, or held, or aborted."""
    deadline_s = finite(order.get("deadline_s"))
    if deadline_s is None or deadline_s < 0 or order.get("on_deadline", "hold") not in AT_DEADLINE:
        yield refuse("deadline_s must be a number of seconds and on_deadline one of %s" % ", ".join(AT_DEADLINE))
        return
    yield from _with_worker(order, node, lambda watched: _drain(watched, node, deadline_s, order.get("on_deadline", "hold")))


def stop(order, node):
    """As a drain of a worker that has nothing to finish; refused with the count when it has."""
    yield from _with_worker(order, node, lambda watched: _stop(watched, node))


def undrain(order, node):
    """Admit requests again; a drain under way lets go of its worker for that, as long as it has not told it to end."""
    yield from _with_worker(order, node, lambda watched: _undrain(watched, node), ask_back=True)


def _with_worker(order, node, act, ask_back=False):
    """`act(watched)` while no other order, of this or another agent, has the worker."""
    watched = node.board.find(order["worker"])
    if watched is None:
        yield refuse("no worker %s on this node" % order["worker"])
        return
    yield from alone(order, node, lambda: act(node.board.find(order["worker"]) or watched), ask_back)


def _drain(watched, node, deadline_s, on_deadline):
    tally = Tally(watched.record)
    if not watched.check_process():
        yield finish("was not running: %s" % watched.state()[0], **tally.detail(proof="pid %s was gone" % watched.record.pid))
        return
    _set_leaving(watched, node)
    deadline = Deadline(deadline_s, on_deadline)
    is_asked, told_mono = False, 0.0
    while True:
        is_asked = is_asked or post_drain(watched.record)
        tally.look()
        if not watched.check_process():
            yield _gone_by_itself(watched, node, tally)
            return
        if is_asked and tally.quiet_looks >= QUIET_LOOKS_NEEDED:
            break
        if node.records.is_asked_back(watched.record.name):
            yield refuse("taken back by an undrain, %s" % tally.said(), **tally.detail(taken_back=True, in_flight=tally.now))
            return
        if deadline.is_over(tally):
            yield from _at_deadline(watched, node, tally, on_deadline)
            return
        if time.monotonic() - told_mono >= PROGRESS_S:
            told_mono = time.monotonic()
            yield progress(tally.said() + deadline.said(), in_flight=tally.now)
        time.sleep(POLL_S)
    ending = Ending(watched, node)
    yield progress("nothing in flight: SIGTERM", in_flight=0)
    yield ending.gently(tally.detail)


def _set_leaving(watched, node):
    try:
        node.records.set_leaving(watched.record.name, True)
    except OSError:
        pass  # a full disk: it would be started again if it crashed while it drains


class Deadline:
    """When the waiting ends; `extend` gives as much time again as long as fewer are in flight than at the deadline before."""

    def __init__(self, seconds, on_deadline):
        self._step_s = self._until_s = seconds
        self._may_extend = on_deadline == "extend"
        self._in_flight_before = None

    def is_over(self, tally):
        if tally.seconds < self._until_s:
            return False
        before = tally.at_start if self._in_flight_before is None else self._in_flight_before
        if not self._may_extend or not self._step_s or tally.now is None or tally.now >= before:
            return True
        self._in_flight_before = tally.now
        self._until_s += self._step_s
        return False

    def said(self):
        extensions = round((self._until_s - self._step_s) / self._step_s) if self._step_s else 0
        return ", deadline extended %d times" % extensions if extensions else ""


def _stop(watched, node):
    if not watched.check_process():
        node.board.forget(watched.record.name)
        yield finish("was not running; forgotten", proof="pid %s was gone" % watched.record.pid)
        return
    tally = Tally(watched.record)
    tally.look()
    has_served = watched.last_look is not None and watched.last_look.state not in ("STARTING", "PENDING", "FAILED", None)
    if tally.now or (tally.now is None and has_served):
        yield refuse("not stopped: %s" % tally.said(), in_flight=tally.now)
    elif tally.now is None:
        yield Ending(watched, node).gently(tally.detail)  # it never admitted a request
    else:
        yield from _drain(watched, node, STOP_DEADLINE_S, "hold")


def _undrain(watched, node):
    if watched.check_process() and post_drain(watched.record, takes_back=True):
        node.records.set_leaving(watched.record.name, False)
        yield finish("admits requests again")
    else:
        yield refuse("the worker did not take /undrain")


def _gone_by_itself(watched, node, tally):
    if tally.last_known == 0:
        return Ending(watched, node).proven("ended by itself, nothing was in flight", tally.detail())
    return refuse("died with %s in flight: %s" % (_or_unknown(tally.last_known), watched.why_gone()), **tally.detail(lost=tally.last_known))


def _at_deadline(watched, node, tally, on_deadline):
    if on_deadline in ("hold", "extend"):
        yield refuse("deadline: %s; held" % tally.said(), **tally.detail(held=True, in_flight=tally.now))
        return
    if on_deadline == "migrate":
        yield from _hand_over(watched, node, tally)
        return
    ending = Ending(watched, node)
    yield progress("deadline: %s; SIGTERM" % tally.said(), in_flight=tally.now)
    has_ended = ending.by_force(tally.look)
    aborted = tally.last_known
    if not has_ended:
        yield refuse("survived SIGKILL", **tally.detail(aborted=aborted))
        return
    yield ending.proven("aborted with %s in flight" % _or_unknown(aborted), tally.detail(aborted=aborted))


def _hand_over(watched, node, tally):
    """Cut what is left with an error that makes the gateway go on with it at other workers; then as after any drain."""
    moved = _cut(watched.record)
    if moved is None:
        yield refuse("deadline: %s; the worker could not hand over; held" % tally.said(), **tally.detail(held=True, in_flight=tally.now))
        return
    yield progress("deadline: %d handed over to other workers" % moved, in_flight=tally.now)
    end_mono = time.monotonic() + HAND_OVER_LIMIT_S
    tally.quiet_looks = 0
    while tally.quiet_looks < QUIET_LOOKS_NEEDED and time.monotonic() < end_mono and watched.check_process():
        time.sleep(POLL_S)
        tally.look()
    if tally.quiet_looks < QUIET_LOOKS_NEEDED:
        yield refuse("after handing over: %s; held" % tally.said(), **tally.detail(moved, held=True, in_flight=tally.now))
        return
    yield Ending(watched, node).gently(lambda: tally.detail(moved))


def _cut(record):
    """How many requests the worker cut for others to go on with; None when it did not take the order."""
    try:
        status, body = fetch(local_address(record.host), record.port, "/cut", method="POST")
        count = json.loads(body).get("cut") if status == 200 else None
    except (NoAnswer, ValueError, AttributeError):
        return None
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**31 else None


def _or_unknown(number):
    return "an unknown number" if number is None else str(number)
