"""One order at a time has a worker, whichever agent it came through, and only if nobody has acted on it since the order was planned."""

import time

from .answers import Answer, message, progress, refuse

POLL_S = 0.1
LET_GO_LIMIT_S = 3.0
"""How long the order that has a worker may take to let go of one that is asked back."""


def alone(order, node, act, ask_back=False):
    """The answers of `act()`, called while this order has the worker. ask_back: whoever has it is asked to let go of it."""
    refusal = node.fences.refusal(order)
    if refusal:
        yield refusal
        return
    lock = yield from _lock(order, node, ask_back)
    if lock is None:
        held = node.records.lock_owner(order["worker"])
        yield refuse("another order has this worker: %s" % held, **node.fences.holder(order["worker"]))
        return
    with lock:
        last = yield from _act(order, node, act)
    yield last  # when the lock is free: whoever hears it may give the next order at once


def _act(order, node, act):
    """All answers but the last, which is returned, and kept for another agent that waits for this very order."""
    kept = node.records.load_answer(order["id"])
    if kept is not None:
        return Answer(kept["ok"], True, kept["text"], kept["detail"])
    last = node.fences.take(order)
    for answer in () if last else act():
        if answer.done:
            last = answer
        else:
            yield answer
    try:
        node.records.save_answer(order["id"], message(order["id"], last))
    except OSError:
        pass  # a full disk: the records tell another agent what is so
    return last


def _lock(order, node, ask_back):
    """The worker's lock, or None; an order that another agent has under way already is waited for."""
    name, owner = order["worker"], "%s %s" % (order["op"], order["id"])
    lock, is_told = node.records.lock(name, owner), False
    while lock is None and node.records.lock_owner(name) == owner:
        if not is_told:
            is_told = True
            yield progress("this order is under way already; waiting for its end")
        time.sleep(POLL_S)
        lock = node.records.lock(name, owner)
    return lock or (_taken_back(node, name, owner) if ask_back else None)


def _taken_back(node, name, owner):
    """The worker's lock, from the order that has it; None when it does not let go."""
    node.records.ask_back(name)
    try:
        end_mono = time.monotonic() + LET_GO_LIMIT_S
        while time.monotonic() < end_mono:
            time.sleep(POLL_S)
            lock = node.records.lock(name, owner)
            if lock is not None:
                return lock
        return None
    finally:
        node.records.forget_back(name)
