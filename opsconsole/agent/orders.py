"""Orders from the console: each is carried out once, in a thread of its own, and its answers can be told again."""

import threading
from collections import OrderedDict, namedtuple

from .anchors import anchors, keep_anchor
from .answers import message, refuse
from .cancel import cancel
from .cap import cap
from .cordon import cordon, uncordon
from .drain import drain, stop, undrain
from .hostile import plain
from .launch import launch
from .records import NAME_PATTERN

WORKER_VERBS = {"launch": launch, "drain": drain, "undrain": undrain, "stop": stop, "cancel": cancel}
NODE_VERBS = {"cordon": cordon, "uncordon": uncordon, "anchors": anchors, "cap": cap}
VERBS = {**WORKER_VERBS, **NODE_VERBS}
"""op: generator of Answers, the last of which is done."""
ORDERS_KEPT = 500
ANSWERS_KEPT = 20
ID_LIMIT = 200

Node = namedtuple("Node", "records board source worker_python fences systemd no_systemd")
"""What an order may touch. systemd: "system" or "user" where workers are its units, else None, and no_systemd says why."""


class Desk:
    """Takes orders (from the main thread), says their answers (from theirs)."""

    def __init__(self, node, say):
        self._node = node
        self._say = say
        self._told = OrderedDict()

    def take(self, order):
        order_id = order.get("id")
        if not isinstance(order_id, str) or not 0 < len(order_id) <= ID_LIMIT:
            self._say({"t": "trouble", "text": "an order without an id was not carried out: %s" % plain(order.get("op"), 40)})
        elif order_id in self._told:
            for answer in list(self._told[order_id]):
                self._say(answer)
        else:
            self._begin(order_id, order)

    def _begin(self, order_id, order):
        self._told[order_id] = []
        while len(self._told) > ORDERS_KEPT:
            self._told.popitem(last=False)
        threading.Thread(target=self._carry_out, args=(order_id, order), daemon=True).start()

    def _carry_out(self, order_id, order):
        kept = self._node.records.load_answer(order_id)
        if kept is not None:
            self._tell(order_id, kept)
            return
        self._keep_anchor(order)
        try:
            for answer in _answers(order, self._node):
                self._answer(order_id, answer)
        except Exception as error:
            self._answer(order_id, refuse("%s: %s" % (type(error).__name__, error)))

    def _keep_anchor(self, order):
        """A full disk must not keep a worker from being drained; launches are refused for it."""
        try:
            keep_anchor(order, self._node.records)
        except OSError as error:
            self._say({"t": "trouble", "text": plain("the audit head of an order could not be kept here: %s" % error)})

    def _answer(self, order_id, answer):
        told = message(order_id, answer)
        if answer.done:
            self._keep(order_id, told)
        self._tell(order_id, told)

    def _keep(self, order_id, told):
        """Whether it was done or not: an order that was refused stays refused, whatever has changed since."""
        try:
            if self._node.records.load_answer(order_id) is None:
                self._node.records.save_answer(order_id, told)
        except OSError:
            pass  # a full disk: this agent still knows the answer, and the records tell another agent what is so

    def _tell(self, order_id, answer):
        told = self._told.get(order_id, [])
        told.append(answer)
        del told[1:-ANSWERS_KEPT]
        self._say(answer)


def _answers(order, node):
    op = order.get("op")
    if op in NODE_VERBS:
        return NODE_VERBS[op](order, node)
    if op not in WORKER_VERBS:
        return iter([refuse("this agent knows no order %s" % plain(op, 40))])
    name = order.get("worker")
    if not isinstance(name, str) or not NAME_PATTERN.match(name):
        return iter([refuse("a worker's name is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit")])
    return WORKER_VERBS[op](order, node)
