"""Whether this node may get new workers: kept in a file of the node, so that every console sees it and every agent heeds it."""

import time

from .answers import finish
from .hostile import count, plain

NOTE = "cordon"


def cordon(order, node):
    """The node keeps who wanted it and why; those of an earlier cordon are replaced."""
    node.records.save_note(NOTE, {"reason": plain(order.get("reason"), 200) or "", "actor": plain(order.get("actor"), 80) or "",
                                  "at": round(time.time(), 3)})
    node.board.cordon = read_cordon(node.records)
    yield finish("cordoned: no new worker is started here")


def uncordon(order, node):
    was = read_cordon(node.records)
    node.records.forget_note(NOTE)
    node.board.cordon = read_cordon(node.records)
    yield finish("uncordoned" if was else "was not cordoned")


def read_cordon(records):
    """{"reason", "actor", "at"}, or None."""
    note = records.load_note(NOTE)
    if note is None:
        return None
    return {"reason": plain(note.get("reason")) or "", "actor": plain(note.get("actor"), 80) or "", "at": count(note.get("at")) or 0}


def cordon_refusal(records):
    """Why no worker may be started here, or None."""
    kept = read_cordon(records)
    if kept is None:
        return None
    return "this node was cordoned by %s %d s ago%s; uncordon it first" % (
        kept["actor"] or "an unnamed console", max(0, time.time() - kept["at"]), ": %s" % kept["reason"] if kept["reason"] else "")
