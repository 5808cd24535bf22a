"""Ending a launch that is under way: its worker has never been ready, so nothing can be lost with it."""

from .alone import alone
from .answers import finish, progress, refuse
from .ending import Ending
from .scrape import is_ready


def cancel(order, node):
    """The launch, of whichever agent, lets go of the worker and says so; then the worker is ended and forgotten."""
    if node.board.find(order["worker"]) is None:
        yield refuse("no worker %s on this node" % order["worker"])
        return
    yield from alone(order, node, lambda: _cancel(order["worker"], node), ask_back=True)


def _cancel(name, node):
    watched = node.board.find(name)
    if watched is None or not watched.check_process():
        if watched is not None:
            node.board.forget(name)
        yield finish("was not running; forgotten")
        return
    if watched.record.ready_wall or is_ready(watched.record):
        yield refuse("%s is ready already, so it may have requests; drain it" % name)
        return
    ending = Ending(watched, node)
    yield progress("ending pid %d, which is not ready yet" % watched.record.pid)
    if not ending.by_force():
        yield refuse("survived SIGKILL", pid=watched.record.pid)
        return
    yield ending.proven("cancelled", {"pid": watched.record.pid})
