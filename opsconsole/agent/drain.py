"""Stopping a worker so that no request is lost: no more admitted, every one finished, then the signal, then the proof."""

import json
import signal
import socket
import time

from . import processes
from .answers import finish, progress, refuse
from .hostile import finite
from .scrape import NoAnswer, fetch, local_address, look

POLL_S = 0.3
PROGRESS_S = 1.0
QUIET_LOOKS_NEEDED = 2
"""Fresh looks in a row that must find nothing in flight; a look that fails breaks the row."""
EXIT_LIMIT_S = 30.0
"""How long an idle worker may take to end after SIGTERM."""
TERM_TO_KILL_S = 5.0
KILL_LIMIT_S = 5.0
LET_GO_LIMIT_S = 3.0
"""How long a drain may take to let go of a worker that is to take requests again."""
HAND_OVER_LIMIT_S = 10.0
"""How long the clients of cut requests, which is the gateway, may take to read that they were cut."""
STOP_DEADLINE_S = 10.0


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

    def look(self):
        try:
            self.now = look(local_address(self.record.host), self.record.port).in_flight
        except NoAnswer:
            self.now = None
        if self.now is not None:
            self.last_known = self.now
            self.at_start = self.now if self.at_start is None else self.at_start
        self.quiet_looks = self.quiet_looks + 1 if self.now == 0 else 0

    @property
    def seconds(self):
        return round(time.monotonic() - self.begun_mono, 2)

    def detail(self, **more):
        finished = None if self.at_start is None or self.last_known is None else max(0, self.at_start - self.last_known)
        return dict({"in_flight_at_start": self.at_start, "finished": finished, "seconds": self.seconds}, **more)

    def said(self):
        return "in flight unknown: no answer" if self.now is None else "%d in flight" % self.now


def drain(order, node):
    """Answers: progress once a second; then stopped and proven, or held, or aborted."""
    deadline_s = finite(order.get("deadline_s"))
    if deadline_s is None or deadline_s < 0 or order.get("on_deadline", "hold") not in ("hold", "migrate", "abort"):
        yield refuse("deadline_s must be a number of seconds and on_deadline hold, migrate or abort")
        return
    yield from _alone(order, node, lambda watched: _drain(watched, node, deadline_s, order.get("on_deadline", "hold")))


def stop(order, node):
    """As a drain of a worker that has nothing to finish; refused with the count when it has."""
    yield from _alone(order, node, lambda watched: _stop(watched, node))


def undrain(order, node):
    """Admit requests again; a drain under way lets go of its worker for that, as long as it has not told it to end."""
    yield from _alone(order, node, lambda watched: _undrain(watched), _taken_back)


def _taken_back(node, name, owner):
    """The worker's lock, from the drain that has it; None when it does not let go."""
    node.records.ask_back(name)
    try:
        end_mono = time.monotonic() + LET_GO_LIMIT_S
        while time.monotonic() < end_mono:
            time.sleep(POLL_S / 3)
            lock = node.records.lock(name, owner)
            if lock is not None:
                return lock
        return None
    finally:
        node.records.forget_back(name)


def _alone(order, node, act, otherwise=lambda node, name, owner: None):
    """`act` on the worker while no other order, of this or another agent, may; `otherwise` may get the lock from who has it."""
    name = order["worker"]
    watched = node.board.find(name)
    if watched is None:
        yield refuse("no worker %s on this node" % name)
        return
    owner = "%s %s" % (order["op"], order["id"])
    lock = node.records.lock(name, owner) or otherwise(node, name, owner)
    if lock is None:
        yield refuse("another order has this worker: %s" % node.records.lock_owner(name), conflict=True)
        return
    with lock:
        yield from act(watched)


def _drain(watched, node, deadline_s, on_deadline):
    tally = Tally(watched.record)
    if not watched.check_process():
        yield finish("was not running: %s" % watched.state()[0], **tally.detail(proof="pid %s was gone" % watched.record.pid))
        return
    is_asked, told_mono = False, 0.0
    while True:
        is_asked = is_asked or _post(watched.record, "/drain")
        tally.look()
        if not watched.check_process():
            yield _gone_by_itself(watched, node, tally)
            return
        if is_asked and tally.quiet_looks >= QUIET_LOOKS_NEEDED:
            break
        if node.records.is_asked_back(watched.record.name):
            yield refuse("taken back by an undrain, %s" % tally.said(), **tally.detail(taken_back=True, in_flight=tally.now))
            return
        if tally.seconds >= deadline_s:
            yield from _at_deadline(watched, node, tally, on_deadline)
            return
        if time.monotonic() - told_mono >= PROGRESS_S:
            told_mono = time.monotonic()
            yield progress(tally.said(), in_flight=tally.now)
        time.sleep(POLL_S)
    yield progress("nothing in flight: SIGTERM", in_flight=0)
    yield _end(watched, node, tally)


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
        yield _end(watched, node, tally)  # it never admitted a request
    else:
        yield from _drain(watched, node, STOP_DEADLINE_S, "hold")


def _undrain(watched):
    if watched.check_process() and _post(watched.record, "/undrain"):
        yield finish("admits requests again")
    else:
        yield refuse("the worker did not take /undrain")


def _post(record, path):
    """Whether the worker took it. An engine that knows no /drain (404) is drained by the router alone; /undrain must be known."""
    try:
        status = fetch(local_address(record.host), record.port, path, method="POST")[0]
    except NoAnswer:
        return False
    return status < 400 or (path == "/drain" and status in (404, 405))


def _gone_by_itself(watched, node, tally):
    if tally.last_known == 0:
        _mark_stopped(watched, node)
        return finish("ended by itself, nothing was in flight", **tally.detail(proof=_proof(watched.record)))
    return refuse("died with %s in flight: %s" % (_or_unknown(tally.last_known), watched.why_gone()), **tally.detail(lost=tally.last_known))


def _at_deadline(watched, node, tally, on_deadline):
    if on_deadline == "hold":
        yield refuse("deadline: %s; held" % tally.said(), **tally.detail(held=True, in_flight=tally.now))
        return
    if on_deadline == "migrate":
        yield from _hand_over(watched, node, tally)
        return
    yield progress("deadline: %s; SIGTERM" % tally.said(), in_flight=tally.now)
    processes.send_signal(watched.record, node.board.boot_id, signal.SIGTERM)
    _wait_for_exit(watched, TERM_TO_KILL_S, tally)
    aborted = tally.last_known
    if watched.check_process():
        processes.kill_group(watched.record, node.board.boot_id)
        _wait_for_exit(watched, KILL_LIMIT_S)
    if watched.check_process():
        yield refuse("survived SIGKILL", **tally.detail(aborted=aborted))
        return
    _mark_stopped(watched, node)
    yield finish("aborted with %s in flight" % _or_unknown(aborted), **tally.detail(aborted=aborted, proof=_proof(watched.record)))


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
        yield refuse("after handing over: %s; held" % tally.said(), **tally.detail(held=True, in_flight=tally.now, moved=moved))
        return
    yield _end(watched, node, tally, moved=moved)


def _cut(record):
    """How many requests the worker cut for others to go on with; None when it did not take the order."""
    try:
        status, body = fetch(local_address(record.host), record.port, "/cut", method="POST")
        count = json.loads(body).get("cut") if status == 200 else None
    except (NoAnswer, ValueError, AttributeError):
        return None
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**31 else None


def _end(watched, node, tally, **more):
    """SIGTERM to an idle worker and the proof that it is gone: process, its session, its port."""
    processes.send_signal(watched.record, node.board.boot_id, signal.SIGTERM)
    if not _wait_for_exit(watched, EXIT_LIMIT_S):
        return refuse("did not end within %.0f s of SIGTERM; held" % EXIT_LIMIT_S, **tally.detail(held=True, in_flight=tally.now))
    left = _what_is_left(watched.record)
    if left:
        processes.kill_group(watched.record, node.board.boot_id)
        time.sleep(POLL_S)
        left = _what_is_left(watched.record)
    _mark_stopped(watched, node)
    if left:
        return refuse("ORPHAN: %s" % left, **tally.detail(**more))
    return finish("stopped", **tally.detail(proof=_proof(watched.record), **more))


def _wait_for_exit(watched, limit_s, tally=None):
    """Whether the process has gone within `limit_s`; keeps `tally` up to date meanwhile."""
    end_mono = time.monotonic() + limit_s
    while watched.check_process() and time.monotonic() < end_mono:
        if tally:
            tally.look()
        time.sleep(0.1)
    return not watched.check_process()


def _what_is_left(record):
    """What of an ended worker is still there, or None."""
    members = processes.group_members(record.pid)
    if members:
        return "processes %s of its session live" % ", ".join(map(str, members[:8]))
    return "port %d still answers" % record.port if _is_open(record.host, record.port) else None


def _is_open(host, port):
    try:
        socket.create_connection((local_address(host), port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _proof(record):
    state = "is open" if _is_open(record.host, record.port) else "is closed"
    return "pid %d started at %s is gone, its session is empty, port %d %s" % (record.pid, record.start_time, record.port, state)


def _mark_stopped(watched, node):
    watched.record.stopped_wall = round(time.time(), 3)
    try:
        node.records.save(watched.record)
    except OSError:
        pass  # a full disk must not keep a drain from ending; this agent's board knows


def _or_unknown(number):
    return "an unknown number" if number is None else str(number)
