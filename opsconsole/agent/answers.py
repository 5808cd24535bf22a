"""What an order has to say: progress, and at the end whether it was done and how that was proven."""

from collections import namedtuple

Answer = namedtuple("Answer", "ok done text detail")


def progress(text, **detail):
    return Answer(True, False, text, detail)


def finish(text, **detail):
    return Answer(True, True, text, detail)


def refuse(text, **detail):
    """The order was not, or not wholly, carried out."""
    return Answer(False, True, text, detail)
