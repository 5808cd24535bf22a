"""What an order has to say: progress, and at the end whether it was done and how that was proven."""

from collections import namedtuple

from .hostile import plain

Answer = namedtuple("Answer", "ok done text detail")


def message(order_id, answer):
    """As the protocol has it."""
    return {"t": "answer", "id": order_id, "ok": answer.ok, "done": answer.done, "text": plain(answer.text, 1000), "detail": answer.detail}


def progress(text, **detail):
    return Answer(True, False, text, detail)


def finish(text, **detail):
    return Answer(True, True, text, detail)


def refuse(text, **detail):
    """The order was not, or not wholly, carried out."""
    return Answer(False, True, text, detail)
